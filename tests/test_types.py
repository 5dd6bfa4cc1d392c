"""The project's words as values: label budgets and the names under which files keep them."""

import dataclasses
import json

import pytest

from headstart import store
from headstart.types import ALL_LABELS, Claim, LabelBudget


@pytest.mark.parametrize("written", [None, "all"])
def test_none_and_all_are_the_same_budget(written) -> None:
    assert LabelBudget.of(written) == ALL_LABELS == LabelBudget() and ALL_LABELS.is_all


def test_budgets_sort_ascending_with_all_labels_last() -> None:
    budgets = [ALL_LABELS, LabelBudget(500), LabelBudget(1), LabelBudget(10)]
    assert [budget.per_class for budget in sorted(budgets)] == [1, 10, 500, None]
    assert max(budgets) == ALL_LABELS and not ALL_LABELS < ALL_LABELS <= ALL_LABELS


def test_nothing_is_selected_below_five_labels_of_each_class() -> None:
    assert [LabelBudget(n).allows_selection for n in (4, 5, None)] == [False, True, True]


@pytest.mark.parametrize(
    ("per_class", "wordings"),
    [
        (None, ("all", "all", "all labels", "all labels", "all 4,500 training labels", "all\n(450)")),
        (
            1,
            (
                "1",
                "1",
                "1 label a class",
                "1 labels a class",
                "1 labels a class (4,500 training labels)",
                "1",
            ),
        ),
        (
            1500,
            (
                "1500",
                "1,500",
                "1,500 labels a class",
                "1500 labels a class",
                "1,500 labels a class (4,500 training labels)",
                "1,500",
            ),
        ),
    ],
)
def test_a_budget_in_words(per_class: int | None, wordings: tuple[str, ...]) -> None:
    budget = LabelBudget(per_class)
    assert wordings == (
        str(budget),
        budget.title,
        budget.words,
        budget.plain_words,
        budget.with_images(4500),
        budget.tick(450.0),
    )


def test_files_say_labels_per_class_and_null_for_all_labels() -> None:
    claim = Claim(sentence="s", a="a", b="b", metric="seconds")
    assert store.as_stored(claim)["labels_per_class"] is None and store.as_stored(claim)["gap_at"] is None
    beside_all = dataclasses.replace(claim, label_budget=LabelBudget(10), gap_at=ALL_LABELS)
    stored = json.loads(json.dumps(store.as_stored(beside_all)))
    assert (stored["labels_per_class"], stored["gap_at"]) == (10, "all")
    assert store.claim_from_stored(stored) == beside_all
