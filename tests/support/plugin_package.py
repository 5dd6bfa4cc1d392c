"""Small packages with entry points, as pip would install them: a folder that goes on PYTHONPATH."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path


def write_package(
    folder: Path, name: str, modules: Mapping[str, str], entries: Mapping[str, Mapping[str, str]]
) -> None:
    """Write a package and its installed metadata into a folder.

    modules: source text by module name. entries: registry ("methods", ...) -> entry name ->
    "module:attribute"."""
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for module, text in modules.items():
        (package / f"{module}.py").write_text(text, encoding="utf-8")
    groups = {
        f"headstart.{registry}": {entry: f"{name}.{target}" for entry, target in named.items()}
        for registry, named in entries.items()
    }
    _write_metadata(folder, name, groups)


def install_project(project: Path, folder: Path) -> None:
    """Copy the package of a project with a pyproject.toml into a folder, with the metadata of its install."""
    described = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    package = described["name"].replace("-", "_")
    shutil.copytree(project / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    _write_metadata(folder, described["name"], described["entry-points"])


def _write_metadata(folder: Path, name: str, groups: Mapping[str, Mapping[str, str]]) -> None:
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    lines = []
    for group, named in groups.items():
        lines += [f"[{group}]", *(f"{entry} = {target}" for entry, target in named.items())]
    (info / "entry_points.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
