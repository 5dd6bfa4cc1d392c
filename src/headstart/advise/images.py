"""The user's images: checked, and made a dataset of a size that fits them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import tomli_w

from headstart import store
from headstart.data import folders, load_dataset
from headstart.data.folders.decisions import ADDED, decisions_in_words
from headstart.data.folders.decisions import FILE as DECISIONS
from headstart.data.folders.size import fitting_side
from headstart.data_quality.folder import check_images
from headstart.data_quality.inspection import Inspection
from headstart.types import Dataset


@dataclass(frozen=True, kw_only=True)
class UserImages:
    """Images as `advise` uses them. name: of the file that describes them, which load_dataset reads. side: of
    the stored images, in pixels. inspection: what the check found. decided: how many images were decided on,
    in words."""

    path: Path
    how: folders.SourceOptions
    name: str
    dataset: Dataset
    side: int
    inspection: Inspection
    decided: str = ""

    def inspect_labels(self, folder: Path) -> Inspection:
        """The check again, with a search for wrong labels."""
        return check_images(self.path, out=folder / "check", options=self.how).inspection


def prepare_images(
    path: Path, folder: Path, how: folders.SourceOptions, bad_files: folders.BadFiles
) -> UserImages:
    """Checks the images into folder/check and describes them in folder/images.toml. Decisions about single
    images and images that were added lie beside it (folders/decisions.py).

    Raises: what check_images and load_dataset raise; DataError for too many unreadable files."""
    if how.decisions is None and any((folder / name).exists() for name in (DECISIONS, ADDED)):
        how = replace(how, decisions=str(folder.resolve() / DECISIONS))
    check = check_images(path, out=folder / "check", label_errors=False, options=how)
    folders.require_mostly_good(check.decoded, bad_files)
    longer = how.fit == "pad"
    sides = [
        (max if longer else min)(fact.width, fact.height)
        for fact in (check.decoded.facts[place] for place in check.decoded.readable)
    ]
    side = fitting_side(sides, len(sides))
    reading = check.decoded.reading
    ranges = {"integer_range": reading.integer_range, "float_range": reading.float_range}
    values = {name: list(value) for name, value in ranges.items() if value is not None}
    plain = {"path": str(path.resolve()), "image_pixels": side, "bad_files": bad_files}
    beside = {"decisions": DECISIONS} if how.decisions == str(folder.resolve() / DECISIONS) else {}
    text = tomli_w.dumps(plain | how.given() | beside | values)
    description = folder / "images.toml"
    store.write_bytes(description, text.encode())
    name = str(description.resolve())
    return UserImages(
        path=path,
        how=how,
        name=name,
        dataset=load_dataset(name),
        side=side,
        inspection=check.inspection,
        decided=decisions_in_words(check.decoded),
    )
