"""`headstart data check`: the whole examination of somebody's pictures, label errors included."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart import store
from headstart.data import folders
from headstart.data_quality.inspection import Inspection, LabelSuspect, inspect, with_suspects
from headstart.data_quality.page import render_page
from headstart.errors import ConfigError, DownloadError, StoreError, WeightsError

CHECK_PIXELS = 96  # what the probe's features are made at, and the pages' pictures
MODEL, WEIGHTS = "resnet50", "default"
_FEWEST = 50  # readable images below which cross-validation says nothing


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was found, and the files it was written to. pictures: decoded at 96 pixels, for whoever goes on
    from here."""

    found: Inspection
    pictures: folders.Pictures
    page: Path
    json: Path


def check_images(
    path: str | Path,
    *,
    out: Path | None = None,
    group_column: str | None = None,
    group_regex: str | None = None,
    label_errors: bool = True,
) -> Check:
    """Looks at every picture of a folder or table; writes check.html and check.json into `out` (default:
    checks/<its name>).

    Unreadable files are listed, never an error: whoever goes on calls
    folders.require_mostly_good(check.pictures).
    Raises: ConfigError, DataError for a path that holds no classes; StoreError where a folder cannot be
    written."""
    source = folders.find_entries(Path(path).expanduser(), group_column=group_column, group_regex=group_regex)
    pictures = folders.decode_source(source, CHECK_PIXELS)
    found = inspect(pictures)
    suspects, note = find_suspects(pictures, found) if label_errors else (None, "--no-label-errors was given")
    found = with_suspects(found, suspects, note)
    out = Path("checks") / source.root.resolve().stem if out is None else out
    page, written = out / "check.html", out / "check.json"
    store.write_json(written, found.json())
    store.write_bytes(page, render_page(found, pictures).encode())
    return Check(found=found, pictures=pictures, page=page, json=written)


def find_suspects(
    pictures: folders.Pictures, found: Inspection
) -> tuple[tuple[LabelSuspect, ...] | None, str]:
    """Suspected label errors, the surest first, and how they were found; None and the reason where that is
    impossible.

    A linear probe on frozen features of the readable pictures, cross-validated, near duplicates in one
    fold."""
    places = pictures.readable
    entries = pictures.source.entries
    number = {name: label for label, name in enumerate(pictures.source.class_names)}
    labels = np.array([number[entries[place].label] for place in places], np.int64)
    if len(places) < _FEWEST or len(np.unique(labels)) < 2:
        return None, f"fewer than {_FEWEST} readable pictures, or of one class only"
    try:
        import cleanlab.filter  # noqa: F401
    except ImportError:
        return None, 'cleanlab is missing: pip install "headstart[check]"'

    from headstart.data_quality import label_errors
    from headstart.models import features, load_model, resolve_weights
    from headstart.models.weights import weights_hash
    from headstart.runtime.precision import default_device, resolve_precision
    from headstart.types import ImageSet

    try:
        model = load_model(MODEL, WEIGHTS, image_pixels=CHECK_PIXELS)
    except (DownloadError, WeightsError, ConfigError, StoreError) as error:
        return None, f"the weights of {MODEL} are not to be had ({error})"
    device = default_device()
    images = ImageSet(
        images=pictures.images,
        labels=np.zeros(len(pictures.images), np.int64),
        fingerprint=pictures.key,
        class_names=pictures.source.class_names,
    )
    extracted = features.extract(
        model,
        images,
        ids=places,
        weights_hash=weights_hash(resolve_weights(MODEL, WEIGHTS), MODEL),
        precision=resolve_precision("auto", device),
        device=device,
        what=f"{MODEL} features",
    )
    if found.division is not None:
        at = np.searchsorted(places, found.division.places)
        units = np.empty(len(places), np.int64)
        units[at] = found.division.units
    else:
        units = np.arange(len(places), dtype=np.int64)
    doubtful = label_errors.find_label_errors(
        extracted.features.values, labels, units, num_classes=len(number)
    )
    names = pictures.source.class_names
    suspects = tuple(
        LabelSuspect(
            name=entries[places[i]].name,
            place=int(places[i]),
            given=names[labels[i]],
            suggested=names[likelier],
            given_probability=float(p),
            suggested_probability=float(q),
        )
        for i, likelier, p, q in zip(
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
