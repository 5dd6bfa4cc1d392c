"""The page of the images: by class, what the check found, decisions, drops, and what belongs together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import HTMLResponse, Response

from headstart import store
from headstart.app.desk import TheDesk, TheProject
from headstart.app.drops import Drop
from headstart.app.findings import classes_of, decision_of, read_findings
from headstart.app.groups import RULES, groups_of
from headstart.app.listing import Listing
from headstart.app.pages import go_to, is_fragment, page, render
from headstart.app.project import Project, in_words
from headstart.app.thumbnails import SIDES
from headstart.errors import ConfigError, DataError, HeadstartError
from headstart.serve.bodies import read_form
from headstart.serve.refusal import Refused

_PER_PAGE = 60
_FILES = 1000  # of one form
NO_IMAGE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="160" height="160" viewBox="0 0 160 160">'
    '<rect width="160" height="160" fill="#888"/><path d="M40 40L120 120M120 40L40 120" stroke="#fff" '
    'stroke-width="6"/></svg>'
)


router = APIRouter()


@router.get("/p/{name}/images")
def images(project: TheProject, of_class: str = "", number: int = 0, message: str = "") -> Response:
    return images_page(project, of_class, number, message)


@router.get("/p/{name}/grid")
def grid(project: TheProject, of_class: str = "", number: int = 0) -> Response:
    return HTMLResponse(render("grid.html", **_grid(project, project.listing(), of_class, number)))


@router.get("/p/{name}/thumbnail")
async def thumbnail(project: TheProject, desk: TheDesk, image: str, side: int = SIDES[0]) -> Response:
    if side not in SIDES:
        raise Refused(400, f"side is one of {', '.join(map(str, SIDES))}")
    listed = await run_in_threadpool(project.image, image)
    try:
        content = await desk.thumbnails.content(listed, side)
    except DataError:
        return Response(NO_IMAGE, media_type="image/svg+xml")
    headers = {"Cache-Control": "private, max-age=600"}
    return Response(content, media_type="image/jpeg", headers=headers)


@router.get("/p/{name}/image")
def one_image(project: TheProject, image: str) -> Response:
    return image_page(project, image)


@router.post("/p/{name}/decide")
def decide(
    request: Request,
    project: TheProject,
    image: Annotated[str, Form()],
    decision: Annotated[Literal["exclude", "relabel", "keep", "none"], Form()],
    label: Annotated[str, Form()] = "",
    place: Annotated[str, Form()] = "",
) -> Response:
    project.decide(project.image(image), None if decision == "none" else decision, label.strip())
    return _after_decision(request, project, image, place)


@router.post("/p/{name}/undo")
def undo(project: TheProject) -> Response:
    undone = project.undo()
    what = f"taken back: what was decided about {undone}" if undone else "there is nothing to take back"
    return go_to(f"/p/{project.name}/images", what)


@router.post("/p/{name}/check")
def check(project: TheProject) -> Response:
    project.jobs.start("check", project.check_command())
    return go_to(f"/p/{project.name}/images")


@router.post("/p/{name}/together")
def together(
    project: TheProject,
    together: Annotated[Literal["yes", "no"], Form()],
    rule: Annotated[str, Form()] = "",
) -> Response:
    if together == "yes":
        groups_of(project.listing(), rule)
    project.change(together=together == "yes", group_regex=rule if together == "yes" else None)
    return go_to(f"/p/{project.name}/images", "groups are kept on one side" if together == "yes" else "")


@router.get("/p/{name}/groups")
def groups(project: TheProject, rule: str) -> Response:
    grouped = groups_of(project.listing(), rule)
    return HTMLResponse(render("groups.html", name=project.name, groups=grouped))


@router.post("/p/{name}/drop")
async def drop(request: Request, project: TheProject) -> Response:
    words = await _dropped(request, project)
    if is_fragment(request):
        return Response(words, media_type="text/plain")
    return go_to(f"/p/{project.name}/images", words)


def images_page(project: Project, of_class: str, number: int, message: str) -> Response:
    """The page of the images of one class (empty: the first)."""
    listing, check, problem = Listing([], []), None, ""
    try:
        listing = project.listing()
        check = read_findings(project)
    except HeadstartError as error:  # nothing was dropped yet, the folder has gone, or the check is damaged
        problem = str(error)
    settings = project.settings
    job = project.jobs.last("check")
    return page(
        "images.html",
        project,
        tab="images",
        message=message,
        problem=problem,
        listing=listing,
        settings=settings,
        rules=RULES,
        job=job,
        check=check,
        decided=len(project.decisions()),
        classes=classes_of(listing, project.decisions()),
        command=in_words(project.check_command()),
        **_grid(project, listing, of_class, number),
    )


def image_page(project: Project, name: str, message: str = "") -> Response:
    """The page of one image."""
    listing, image = project.listing(), project.image(name)
    decisions = project.decisions()
    return page(
        "image.html",
        project,
        tab="images",
        message=message,
        image=image,
        decision=decision_of(project, image, decisions),
        classes=classes_of(listing, decisions),
    )


def _grid(project: Project, listing: Listing, of_class: str, number: int) -> dict[str, Any]:
    """What the grid of one class shows from page `number` on."""
    of_class = of_class if of_class in listing.by_class else next(iter(listing.by_class), "")
    images = listing.by_class.get(of_class, [])
    number = max(0, min(number, len(images) // _PER_PAGE))
    start = number * _PER_PAGE
    shown, decisions = images[start : start + _PER_PAGE], project.decisions()
    decided = {image.name: decision_of(project, image, decisions) for image in shown}
    return {
        "name": project.name,
        "of_class": of_class,
        "images": shown,
        "next": number + 1 if start + _PER_PAGE < len(images) else 0,
        "decided_by_name": decided,
    }


def _after_decision(request: Request, project: Project, image: str, place: str) -> Response:
    """The finding anew, where a script of the page asked (place: its kind and its number); else the image."""
    if not is_fragment(request):
        return image_page(project, image, "noted in decisions.csv")
    kind, _, number = place.partition("-")
    check = read_findings(project)
    findings = [each for shown in (check.kinds if check else ()) for each in shown.findings]
    of_kind = [each for each in findings if each.kind == kind]
    # Where files have gone since the page was made, the numbers are others.
    with_image = [each for each in of_kind if any(found.image.name == image for found in each.images)]
    if with_image:
        asked = of_kind[int(number)] if number.isdecimal() and int(number) < len(of_kind) else None
        finding = asked if asked in with_image else with_image[0]
        classes = classes_of(project.listing(), project.decisions())
        return HTMLResponse(
            render("finding.html", finding=finding, place=place, name=project.name, classes=classes)
        )
    raise Refused(404, "there is no such finding any more; reload the page")


async def _dropped(request: Request, project: Project) -> str:
    """Stores the files of a form (field files, class) and says what became of them."""
    form = await read_form(request, _FILES, f"more than {_FILES:,} files at once; drop a zip instead")
    try:
        files = [each for each in form.getlist("files") if isinstance(each, UploadFile) and each.filename]
        of_class = str(form.get("class", ""))
        if not files:
            raise Refused(400, "no file was chosen; choose images or a zip of them")
        return await run_in_threadpool(_store, project, files, of_class)
    finally:
        await form.close()


def _store(project: Project, files: list[UploadFile], of_class: str) -> str:
    drop = Drop(project.added)
    named = [(Path(file.filename or "image").name, file.file) for file in files]
    if not of_class.strip() and (loose := [each for each, _ in named if not each.lower().endswith(".zip")]):
        raise ConfigError(f"say which class {loose[0]} is of")
    for name, content in named:
        try:
            drop.add(name, content, of_class)
        except (HeadstartError, OSError) as error:
            told = store.disk_error(error, drop.home) if isinstance(error, OSError) else error
            raise DataError(f"{told} ({drop.dropped.words()})") from error
    return drop.dropped.words()
