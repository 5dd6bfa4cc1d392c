"""Whether a stored trial's numbers are those that its own logits give: asked before any of them is shown or
taken over.

What logits cannot tell (seconds, validation accuracy) is held by the trial's manifest. Someone who rewrites
a trial consistently, logits and all, is not found out.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from headstart import store
from headstart.errors import DamagedError, DataError, StoreError
from headstart.results import metrics
from headstart.store import FinishedTrial
from headstart.store.predictions import PREDICTIONS
from headstart.store.remedies import TRIAL as REMEDY
from headstart.store.trials import RESULT
from headstart.types import Predictions

_VERSION = 1  # of these comparisons
_MOST_REMEMBERED_BYTES = 2_000_000
# Published logits are float16. Of 239 trials with 10,000 test images none moved by more than 8e-4 (ECE,
# where an image may change its bin); of a few images each weighs more.
_EXACT, _ROUNDED = 0.0, 1e-3
_WEIGHT_OF_AN_IMAGE = 6.0
_Metrics = Mapping[str, float | None]


def _made_again(test: Predictions, stored: _Metrics) -> dict[str, tuple[float | None, float]]:
    """By metric: its value from the logits, and by how much the stored one may differ."""
    temperature = stored.get("temperature")
    raw = metrics.scores(test.logits, test.labels)
    calibrated = None
    if temperature is not None and temperature > 0:
        calibrated = metrics.scores(test.logits, test.labels, temperature)
    accuracy = metrics.accuracy(test.logits, test.labels)
    train, test_accuracy = stored.get("train_accuracy"), stored.get("test_accuracy")
    gap = None if train is None or test_accuracy is None else train - test_accuracy
    return {
        "test_accuracy": (accuracy, _EXACT),
        "test_balanced_accuracy": (metrics.balanced_accuracy(test.logits, test.labels), 1e-6),
        "test_top5_accuracy": (metrics.topk_accuracy(test.logits, test.labels), _ROUNDED),
        "test_nll": (raw.nll, _ROUNDED),
        "test_ece": (raw.ece, _ROUNDED),
        "test_brier": (raw.brier, _ROUNDED),
        "test_nll_calibrated": (calibrated.nll if calibrated else None, _ROUNDED),
        "test_ece_calibrated": (calibrated.ece if calibrated else None, _ROUNDED),
        "generalization_gap": (gap, 1e-6),
    }


def require_honest(trial: FinishedTrial) -> str:
    """Compare the trial's stored metrics with those of its logits; returns the SHA-256 of its test images'
    ids and labels.

    Files that were found honest once are remembered in the cache by their content and not computed again.
    Raises: StoreError where there are no predictions; DamagedError naming the file, the metric and both
    values."""
    content = store.digest(
        [_VERSION, *(store.facts_of(trial.folder / name, REMEDY).sha256 for name in (RESULT, PREDICTIONS))]
    )
    remembered = _remembered()
    if content not in remembered:
        test = store.read_test(trial.folder, both_views=False)
        _compare(trial, test)
        remembered[content] = hashlib.sha256(
            test.example_ids.astype("<i8").tobytes() + test.labels.astype("<i8").tobytes()
        ).hexdigest()
        _remember(content, remembered[content])
    return remembered[content]


def _compare(trial: FinishedTrial, test: Predictions) -> None:
    try:
        made_again = _made_again(test, trial.metrics)
    except DataError as error:
        raise DamagedError(f"{trial.folder / PREDICTIONS}: {error}; {REMEDY}") from error
    for name, (own, most) in made_again.items():
        stored = trial.metrics.get(name)
        if stored is None and name != "test_accuracy":
            continue
        if most == _ROUNDED:
            most = max(most, _WEIGHT_OF_AN_IMAGE / len(test.labels))
        if own is None or stored is None or not abs(own - stored) <= most:
            raise DamagedError(
                f"{trial.folder / RESULT} says {name} {stored}, but the logits beside it give {own}; {REMEDY}"
            )


def honest_trials(study_folder: Path) -> list[FinishedTrial]:
    """Every finished trial of a folder, ordered as store.finished_trials does, once all are found honest.

    Raises: as store.finished_trials and require_honest; DamagedError where trials of one dataset have other
    test images or labels."""
    trials = store.finished_trials(study_folder)
    images: dict[str, tuple[str, Path]] = {}
    for trial in trials:
        own = require_honest(trial)
        first, where = images.setdefault(trial.dataset_fingerprint, (own, trial.folder))
        if own != first:
            raise DamagedError(
                f"{trial.folder / PREDICTIONS} has other test images or labels than {where / PREDICTIONS}, "
                f"though both name one dataset; {REMEDY}"
            )
    return trials


# ---------------------------------------------------------------- what was found honest before


@functools.cache
def _remembered() -> dict[str, str]:
    """By the digest of a trial's files, the hash of its test images."""
    try:
        lines = store.read_bytes(_memory(), _MOST_REMEMBERED_BYTES).decode("ascii").splitlines()
    except (StoreError, ValueError):
        return {}
    return {
        a: b for a, _, b in (line.partition(" ") for line in lines) if store.is_key(a) and store.is_key(b)
    }


def _remember(content: str, images: str) -> None:
    path = _memory()
    with suppress(OSError):  # a cache that cannot be written: then it is computed each time
        path.parent.mkdir(parents=True, exist_ok=True)
        full = path.is_file() and path.stat().st_size > _MOST_REMEMBERED_BYTES - 200
        with path.open("w" if full else "a", encoding="ascii") as file:
            file.write(f"{content} {images}\n")


def _memory() -> Path:
    return store.cache_folder() / "honest-trials.txt"
