"""tuning.json is read as it was published, with defaults for what older files lack; damage is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.errors import StoreError
from headstart.store import read_search, study_searches, write_json
from headstart.store.searches import FullLength, SearchedHyperparameter
from headstart.types import LabelBudget, Proxy

PUBLISHED = Path(__file__).parents[2] / "report" / "trials"


def test_a_published_search_is_read_as_it_was_written() -> None:
    (search,) = (each for each in study_searches(PUBLISHED) if each.arm == "cnn" and each.label_budget.is_all)
    assert len(search.candidates) == search.tries_asked == 10
    assert search.best is not None and (search.best.number, search.best.accuracy) == (10, 0.9032)
    assert search.proxy == Proxy(duration="3 epochs")
    assert search.full_length == FullLength(own=0.929867, tuned=0.928667, seeds=3)
    assert search.space[0] == SearchedHyperparameter(name="learning_rate", low=0.03, high=0.5, log=True)


def test_what_a_file_lacks_has_a_default(tmp_path: Path) -> None:
    path = tmp_path / "tuning" / "cnn-5" / "tuning.json"
    write_json(path, {"arm": "cnn", "labels_per_class": 5, "tries": [{"number": 1}, {"number": 2}]})
    (search,) = study_searches(tmp_path)
    assert search.label_budget == LabelBudget(5) and search.tries_asked == 2
    assert search.best is None and search.full_length is None
    assert search.proxy == Proxy() and search.space == ()
    assert [(each.number, each.accuracy, each.seconds) for each in search.candidates] == [
        (1, None, 0.0),
        (2, None, 0.0),
    ]


@pytest.mark.parametrize(
    "stored",
    [
        {"labels_per_class": None, "tries": []},
        {"arm": "cnn", "labels_per_class": None, "tries": [{"numbers": 1}]},
        {"arm": "cnn", "labels_per_class": None, "tries": [], "proxy": {"minutes": 1}},
        {"arm": "cnn", "labels_per_class": None, "tries": None},
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(stored: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "tuning.json"
    write_json(path, stored)
    with pytest.raises(StoreError, match=r"tuning\.json is damaged .*; run `headstart tune` again") as error:
        read_search(path)
    assert "\n" not in str(error.value)
