"""The page to try the model: probabilities, where it looks, the nearest training images."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import FileResponse, HTMLResponse, Response

from headstart import store
from headstart.app.desk import Desk, TheDesk, TheProject
from headstart.app.drops import Drop
from headstart.app.pages import go_to, is_fragment, page, render
from headstart.app.project import Project, in_words
from headstart.app.thumbnails import SIDES
from headstart.data.folders.sniff import HEAD_BYTES, is_image
from headstart.errors import ConfigError, DataError
from headstart.serve.bodies import read_form
from headstart.serve.children import CallError, ChildLostError
from headstart.serve.refusal import Refused, busy

router = APIRouter()
_KEPT = 20  # images that were tried last
_MOST_BYTES = 50_000_000
_DIGEST_LENGTH = 64


@router.get("/p/{name}/try")
def try_page(project: TheProject, tried: str = "", message: str = "") -> Response:
    return page(
        "try.html",
        project,
        tab="try",
        message=message,
        has_model=has_model(project),
        tried=tried if tried and _path(project, tried).exists() else "",
        command=in_words(["predict", str(model_of(project)), "IMAGE"]),
    )


@router.post("/p/{name}/try")
async def upload(request: Request, project: TheProject, desk: TheDesk) -> Response:
    """Keeps an image that is tried (field image). It is decoded here once, in a process that has limits and
    can be killed: what takes too long or too much memory never reaches the process with the model."""
    content = await _sent(request)
    if len(content) > _MOST_BYTES:
        raise Refused(413, f"an image of more than {_MOST_BYTES:,} bytes; send a smaller one")
    if not is_image(content[:HEAD_BYTES]):
        raise DataError("that is no image by its content; choose a PNG, JPEG, WebP, HEIC, ... file")
    try:
        thumbnail = await desk.thumbnails.of_upload(content, SIDES[-1])
    except DataError as error:
        raise DataError(f"that image cannot be read ({error}); choose another") from None
    digest = await run_in_threadpool(_keep, project, content, thumbnail)
    if not is_fragment(request):
        return go_to(f"/p/{project.name}/try", tried=digest)
    return Response(digest, media_type="text/plain")


@router.get("/p/{name}/tried/{digest}")
def tried(project: TheProject, digest: str) -> Response:
    return FileResponse(_shown(_there(project, digest)), media_type="image/jpeg")


@router.get("/p/{name}/tried/{digest}/answer")
async def answer(project: TheProject, desk: TheDesk, digest: str) -> Response:
    """What the model says of an image, and where it looks."""
    content = await run_in_threadpool(_there(project, digest).read_bytes)
    said, _ = await asked(desk, project, "predict", content)
    try:
        explained, heat = await asked(desk, project, "explain", content)
        heat_url = f"data:image/png;base64,{base64.b64encode(heat).decode()}"
        why_not = ""
    except Refused as refused:  # a model of neighbours, or no captum
        explained, heat_url, why_not = {"class": ""}, "", refused.line
    return HTMLResponse(
        render(
            "tried.html",
            name=project.name,
            digest=digest,
            classes=said["classes"],
            of_class=explained["class"],
            heat=heat_url,
            why_not=why_not,
        )
    )


@router.get("/p/{name}/tried/{digest}/nearest")
async def nearest(project: TheProject, desk: TheDesk, digest: str) -> Response:
    """The nearest training images, or how far their features are computed."""
    content = await run_in_threadpool(_there(project, digest).read_bytes)
    values: dict[str, Any] = {"name": project.name, "digest": digest, "found": None, "why_not": ""}
    try:
        values["found"], _ = await asked(desk, project, "nearest", content)
    except Refused as refused:
        values["why_not"] = refused.line
    return HTMLResponse(render("nearest.html", **values))


@router.post("/p/{name}/tried/{digest}/add")
def add(project: TheProject, digest: str, label: Annotated[str, Form()]) -> Response:
    """The image joins the training set under a class."""
    drop = Drop(project.added)
    with _there(project, digest).open("rb") as file:
        drop.add_image(f"tried-{digest[:12]}.png", file, label)
    return go_to(f"/p/{project.name}/try", drop.dropped.words())


async def _sent(request: Request) -> bytes:
    """The image of a form, or a little more than may be sent."""
    form = await read_form(request, 1, "more than one image; try one at a time")
    try:
        image = form.get("image")
        if not isinstance(image, UploadFile):
            raise Refused(400, "no image was chosen; choose one")
        return await image.read(_MOST_BYTES + 1)
    finally:
        await form.close()


def model_of(project: Project) -> Path:
    """The folder of a project's model."""
    return project.folder / "model"


def has_model(project: Project) -> bool:
    return (model_of(project) / "model.safetensors").exists()


async def asked(
    desk: Desk, project: Project, operation: str, content: bytes, **values: object
) -> tuple[dict[str, Any], bytes]:
    """What the process with the model answers. Raises: Refused; ConfigError where there is no model."""
    if not has_model(project):
        raise ConfigError("there is no model yet; get advice first")
    given = {"model": str(model_of(project)), **values}
    try:
        return await desk.model.call(operation, given, content)
    except CallError as error:
        raise Refused(422, str(error)) from None
    except ChildLostError as error:
        raise busy(f"the model did not answer: {error}; try again") from None


def _keep(project: Project, content: bytes, thumbnail: bytes) -> str:
    """Keeps an image that is tried and how it is shown; its digest."""
    digest = hashlib.sha256(content).hexdigest()
    path = _path(project, digest)
    store.write_bytes(_shown(path), thumbnail)
    store.write_bytes(path, content)
    with os.scandir(path.parent) as files:
        kept = [(_changed(each), Path(each.path)) for each in files if "." not in each.name]
    for _, old in sorted(kept, reverse=True)[_KEPT:]:
        old.unlink(missing_ok=True)
        _shown(old).unlink(missing_ok=True)
    return digest


def _changed(file: os.DirEntry[str]) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:  # another tab has removed it
        return 0


def _shown(path: Path) -> Path:
    """The file of a kept image as browsers show it, whatever its format."""
    return path.with_suffix(".jpg")


def _path(project: Project, digest: str) -> Path:
    if len(digest) != _DIGEST_LENGTH or not set(digest) <= set("0123456789abcdef"):
        raise DataError("there is no such image; try it again")
    return project.folder / "tried" / digest


def _there(project: Project, digest: str) -> Path:
    path = _path(project, digest)
    if not path.exists():
        raise DataError("that image is kept no more; try it again")
    return path
