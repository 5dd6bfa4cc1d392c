"""What an interrupted advice left: read back where it is whole, else announced and made anew."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from headstart import store
from headstart.advise.folds import _stored
from headstart.advise.trying import _read_plan

RUNG = {"name": "probe", "label": "a head", "method": "linear_probe", "pixels": 64}
DATA: Any = SimpleNamespace(fingerprint="ab")


def write_plan(folder: Path, **changes: object) -> None:
    value = {"fingerprint": "ab", "balance": False, "spent_seconds": 3.0, "rungs": [RUNG | changes]}
    store.write_json(folder / "plan.json", value)


def test_a_whole_plan_is_gone_on_with(tmp_path: Path) -> None:
    write_plan(tmp_path)
    spent, rungs = _read_plan(tmp_path, DATA, False)
    assert spent == 3.0 and rungs["probe"].pixels == 64


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "magic"},
        {"model": "no such network"},
        {"weights": "http://127.0.0.1:9/x-12345678.pth"},
        {"weights": "file:///etc/passwd"},
        {"pixels": 10**6},
        {"pixels": "many"},
        {"batch_size": -1},
        {"name": None},
    ],
)
def test_a_plan_that_names_what_there_is_not_is_made_anew(tmp_path: Path, changes, capsys) -> None:
    write_plan(tmp_path, **changes)
    assert _read_plan(tmp_path, DATA, False) == (0.0, {})
    assert "it is planned anew, and finished trials are kept" in capsys.readouterr().err


LOGITS = np.zeros((3, 2), np.float32)
IDS = np.array([1, 4, 5])


def write_fold(folder: Path, facts: object, **arrays: np.ndarray) -> None:
    store.write_npz(folder / "logits.npz", {"ids": IDS, "logits": LOGITS} | arrays)
    store.write_json(folder / "reading.json", facts)


def test_a_whole_fold_is_read_back_in_any_order(tmp_path: Path) -> None:
    write_fold(tmp_path, {"seconds": 1.5, "steps": 2}, ids=IDS[::-1].copy())
    found = _stored(tmp_path, 3, IDS, 2)
    assert found is not None and (found.fold, found.seconds, found.steps) == (3, 1.5, 2)


@pytest.mark.parametrize(
    ("facts", "arrays"),
    [
        ([], {}),
        ({"seconds": -1, "steps": 2}, {}),
        ({"seconds": 1.5}, {}),
        ({"seconds": 1.5, "steps": 2}, {"ids": IDS + 10**6}),
        ({"seconds": 1.5, "steps": 2}, {"ids": IDS[:2]}),
        ({"seconds": 1.5, "steps": 2}, {"logits": LOGITS[:, :1]}),
        ({"seconds": 1.5, "steps": 2}, {"logits": LOGITS * np.float32(np.nan)}),
        ({"seconds": 1.5, "steps": 2}, {"logits": LOGITS.astype("U4")}),
    ],
)
def test_a_damaged_fold_is_announced_and_read_anew(tmp_path: Path, facts, arrays, capsys) -> None:
    write_fold(tmp_path, facts, **arrays)
    assert _stored(tmp_path, 3, IDS, 2) is None
    assert "the fold is read anew" in capsys.readouterr().err
