"""What `headstart app --demo` opens: a few CIFAR-10 test images and a small CNN, both in the package."""

from __future__ import annotations

import shutil
from pathlib import Path

from headstart.app.drops import Drop
from headstart.app.project import Project
from headstart.app.workspace import Workspace

NAME = "cifar10-demo"
_FILES = Path(__file__).parent / "demo_files"


def open_demo(workspace: Workspace) -> Project:
    """The project of the demonstration, made where it is not there yet, or was not completed."""
    if (workspace.folder / NAME / "app.json").exists():
        project = workspace.project(NAME)
        if project.settings.together is not None:  # what is written last
            return project
    else:
        project = workspace.create(NAME)
    with (_FILES / "images.zip").open("rb") as file:
        Drop(project.added).add("images.zip", file, "")
    model = project.folder / "model"
    model.mkdir(exist_ok=True)
    shutil.copy(_FILES / "model.safetensors", model)
    project.change(together=False)
    return project
