"""The sets of images that the app knows, and the folders of this machine that it may open."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from headstart.app.project import OWN, Project
from headstart.data.folders.owner import require_outside
from headstart.errors import ConfigError, HeadstartError
from headstart.runtime.show import printable
from headstart.store.names import NAME_RULE, is_name


class Workspace:
    """folder: holds a project each (as `headstart advise` has it: advice/). opened: folders of this machine
    below which paths may be named."""

    def __init__(self, folder: Path, opened: Sequence[Path]) -> None:
        self.folder = _in_text(folder)
        self.opened = tuple(path.resolve() for path in opened)
        self._projects: dict[str, Project] = {}

    def projects(self) -> list[Project]:
        """Every project whose settings can be read, by name."""
        return [project for project, problem in self._all() if not problem]

    def damaged(self) -> list[str]:
        """What is wrong with each of the others, in a line."""
        return [problem for _, problem in self._all() if problem]

    def _all(self) -> list[tuple[Project, str]]:
        """Every project by name, with what is wrong with it."""
        if not self.folder.is_dir():
            return []
        names = sorted(child.name for child in self.folder.iterdir() if (child / "app.json").exists())
        return [(project, _problem(project)) for project in map(self.project, filter(is_name, names))]

    def project(self, name: str) -> Project:
        """A project by its name. Raises: ConfigError where there is none."""
        if not is_name(name) or not (self.folder / name / "app.json").exists():
            raise ConfigError(
                "there are no images of that name here; the first page lists those that there are"
            )
        return self._projects.setdefault(name, Project(self.folder / name))

    def open(self, path: Path) -> Project:
        """The project of a folder, zip or table of this machine.

        Raises: ConfigError for a path outside the opened folders, or that is not there, or that holds this
        folder of projects."""
        real = self.below_opened(path)
        if not real.exists():
            raise ConfigError(f"{path} is not there; give a folder of images, a zip or a table")
        require_outside(self.folder, real)
        name = real.name if is_name(real.name) else "images"
        project = Project(self.folder / name)
        if project.settings.images != str(real):  # else nothing is written: the folder may be read-only
            with project.alone():
                if project.settings.images not in (None, str(real)) or (project.folder / OWN).exists():
                    raise ConfigError(
                        f"{project.folder} is of other images that are called {name}, too; rename one folder"
                    )
                project.change(images=str(real))
        return self.project(name)

    def create(self, name: str) -> Project:
        """A project without a folder, into which images are dropped. Raises: ConfigError for its name."""
        if not is_name(name):
            raise ConfigError(f"images are named by {NAME_RULE}")
        if (self.folder / name).exists():
            raise ConfigError(f"there is a folder {self.folder / name} already; take another name")
        project = Project(self.folder / name)
        project.change(images=None)
        (project.folder / OWN).mkdir(parents=True, exist_ok=True)
        return self.project(name)

    def below_opened(self, path: Path) -> Path:
        """The real path of a file or folder. Raises: ConfigError where it lies in none of the opened folders,
        also through a link."""
        try:
            real = Path(os.path.realpath(path.expanduser()))
            real.exists()
        except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, a home of nobody
            raise ConfigError("that is no path of this machine; give a folder of images") from error
        if not any(real.is_relative_to(root) for root in self.opened):
            roots = ", ".join(map(str, self.opened))
            raise ConfigError(f"{path} lies outside the opened folders ({roots}); see headstart app --allow")
        return _in_text(real)


def _problem(project: Project) -> str:
    """What is wrong with the settings of a project; empty: nothing."""
    try:
        _ = project.settings
    except HeadstartError as error:
        return str(error)
    return ""


def _in_text(path: Path) -> Path:
    """The path. Raises: ConfigError where it is no text: the files of a project could not name it."""
    if printable(str(path)) != str(path):
        raise ConfigError(f"{printable(str(path))} has bytes that are no UTF-8; rename that folder")
    return path
