"""What the routes of one app share: the images that it knows, and its child processes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from headstart.app.project import Project
from headstart.app.thumbnails import Thumbnails
from headstart.app.workspace import Workspace
from headstart.serve.children import Children
from headstart.serve.settings import Settings

_MODEL_SECONDS = 120.0  # for one answer, the first one with the loading of the model


class Desk:
    """Of one app; close() ends its child processes, jobs go on. studies: folders that hold studies.
    ending: set when the app is told to end."""

    def __init__(self, workspace: Workspace, settings: Settings) -> None:
        self.workspace, self.settings = workspace, settings
        self.thumbnails = Thumbnails()
        self.model = Children("headstart.app.model_child", 1, _MODEL_SECONDS)
        self.ending = asyncio.Event()
        self.studies = (Path("runs").resolve(), workspace.folder)

    async def close(self) -> None:
        await self.thumbnails.children.close()
        await self.model.close()


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def _project(request: Request, name: str) -> Project:
    return _desk(request).workspace.project(name)


TheDesk = Annotated[Desk, Depends(_desk)]
TheProject = Annotated[Project, Depends(_project)]  # of the address: /p/{name}/...
