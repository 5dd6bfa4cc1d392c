"""Small packages with entry points, as pip would install them: a folder that goes on PYTHONPATH."""

from __future__ import annotations

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
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    lines = []
    for registry, named in entries.items():
        lines.append(f"[headstart.{registry}]")
        lines += [f"{entry} = {name}.{target}" for entry, target in named.items()]
    (info / "entry_points.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
