"""The user's images: checked, and made a dataset of a size that fits them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from headstart import store
from headstart.data import folders, load_dataset
from headstart.data.folders.decisions import ADDED, decisions_in_words
from headstart.data.folders.decisions import FILE as DECISIONS
from headstart.data.folders.size import fitting_side
from headstart.data_quality.folder import check_images
from headstart.data_quality.inspection import Inspection
from headstart.types import Dataset

FOLDS_UP_TO = 4000  # images that cross-validation is for; of more, a fifth is enough to test on


@dataclass(frozen=True, kw_only=True)
class UserImages:
    """Images as `advise` uses them.

    name: of the file that describes them, which load_dataset reads. side: of the stored images, in pixels.
    inspection: what the check found. own_test: whether dataset.test is the user's own test split. folds:
    whether candidates are read by cross-validation of dataset.train; dataset.test is then empty or the
    user's own. decided: how many images were decided on, in words."""

    path: Path
    how: folders.SourceOptions
    name: str
    dataset: Dataset
    side: int
    inspection: Inspection
    own_test: bool
    folds: bool
    decided: str = ""

    def inspect_labels(self, folder: Path) -> Inspection:
        """The check again, with a search for wrong labels."""
        return check_images(self.path, out=folder / "check", options=self.how).inspection


def prepare_images(
    path: Path,
    folder: Path,
    how: folders.SourceOptions,
    bad_files: folders.BadFiles,
    *,
    hold_out: bool = True,
) -> UserImages:
    """Checks the images into folder/check and describes them in folder/images.toml. Decisions about single
    images and images that were added lie beside it (folders/decisions.py).

    hold_out: keep a fifth for testing whatever their number is; else images up to FOLDS_UP_TO are all for
    training, described in folder/all-images.toml.
    Raises: what check_images and load_dataset raise; DataError for too many unreadable files."""
    if how.decisions is None and any((folder / name).exists() for name in (DECISIONS, ADDED)):
        how = dataclasses.replace(how, decisions=str(folder.resolve() / DECISIONS))
    check = check_images(path, out=folder / "check", label_errors=False, options=how)
    folders.require_mostly_good(check.decoded, bad_files)
    longer = how.fit == "pad"
    sides = [
        (max if longer else min)(fact.width, fact.height)
        for fact in (check.decoded.facts[place] for place in check.decoded.readable)
    ]
    side = fitting_side(sides, len(sides))
    reading = check.decoded.reading
    how = dataclasses.replace(how, integer_range=reading.integer_range, float_range=reading.float_range)
    beside = {"decisions": DECISIONS} if how.decisions == str(folder.resolve() / DECISIONS) else {}
    plain = {"path": str(path.resolve()), "image_pixels": side, "bad_files": bad_files}
    description = folder / "images.toml"
    store.write_bytes(description, tomli_w.dumps(plain | _in_toml(how) | beside).encode())
    own_test = check.inspection.parts_given
    to_learn_from = check.inspection.parts["train"] if own_test else len(sides)
    by_folds = not hold_out and to_learn_from <= FOLDS_UP_TO
    if by_folds and not own_test:
        description = folder / "all-images.toml"
        everything = dataclasses.replace(how, hold_out=False)
        store.write_bytes(description, tomli_w.dumps(plain | _in_toml(everything) | beside).encode())
    name = str(description.resolve())
    dataset = load_dataset(name)
    return UserImages(
        path=path,
        how=how,
        name=name,
        dataset=dataset,
        side=side,
        inspection=check.inspection,
        own_test=own_test,
        folds=by_folds,
        decided=decisions_in_words(check.decoded),
    )


def _in_toml(how: folders.SourceOptions) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in how.given().items()}
