"""The images of a folder by class, listed quickly: 100,000 files in a fraction of a second."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.data.folders.find import canonical, find_entries
from headstart.data.folders.layout import split_of
from headstart.data.folders.options import SourceOptions
from headstart.data.folders.walk import LeftOut, is_junk, takes
from headstart.runtime.show import printable


@dataclass(frozen=True)
class Listed:
    """An image of a listing. name: as find_entries gives it. root: the opened folder that it lies in."""

    name: str
    path: str
    label: str
    root: str


class Listing:
    """Images by name and by class; the order of a class is that of the names."""

    def __init__(self, images: Sequence[Listed], class_names: Sequence[str]) -> None:
        self.by_name: Mapping[str, Listed] = {image.name: image for image in images}
        by_class: dict[str, list[Listed]] = defaultdict(list)
        for image in images:
            by_class[image.label].append(image)
        self.by_class: Mapping[str, Sequence[Listed]] = {
            name: by_class.get(name, []) for name in sorted({*class_names, *by_class})
        }

    def __len__(self) -> int:
        return len(self.by_name)


def list_images(source: Path, options: SourceOptions) -> Listing:
    """The images as find_entries finds them; a folder of folders without further ones is listed here, which
    takes a twentieth of the time.

    Raises: as find_entries, for all but a folder of folders."""
    if options.group_column is None and (homes := _flat(source)) is not None:
        images = [
            Listed(
                printable(f"{home}/{name}"),
                f"{source}/{home}/{name}",
                canonical(printable(home)),
                str(source),
            )
            for home, names in homes.items()
            for name in names
        ]
        return Listing(images, [canonical(printable(home)) for home in homes])
    source_entries = find_entries(source, layout=options.layout, group_column=options.group_column)
    root = str(source_entries.root if source_entries.form != "table" else source_entries.root.parent)
    entries = [Listed(entry.name, str(entry.path), entry.label, root) for entry in source_entries.entries]
    return Listing(entries, source_entries.class_names)


def _flat(source: Path) -> dict[str, list[str]] | None:
    """The files of each class folder by name, where folders lie directly in the source and hold files alone;
    else None."""
    if not source.is_dir():
        return None
    homes: dict[str, list[str]] = {}
    left_out = LeftOut()
    for home in sorted(os.scandir(source), key=lambda child: child.name):
        if is_junk(home.name) or not home.is_dir():
            continue
        if home.is_symlink() or split_of(home.name):
            return None
        with os.scandir(home.path) as children:
            files = [child for child in children if not is_junk(child.name)]
        if any(file.is_dir() for file in files):
            return None
        homes[home.name] = sorted(
            file.name
            for file in files
            if file.name.endswith(_USUAL) or takes(Path(file.path), source, left_out)
        )
    return homes


_USUAL = (".jpg", ".jpeg", ".png", ".JPG", ".webp")
