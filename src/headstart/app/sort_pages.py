"""The page that sorts a folder: least certain first, corrected by keyboard, what to label next."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from headstart.app.copies import copy_image, remove_copy
from headstart.app.desk import TheDesk, TheProject
from headstart.app.images_pages import NO_IMAGE
from headstart.app.jobs import Job
from headstart.app.listing import Listed
from headstart.app.pages import go_to, is_fragment, page, render
from headstart.app.project import Project, in_words
from headstart.app.sorting import (
    CORRECTIONS,
    EARLIER,
    TOP,
    Decisions,
    Sorted,
    Sorting,
    decided_class,
    page_of,
    write_earlier,
)
from headstart.app.thumbnails import SIDES
from headstart.app.try_pages import has_model, model_of
from headstart.data.folders.walk import real_below
from headstart.errors import BusyError, ConfigError, DataError, HeadstartError

router = APIRouter()
_PER_PAGE = 40
_NEXT = 20


@router.get("/p/{name}/sort")
def sort_page(project: TheProject, number: int = 0, which: str = "all", message: str = "") -> Response:
    job = project.jobs.last("sort")
    try:
        sorting, problem = None if job is None else sorting_of(project), ""
    except HeadstartError as error:  # what it wrote is damaged: the folder can be sorted again
        sorting, problem = None, str(error)
    values: dict[str, Any] = {"rows": [], "pages": 1, "classes": []}
    if sorting is not None:
        rows = sorting.label_next(_NEXT) if which == "next" else sorting.least_certain()
        number = max(0, min(number, (len(rows) - 1) // _PER_PAGE))
        values["rows"], values["pages"] = page_of(rows, number, _PER_PAGE)
        values["classes"] = _classes(sorting)
    return page(
        "sort.html",
        project,
        tab="sort",
        message=message,
        problem=problem,
        has_model=has_model(project),
        job=job,
        sorting=sorting,
        number=number,
        which=which,
        command=in_words(_command(project, Path("FOLDER")) if job is None else list(job.command)),
        **values,
    )


@router.post("/p/{name}/sort")
def start(project: TheProject, desk: TheDesk, path: Annotated[str, Form()]) -> Response:
    if not has_model(project):
        raise ConfigError("there is no model yet; get advice first")
    folder = desk.workspace.below_opened(Path(path.strip()))
    if not folder.is_dir():
        raise ConfigError(f"{path} is no folder; give one with images")
    with project.alone():  # no decision is made between
        command = _command(project, folder)
        decisions = _decided_before(project, command)
        job = project.jobs.start("sort", command)
        if decisions:
            write_earlier(job.folder, decisions)
    return go_to(f"/p/{project.name}/sort")


@router.get("/p/{name}/sort/{row}/thumbnail")
async def thumbnail(project: TheProject, desk: TheDesk, row: int, job: str = "") -> Response:
    sorting = sorting_of(project, job)
    image = sorting.row(row)
    listed = Listed(image.path, image.path, image.label, str(sorting.source))
    try:
        content = await desk.thumbnails.content(listed, SIDES[0])
    except DataError:
        return Response(NO_IMAGE, media_type="image/svg+xml")
    headers = {"Cache-Control": "private, max-age=600"}
    return Response(content, media_type="image/jpeg", headers=headers)


@router.post("/p/{name}/sort/{row}/label")
def label(
    request: Request, project: TheProject, row: int, label: Annotated[str, Form()] = "", job: str = ""
) -> Response:
    """What an image shows: a copy joins the training set; empty takes it back. job: that the page shows."""
    label = decided_class(label)
    with project.alone():  # a copy and its note belong together
        sorting = sorting_of(project, job)
        image = sorting.row(row)
        real_below(image.path, str(sorting.source))
        _decide(project, sorting, image, label)
    if not is_fragment(request):
        return go_to(f"/p/{project.name}/sort")
    return HTMLResponse(render("sorted.html", name=project.name, row=image, sorting=sorting))


@router.get("/p/{name}/sorted.csv")
def table(project: TheProject, job: str = "") -> Response:
    headers = {"Content-Disposition": 'attachment; filename="sorted.csv"'}
    return StreamingResponse(sorting_of(project, job).table(), media_type="text/csv", headers=headers)


@router.post("/p/{name}/sort-links")
def links(project: TheProject, job: str = "") -> Response:
    folder = project.folder / "sorted"
    with project.alone():  # another tab may make them, too
        count = sorting_of(project, job).link(folder)
    return go_to(f"/p/{project.name}/sort", f"{count:,} links in {folder}")


def sorting_of(project: Project, name: str = "") -> Sorting:
    """The last folder that was sorted. name: of the job that a page shows, which has to be that one.

    Raises: DataError where there is none; BusyError where the page shows another one."""
    job = project.jobs.last("sort")
    if job is None:
        raise DataError("no folder was sorted yet")
    if name and name != job.folder.name:
        raise BusyError("a folder was sorted after this page was loaded; reload the page")
    return _read(job, _state(job.folder))


def _state(folder: Path) -> tuple[int, ...]:
    files = (folder / name for name in ("out.txt", CORRECTIONS, EARLIER, "end.json"))
    return tuple(file.stat().st_size if file.exists() else -1 for file in files)


@lru_cache(maxsize=4)
def _read(job: Job, state: object) -> Sorting:
    return Sorting(job)


def _decided_before(project: Project, command: list[str]) -> Decisions:
    """What was decided when the same folder was sorted last."""
    jobs = (
        job for job in project.jobs.all() if job.kind == "sort" and job.command[2:3] == tuple(command[2:3])
    )
    last = next(jobs, None)
    try:
        return {} if last is None else _read(last, _state(last.folder)).decisions()
    except HeadstartError:  # damaged: nothing can be told of it
        return {}


def _decide(project: Project, sorting: Sorting, image: Sorted, label: str) -> None:
    """Note a decision, with the copy that it makes; the copy of an earlier one goes, unless another image has
    the same one.

    Each copy is noted before it comes and before it goes: what a killed app leaves goes with the next
    decision."""
    number, made = image.number, {*sorting.copies.values()}
    label_before, before = sorting.corrections.get(number, ""), sorting.copies.get(number, "")
    for each in {*sorting.strays}:
        with suppress(DataError):  # the image has gone, too: nothing tells whether it is its copy
            _remove_stray(project, sorting, each)

    def begin(copy: str) -> None:
        sorting.correct(number, label_before, before, copy)

    copy = copy_image(Path(image.path), project.added, label, made, begin) if label else ""
    sorting.correct(number, label, copy, before if before != copy else "")
    _remove_stray(project, sorting, number)


def _remove_stray(project: Project, sorting: Sorting, number: int) -> None:
    """Remove the copy of a row that belongs to no decision. Raises: DataError where the image has gone."""
    stray = sorting.strays.get(number, "")
    if not stray:
        return
    if stray not in sorting.copies.values():
        remove_copy(Path(sorting.row(number).path), project.added, stray)
    sorting.correct(number, sorting.corrections.get(number, ""), sorting.copies.get(number, ""))


def _command(project: Project, folder: Path) -> list[str]:
    return ["predict", str(model_of(project)), str(folder), "--csv", "--top", str(TOP)]


def _classes(sorting: Sorting) -> list[str]:
    return sorted(
        {name for row in sorting.rows[:5000] for name, _ in row.said} | {*sorting.corrections.values()}
    )
