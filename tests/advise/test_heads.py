"""Heads by the probe's recipe: those of the candidate itself; the label curve reads them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from headstart.advise.folds import REPETITIONS, FoldReader
from headstart.advise.label_curve import measure_curve
from headstart.advise.rung import PROBE_RECIPE, Rung
from headstart.data import load_dataset
from headstart.data.arrays import image_set
from headstart.data.splits import FOLDS


def _reader(advised: Path) -> tuple[FoldReader, Rung]:
    name = str(advised / "all-images.toml")
    plan = json.loads((advised / "plan.json").read_text())
    probe = next(Rung(**each) for each in plan["rungs"] if each["name"] == "probe")
    return FoldReader(load_dataset(name), name, advised), probe


def test_a_head_beside_the_candidates_is_the_candidate_s_own(advised: Path) -> None:
    """The same scaling and the same choice of L2: the logits that the fold's reading has stored."""
    reader, probe = _reader(advised)
    learned, judged = reader.ids(2)
    np.testing.assert_allclose(
        reader.heads(probe).logits(learned, judged), reader.read(probe, 2).logits, rtol=1e-3, atol=1e-3
    )
    assert probe.arm("x").recipe_name == PROBE_RECIPE


def test_every_repetition_divides_all_images_anew(advised: Path) -> None:
    reader, _ = _reader(advised)
    for first in range(0, REPETITIONS * FOLDS, FOLDS):
        judged = [reader.ids(fold)[1] for fold in range(first, first + FOLDS)]
        assert sorted(np.concatenate(judged)) == list(range(120))
    assert (reader.divisions[0] != reader.divisions[1]).any()
    assert (reader.divisions[1] != reader.divisions[2]).any()


class _Heads(SimpleNamespace):
    """Right for the first tenth of the images judged, and a tenth more for each doubling of the labels."""

    def logits(self, learned: np.ndarray, judged: np.ndarray) -> np.ndarray:
        labels = self.dataset.train.labels
        right = np.arange(len(judged)) < round(len(judged) * (0.1 + 0.1 * np.log2(len(learned) / 2)))
        return np.eye(2, dtype=np.float32)[np.where(right, labels[judged], 1 - labels[judged])]


def _curve(per_class: int, seconds: float) -> Any:
    labels = np.tile([0, 1], per_class + 100)
    train = image_set(np.zeros((len(labels), 1, 1, 3), np.uint8), labels, ("a", "b"))
    split = (np.arange(2 * per_class), np.arange(2 * per_class, len(labels)))
    return measure_curve(_Heads(dataset=SimpleNamespace(train=train)), [split] * 3, seconds)  # type: ignore[arg-type]


def test_the_label_curve_reads_heads_on_halves_and_halves_of_halves() -> None:
    curve = _curve(64, 60)
    means = {labels: np.mean([*by_seed.values()]) for labels, by_seed in curve.points.items()}
    assert means == pytest.approx({4.0: 0.3, 8.0: 0.4, 16.0: 0.5, 32.0: 0.6, 64.0: 0.7})


def test_there_is_no_label_curve_of_few_labels_or_in_no_time() -> None:
    assert _curve(15, 60) is None
    assert _curve(64, -1) is None
