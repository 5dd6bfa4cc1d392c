"""`headstart data check`: inspect a user's own images, suspected label errors included."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.data import folders
from headstart.data.folders.owner import claim, output_folder
from headstart.data.folders.size import MANY, default_budget, disk_bytes, storage_of
from headstart.data_quality.inspect_folder import inspect
from headstart.data_quality.inspection import Inspection, LabelSuspect, with_suspects
from headstart.data_quality.page import render_page
from headstart.errors import ConfigError, DownloadError, StoreError, WeightsError
from headstart.runtime import progress

if TYPE_CHECKING:
    from headstart.models.network import Network

CHECK_PIXELS = 96  # the size of the images for the probe's features and on the page
MODEL, WEIGHTS = "resnet50", "default"
_FEWEST = 50  # readable images below which cross-validation says nothing


@dataclass(frozen=True, kw_only=True)
class Room:
    """How a check stores decoded images. side: in pixels; None: 96, less where the budget asks for it.
    cache_bytes: the budget; None: a share of the free disk (folders/size.py)."""

    side: int | None = None
    cache_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Check:
    """An inspection, the files it was written to, and the images, decoded."""

    inspection: Inspection
    decoded: folders.DecodedSource
    page: Path
    json: Path


def check_images(
    path: str | Path,
    *,
    out: Path | None = None,
    options: folders.SourceOptions = folders.DEFAULT_OPTIONS,
    label_errors: bool = True,
    storage: Room = Room(),
) -> Check:
    """Inspect every image of a folder or table; write check.html and check.json.

    out: the folder for both files (default: checks/<the images' folder>, see output_folder). options: how
    they are found and read. storage: how they are stored decoded. Unreadable files are listed, never an
    error: to train on the images, call folders.require_mostly_good(check.decoded) first.
    Raises: ConfigError, DataError for a path that holds no classes; StoreError where a folder cannot be
    written."""
    path = Path(path).expanduser()
    out = output_folder("checks", path, out)
    claim(out, path, "headstart data check")
    decoded = folders.decode_decided(path, storage.side or _side(path, options, storage), options)
    inspection = inspect(decoded, alike=options.alike)
    suspects, note = (
        find_suspects(decoded, inspection) if label_errors else (None, "--no-label-errors was given")
    )
    if suspects is not None:
        suspects = tuple(suspect for suspect in suspects if suspect.place not in decoded.kept)
    inspection = with_suspects(inspection, suspects, note)
    page, written = out / "check.html", out / "check.json"
    store.write_json(written, inspection.json())
    store.write_bytes(page, render_page(inspection, decoded).encode())
    return Check(inspection=inspection, decoded=decoded, page=page, json=written)


def _side(path: Path, options: folders.SourceOptions, room: Room) -> int:
    """CHECK_PIXELS, or less where many images would not fit into the budget, which is said."""
    source = folders.find_decided(path, options)
    count = len(source.entries)
    budget = default_budget(count) if room.cache_bytes is None else room.cache_bytes
    if count < MANY and disk_bytes(count, CHECK_PIXELS) <= budget:
        return CHECK_PIXELS
    storage = storage_of(source, budget, most=CHECK_PIXELS)
    progress.say(storage.words(progress.clock(storage.seconds)))
    return storage.side


def find_suspects(
    decoded: folders.DecodedSource, inspection: Inspection
) -> tuple[tuple[LabelSuspect, ...] | None, str]:
    """Find suspected label errors, the surest first, and say how.

    A linear probe on frozen features of the readable images, cross-validated, near duplicates in one fold.
    Returns None and the reason where that is impossible."""
    places, class_names = decoded.readable, decoded.source.class_names
    entries = [decoded.source.entries[place] for place in places]
    labels = np.array([class_names.index(entry.label) for entry in entries], np.int64)
    if len(places) < _FEWEST or len(np.unique(labels)) < 2:
        return None, f"fewer than {_FEWEST} readable images, or of one class only"
    try:
        import cleanlab.filter  # noqa: F401
    except ImportError:
        return None, 'cleanlab is missing: pip install "headstart[check]"'
    from headstart.data_quality import label_errors
    from headstart.models import load_model

    try:
        model = load_model(MODEL, WEIGHTS, image_pixels=CHECK_PIXELS)
    except (DownloadError, WeightsError, ConfigError, StoreError) as error:
        return None, f"the weights of {MODEL} are not to be had ({error})"
    doubtful = label_errors.find_label_errors(
        _features(decoded, model), labels, _units(places, inspection), num_classes=len(class_names)
    )
    largest = float(np.bincount(labels).max() / len(labels))
    chance = largest + 2 * float(np.sqrt(largest * (1 - largest) / len(labels)))
    if doubtful.agreement <= chance:
        return None, (
            f"a probe agrees with {100 * doubtful.agreement:.1f} % of the labels, no more than guessing "
            "would "
            f"({100 * largest:.1f} %): it cannot tell which are wrong"
        )
    suspects = tuple(
        LabelSuspect(
            name=entries[i].name,
            place=int(places[i]),
            given=class_names[labels[i]],
            suggested=class_names[suggested],
            given_probability=float(given_probability),
            suggested_probability=float(suggested_probability),
        )
        for i, suggested, given_probability, suggested_probability in zip(
            doubtful.places,
            doubtful.suggested,
            doubtful.given_probability,
            doubtful.suggested_probability,
            strict=True,
        )
    )
    return suspects, (
        f"A linear probe on {MODEL} features at {CHECK_PIXELS} px, cross-validated, agrees with "
        f"{100 * doubtful.agreement:.1f} % of the labels."
    )


def _features(decoded: folders.DecodedSource, model: Network) -> NDArray[np.float16]:
    """Compute MODEL's features of the readable images, float16 (N, D)."""
    from headstart.models.features import FeatureRequest, FrozenLayers
    from headstart.runtime.precision import default_device, resolve_precision
    from headstart.types import ImageSet

    device = default_device()
    images = ImageSet(
        images=decoded.images,
        labels=np.zeros(len(decoded.images), np.int64),
        fingerprint=decoded.key,
        class_names=decoded.source.class_names,
    )
    layers = FrozenLayers(network=model, precision=resolve_precision("auto", device), device=device)
    request = FeatureRequest(layers=layers, images=images, ids=decoded.readable)
    return request.extract(f"{MODEL} features").features.values


def _units(places: NDArray[np.int64], inspection: Inspection) -> NDArray[np.int64]:
    """The unit of each readable image (as in Division); each image its own where there is no division."""
    if inspection.division is None:
        return np.arange(len(places), dtype=np.int64)
    units = np.empty(len(places), np.int64)
    units[np.searchsorted(places, inspection.division.places)] = inspection.division.units
    return units
