"""The first page: the sets of images that there are, and how another one is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.responses import Response

from headstart.app.desk import TheDesk
from headstart.app.pages import go_to, page

router = APIRouter()


@router.get("/")
def start(desk: TheDesk, message: str = "") -> Response:
    workspace = desk.workspace
    said = "; ".join(filter(None, [message, *workspace.damaged()]))
    return page("start.html", projects=workspace.projects(), opened=workspace.opened, message=said)


@router.post("/open")
def open_folder(desk: TheDesk, path: Annotated[str, Form()]) -> Response:
    return go_to(f"/p/{desk.workspace.open(Path(path.strip())).name}/images")


@router.post("/create")
def create(desk: TheDesk, name: Annotated[str, Form()]) -> Response:
    return go_to(f"/p/{desk.workspace.create(name.strip()).name}/images")
