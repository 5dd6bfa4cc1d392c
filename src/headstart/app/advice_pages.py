"""The page of the advice: minutes in, progress as it is made, the answer, and which images are confused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Form
from starlette.responses import HTMLResponse, Response

from headstart.app.answer import Confusion, read_answer, read_confusion, read_images
from headstart.app.chart import chart_of
from headstart.app.desk import TheProject
from headstart.app.pages import DOCUMENT_POLICY, go_to, page, render
from headstart.app.progress import read_progress
from headstart.app.project import Project, in_words
from headstart.errors import DataError, HeadstartError

router = APIRouter()
_SHOWN = 120  # images of one cell


@router.get("/p/{name}/advice")
def advice(project: TheProject, message: str = "") -> Response:
    job = project.jobs.last("advice")
    try:
        answer, problem = read_answer(project.folder), ""
    except HeadstartError as error:  # damaged: another advice replaces it
        answer, problem = None, str(error)
    return page(
        "advice.html",
        project,
        tab="advice",
        message=message,
        problem=problem,
        job=job,
        settings=project.settings,
        command=in_words(project.advise_command()),
        answer=answer,
        confusion=_confusion(project) if answer else None,
        has_report=(project.folder / "advice.html").exists(),
        **progress_values(project),
    )


@router.post("/p/{name}/advice")
def start(project: TheProject, minutes: Annotated[float, Form(gt=0, lt=10_000)]) -> Response:
    project.change(minutes=minutes)
    project.jobs.start("advice", project.advise_command())
    return go_to(f"/p/{project.name}/advice")


@router.get("/p/{name}/report")
def report(project: TheProject) -> Response:
    return document(project.folder / "advice.html")


@router.get("/p/{name}/cell")
def cell(project: TheProject, true: int, predicted: int) -> Response:
    confusion = _confusion(project)
    confused = None if confusion is None else confusion.cell(true, predicted)
    if confused is None:
        raise DataError("there is no such cell; reload the page of the advice")
    listing = project.listing()
    return page("cell.html", project, tab="advice", cell=confused, shown=_SHOWN, by_name=listing.by_name)


@router.get("/p/{name}/{part}-image/{place}")
def seen_image(project: TheProject, part: Literal["train", "test"], place: int) -> Response:
    """A training or held-out image as the models saw it."""
    from PIL import Image

    if part == "train":
        images = read_images(project.folder).train.images
    elif (confusion := _confusion(project)) is not None:
        images = confusion.images
    else:
        raise DataError("the images are others since the advice; reload the page")
    if not 0 <= place < len(images):
        raise DataError("there is no such image; reload the page")
    out = io.BytesIO()
    Image.fromarray(np.array(images[place])).save(out, "PNG")
    return Response(out.getvalue(), media_type="image/png", headers={"Cache-Control": "private, max-age=600"})


def document(path: Path) -> Response:
    """A report's page: shown, and nothing in it runs. Raises: DataError where it is not there."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError("there is no report yet") from error
    return HTMLResponse(content, headers={"Content-Security-Policy": DOCUMENT_POLICY})


def progress_values(project: Project) -> dict[str, Any]:
    """What the part of the page takes that is sent anew as it changes."""
    progress = read_progress(project.folder)
    return {
        "name": project.name,
        "progress": progress,
        "chart": chart_of(progress.candidates, progress.best) if progress else None,
    }


def advice_fragment(project: Project) -> str:
    """The part of the page about the progress."""
    return render("progress.html", **progress_values(project))


def _confusion(project: Project) -> Confusion | None:
    try:
        return read_confusion(project.folder)
    except HeadstartError:  # of an earlier state of the images, or being written
        return None
