"""Findings from trials whose numbers are chosen by hand."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats as reference

from headstart import store
from headstart.errors import ConfigError, DataError, StoreError
from headstart.results import headline
from headstart.results.claims import as_json, decide
from headstart.results.efficiency import (
    accuracy_at,
    bracket_to_accuracy,
    pareto_front,
    time_to_accuracy,
)
from headstart.results.trials import (
    agreement,
    disagreements,
    gallery_ids,
    hardest,
    most_confident_errors,
    wrong_for_all,
)
from headstart.store import FinishedTrial, StudyRecord
from headstart.types import ALL_LABELS, Claim, Cost, LabelBudget, Predictions, Result

LABELS = np.arange(100) % 2


def logits_of(right, confidence=0.9):
    """Two-class logits, float32 (100, 2), right on the first `right` images."""
    correct = np.arange(100) < right
    strength = math.log(confidence / (1 - confidence))
    predicted = np.where(correct, LABELS, 1 - LABELS)
    return (np.eye(2)[predicted] * strength).astype(np.float32)


class Study:
    """Trials of a study as `store.finished_trials` returns them, with predictions on disk where asked for."""

    def __init__(self, folder):
        self.folder, self.trials = folder, []

    def add(
        self,
        arm,
        accuracy,
        seed=0,
        *,
        budget=None,
        phase="select",
        method="scratch",
        seconds=60.0,
        flops=10,
        history=(),
        fingerprint="f" * 64,
        logits=None,
        labels=LABELS,
        started="2025-01-01",
        processor="one",
        precision="bf16",
        weights="none",
        **metrics,
    ):
        key = f"{arm}-{budget}-{phase}-{seed}-{started}"
        folder = self.folder / key
        folder.mkdir()
        if logits is not None:
            test = Predictions(logits=logits, labels=labels, example_ids=np.arange(len(labels)))
            store.write_predictions(folder / "predictions.npz", {"test": test})
        self.trials.append(
            FinishedTrial(
                folder=folder,
                result=Result(
                    key=key,
                    study="s",
                    metrics={"test_accuracy": accuracy, **metrics},
                    trial={
                        "arm": {
                            "name": arm,
                            "label": f"The {arm}",
                            "dataset": "toy",
                            "method": method,
                            "weights": weights,
                        },
                        "labels_per_class": budget,
                        "seed": seed,
                        "phase": phase,
                        "dataset_fingerprint": fingerprint,
                    },
                    train_images=45_000 if budget is None else 2 * budget,
                    history=tuple(history),
                    cost=Cost(
                        seconds={"train": seconds},
                        spent_seconds=seconds / 2,
                        examples=5,
                        flops=flops,
                        peak_memory_bytes=7,
                    ),
                    environment={"started": started, "processor": processor, "precision": precision},
                ),
            )
        )
        return self


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


def claim(metric="test_accuracy", direction="higher", margin=0.0, a="cnn", b="probe", budget=None):
    return Claim(
        sentence="",
        a=a,
        b=b,
        metric=metric,
        direction=direction,
        margin=margin,
        label_budget=LabelBudget(budget),
    )


def decide_one(study, given):
    [found] = decide([given], study.trials)
    return found


A, B = [0.92, 0.93, 0.91], [0.88, 0.88, 0.87]  # differences 0.04, 0.05, 0.04


@pytest.fixture
def three_seeds(study):
    for seed in range(3):
        study.add("cnn", A[seed], seed).add("probe", B[seed], seed)
    return study


# ---------------------------------------------------------------- the ledger


def test_one_claim_is_decided_by_the_paired_t_interval(three_seeds):
    found, expected = decide_one(three_seeds, claim()), reference.ttest_rel(A, B)
    assert found.verdict == "supported"
    assert found.effect == pytest.approx(0.13 / 3)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.n == 3
    assert len(found.trials) == 6
    assert "interval at 95 % (Holm, 1 claim)" in found.note


@pytest.mark.parametrize(
    ("direction", "margin", "expected"),
    [
        # the interval is 0.0290 to 0.0577
        ("higher", 0.028, "supported"),
        ("higher", 0.05, "inconclusive"),
        ("higher", 0.06, "refuted"),
        ("lower", 0.0, "refuted"),
    ],
)
def test_verdict_compares_the_interval_with_the_margin(three_seeds, direction, margin, expected):
    found = decide_one(three_seeds, claim(direction=direction, margin=margin))
    assert found.verdict == expected
    assert (found.p_value <= 0.05) == (expected != "inconclusive")


def test_the_other_way_round_mirrors_the_finding(three_seeds):
    found = decide_one(three_seeds, claim())
    mirrored = decide_one(three_seeds, claim(a="probe", b="cnn", direction="lower"))
    assert mirrored.verdict == found.verdict == "supported"
    assert mirrored.interval == pytest.approx((-found.interval[1], -found.interval[0]))


def test_claims_of_one_study_are_one_family(three_seeds):
    alone = decide_one(three_seeds, claim())
    # Three like it: the first Holm step is at 1 - 0.05 / 3 and multiplies p by 3.
    first, *_ = decide([claim()] * 3, three_seeds.trials)
    differences = np.subtract(A, B)
    expected = reference.t.interval(1 - 0.05 / 3, 2, loc=differences.mean(), scale=reference.sem(differences))
    assert first.p_value == pytest.approx(3 * alone.p_value)
    assert first.interval == pytest.approx(expected)


def test_claims_stated_after_the_trials_are_a_family_of_their_own(three_seeds):
    alone = decide([claim()], three_seeds.trials)
    both = decide([claim(), *[replace(claim(), post_hoc=True)] * 3], three_seeds.trials)
    assert both[0] == alone[0]
    assert both[1].p_value == pytest.approx(3 * alone[0].p_value)
    assert "Holm, 3 claims" in both[1].note and "Holm, 1 claim)" in both[0].note


def test_an_inconclusive_claim_says_what_is_missing(study):
    for seed, shift in enumerate((-0.03, 0.0, 0.035)):
        study.add("cnn", 0.9 + shift, seed).add("probe", 0.9, seed)
    assert decide_one(study, claim()).shortfall == "too few seeds"


def test_a_difference_of_no_interest_is_no_lack_of_seeds(study):
    for seed, shift in enumerate((-0.0004, 0.0001, 0.0005)):
        study.add("cnn", 0.9 + shift, seed).add("probe", 0.9, seed)
    assert decide_one(study, claim()).shortfall == "no difference"


def test_claims_that_cannot_be_tested_do_not_count_in_the_family(three_seeds):
    alone = decide_one(three_seeds, claim())
    found, other = decide([claim(), claim(b="knn")], three_seeds.trials)
    assert found.p_value == alone.p_value
    assert (other.verdict, other.note) == ("n/a", "no finished trial of knn at all labels")


def test_one_seed_is_not_applicable_whatever_the_effect(study):
    study.add("cnn", 0.9, logits=logits_of(90)).add("probe", 0.5, logits=logits_of(50))
    found = decide_one(study, claim())
    assert (found.verdict, found.interval, found.p_value, found.n) == ("n/a", None, None, 1)
    assert found.effect == pytest.approx(0.4)
    assert "one pair, so no interval over seeds" in found.note
    # 2 / 2^40
    assert "40 only cnn gets right and 0 only probe (exact McNemar p = 1.8e-12)" in found.note


def test_seeds_that_only_one_arm_has_are_left_out(three_seeds):
    three_seeds.add("cnn", 0.1, 3).add("probe", 0.99, 4)
    found = decide_one(three_seeds, claim())
    assert found.n == 3
    assert found.effect == pytest.approx(0.13 / 3)


def test_arms_without_a_common_seed_have_no_finding(study):
    study.add("cnn", 0.9, 0).add("probe", 0.8, 1)
    assert decide_one(study, claim()).note == "cnn and probe have no seed in common at all labels"


def test_budgets_are_not_mixed(three_seeds):
    for seed in range(2):
        three_seeds.add("cnn", 0.5 + seed / 100, seed, budget=10).add("probe", 0.7, seed, budget=10)
    found = decide_one(three_seeds, claim(budget=10))
    assert found.effect == pytest.approx(-0.195)
    assert found.n == 2
    assert decide_one(three_seeds, claim(budget=20)).note == "no finished trial of cnn at 20 labels a class"


def test_a_gap_at_few_labels_is_compared_with_the_gap_at_all(study):
    for seed, (few_cnn, few_probe, all_cnn, all_probe) in enumerate(
        [(0.30, 0.70, 0.93, 0.90), (0.32, 0.70, 0.94, 0.90), (0.31, 0.72, 0.93, 0.91)]
    ):
        for arm, few, whole in (("cnn", few_cnn, all_cnn), ("probe", few_probe, all_probe)):
            study.add(arm, few, seed, budget=10)
            study.add(arm, whole, seed)
    found = decide_one(study, replace(claim(a="probe", b="cnn", budget=10), gap_at=ALL_LABELS))
    # gaps 0.40, 0.38, 0.41 against -0.03, -0.04, -0.02: differences 0.43, 0.42, 0.43
    assert found.effect == pytest.approx(1.28 / 3)
    assert (found.verdict, found.n, len(found.trials)) == ("supported", 3, 12)
    refuted = decide_one(study, replace(claim(a="cnn", b="probe", budget=10), gap_at=ALL_LABELS))
    assert refuted.effect == pytest.approx(-1.28 / 3) and refuted.verdict == "refuted"
    missing = decide_one(study, replace(claim(a="probe", b="cnn", budget=10), gap_at=LabelBudget(50)))
    assert missing.verdict == "n/a" and missing.note == "no finished trial of probe at 50 labels a class"


def test_phases_are_not_mixed(three_seeds):
    for seed in range(3):
        three_seeds.add("cnn", 0.99, seed, phase="refit")
    assert decide_one(three_seeds, claim()).effect == pytest.approx(0.13 / 3)


def test_a_deterministic_arm_pairs_its_one_trial_with_every_seed(study):
    for seed in range(3):
        study.add("cnn", A[seed], seed)
    study.add("probe", 0.88, 0, method="linear_probe")
    found = decide_one(study, claim())
    expected = reference.t.interval(0.95, 2, loc=0.04, scale=reference.sem(A))
    assert found.n == 3
    assert found.interval == pytest.approx(expected)
    assert (
        "probe is deterministic at all labels: its one trial is paired with each seed of the other"
        in found.note
    )


def test_copies_of_a_deterministic_trial_are_no_seeds(study):
    for seed in range(3):
        study.add("knn", 0.80, seed, method="knn").add("probe", 0.88, seed, method="linear_probe")
    found = decide_one(study, claim(a="knn"))
    assert (found.verdict, found.interval, found.n) == ("n/a", None, 1)


def test_below_all_labels_a_probe_varies_with_its_labels(study):
    for seed in range(3):
        study.add("cnn", 0.5, seed, budget=10).add("probe", B[seed], seed, budget=10, method="linear_probe")
    assert decide_one(study, claim(budget=10)).n == 3


def test_of_two_trials_with_one_seed_the_newer_counts(three_seeds):
    three_seeds.add("cnn", 0.1, 0, started="2024-01-01")
    found = decide_one(three_seeds, claim())
    assert found.effect == pytest.approx(0.13 / 3)


def test_different_datasets_are_refused(study):
    study.add("cnn", 0.9).add("probe", 0.8, fingerprint="e" * 64)
    with pytest.raises(
        DataError, match=r"on different images \(dataset fingerprints eeeeeeeeeeee, ffffffffffff"
    ):
        decide_one(study, claim())


def test_different_test_labels_are_refused_though_fingerprints_agree(study):
    study.add("cnn", 0.9, logits=logits_of(90)).add("probe", 0.8, logits=logits_of(80), labels=1 - LABELS)
    with pytest.raises(DataError, match="tested on different images"):
        decide_one(study, claim())


def test_a_damaged_predictions_file_is_named(study):
    study.add("cnn", 0.9, logits=logits_of(90)).add("probe", 0.8)
    path = study.trials[0].folder / "predictions.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"cannot read .*predictions.npz"):
        decide_one(study, claim())


def test_seconds_of_different_machines_do_not_compare(study):
    for seed in range(3):
        study.add("cnn", 0.9, seed, seconds=60 + seed, processor="one").add(
            "probe", 0.8, seed, processor="two"
        )
    found = decide_one(study, claim("seconds", "lower"))
    assert (found.verdict, found.note) == (
        "n/a",
        "measured on different machines, so their seconds do not compare",
    )
    assert decide_one(study, claim("test_accuracy")).verdict != "n/a"


def test_seconds_in_different_precisions_do_not_compare(study):
    for seed in range(3):
        study.add("cnn", 0.9, seed, seconds=60 + seed, precision="bf16").add(
            "probe", 0.8, seed, precision="fp32"
        )
    assert decide_one(study, claim("seconds", "lower")).note.startswith("measured on different machines")


def test_counted_costs_need_no_spread_but_measured_ones_do(study):
    for seed in range(3):
        study.add("cnn", 0.9, seed, flops=10, test_nll=0.5).add("probe", 0.9, seed, flops=30, test_nll=0.7)
    counted, measured = decide([claim("flops", "lower"), claim("test_nll", "lower")], study.trials)
    assert (counted.verdict, counted.interval, counted.p_value) == ("supported", (-20.0, -20.0), 0.0)
    assert (measured.verdict, measured.interval) == ("inconclusive", None)
    assert "no spread to build an interval on" in measured.note


def test_a_metric_that_a_trial_lacks_is_not_applicable(study):
    for seed in range(3):
        study.add("cnn", 0.9, seed, val_nll=0.3).add("probe", 0.9, seed, val_nll=None)
    found = decide_one(study, claim("val_nll", "lower"))
    assert (found.verdict, found.note) == ("n/a", "probe has no val_nll")


def history(*accuracies, seconds=10.0, start=0.0):
    return [
        {"epoch": k, "seconds": start + seconds * k, "flops": 100 * k, "val_accuracy": accuracy}
        for k, accuracy in enumerate(accuracies, 1)
    ]


def test_time_to_accuracy_is_a_metric(study):
    for seed in range(3):
        study.add("cnn", 0.9, seed, history=history(0.5, 0.86, 0.9, seconds=10 + seed))
        study.add("probe", 0.9, seed, history=history(0.7, 0.8, 0.9, seconds=10 - seed))
    seconds, epochs = decide(
        [claim("seconds_to_accuracy@0.85", "lower"), claim("epochs_to_accuracy@0.85", "lower")], study.trials
    )
    assert seconds.effect == pytest.approx((20 + 22 + 24 - 30 - 27 - 24) / 3)
    assert epochs.effect == -1.0
    assert epochs.interval is not None  # one epoch is rounded, so the same at each seed is still some spread
    assert epochs.interval[0] < -1.0 < epochs.interval[1]


def test_a_target_never_reached_counts_as_a_lower_bound(study):
    for seed in range(3):
        study.add("cnn", 0.9, seed, history=history(0.5, 0.9, seconds=10 + seed))
        study.add("probe", 0.8, seed, history=history(0.7, 0.8, seconds=100 + 3 * seed))
    supported = decide_one(study, claim("seconds_to_accuracy@0.85", "lower"))
    assert supported.verdict == "supported"  # even the end of the probe's run is later
    assert "some trials of probe never reached the target" in supported.note
    # The probe might have needed any time, so that cnn is at least 1,000 s faster is not refuted,
    assert (
        decide_one(study, claim("seconds_to_accuracy@0.85", "lower", margin=1000)).verdict == "inconclusive"
    )
    # nor that the probe takes longer than by 1,000 s,
    swapped = claim("seconds_to_accuracy@0.85", "higher", margin=1000, a="probe", b="cnn")
    assert decide_one(study, swapped).verdict == "inconclusive"
    # while "the probe is faster" is.
    assert (
        decide_one(study, claim("seconds_to_accuracy@0.85", "lower", a="probe", b="cnn")).verdict == "refuted"
    )


def test_a_target_that_neither_reaches_is_not_applicable(study):
    for seed in range(3):
        study.add("cnn", 0.9, seed, history=history(0.5)).add("probe", 0.9, seed, history=history(0.6))
    found = decide_one(study, claim("epochs_to_accuracy@0.85", "lower"))
    assert (found.verdict, found.effect) == ("n/a", None)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("test_acuracy", r"unknown metric 'test_acuracy' \(did you mean 'test_accuracy'\?\)"),
        (
            "seconds_to_accuracy",
            "needs a target accuracy above 0 and up to 1, as in 'seconds_to_accuracy@0.85'",
        ),
        ("epochs_to_accuracy@85", "needs a target accuracy above 0 and up to 1"),
    ],
)
def test_unknown_metrics_are_refused(three_seeds, metric, message):
    with pytest.raises(ConfigError, match=message):
        decide_one(three_seeds, claim(metric))


def test_inconclusive_says_what_these_seeds_could_have_found(study):
    for seed, difference in enumerate(
        (0.01, -0.01, 0.0)
    ):  # standard deviation 0.01; 3.264 of them at 3 seeds
        study.add("cnn", 0.9 + difference, seed).add("probe", 0.9, seed)
    found = decide_one(study, claim())
    assert found.verdict == "inconclusive"
    assert "3 seeds find a difference of 3.3 points beyond the margin with 80 % power" in found.note


def test_json_is_the_same_bytes_for_the_same_trials_in_any_order(three_seeds):
    claims = [claim(), claim(margin=0.06), claim(b="knn")]
    text = as_json(decide(claims, three_seeds.trials))
    assert text == as_json(decide(claims, three_seeds.trials[::-1]))
    assert [each["verdict"] for each in json.loads(text)] == ["supported", "refuted", "n/a"]


# ---------------------------------------------------------------- costs


def test_time_to_accuracy_is_the_first_row_that_reaches_it():
    rows = history(0.5, 0.86, 0.84, 0.9)
    assert time_to_accuracy(rows, 0.85) == {"seconds": 20.0, "epochs": 2, "flops": 200}
    assert time_to_accuracy(rows, 0.91) is None
    assert time_to_accuracy([], 0.5) is None


def test_between_two_evaluations_the_time_to_an_accuracy_is_a_bracket():
    rows = history(0.5, 0.86, 0.84, 0.9)  # evaluated after 10, 20, 30 and 40 seconds
    assert bracket_to_accuracy(rows, 0.85, "seconds") == (10.0, 20.0)
    assert bracket_to_accuracy(rows, 0.85, "epoch") == (1.0, 2.0)
    assert bracket_to_accuracy(rows, 0.4, "seconds") == (0.0, 10.0)
    assert bracket_to_accuracy(rows, 0.91, "seconds") is None
    assert bracket_to_accuracy([{"epoch": 1, "val_accuracy": 0.9}], 0.5, "seconds") is None


def test_rows_without_validation_reach_nothing():
    rows = [
        {"epoch": 1, "seconds": 1.0},
        {"epoch": 2, "val_accuracy": None},
        {"epoch": 3, "val_accuracy": 0.9},
    ]
    assert time_to_accuracy(rows, 0.9) == {"seconds": None, "epochs": 3, "flops": None}


def test_accuracy_at_a_cost_is_the_last_one_measured_not_the_best():
    rows = history(0.5, 0.86, 0.84, 0.9)
    assert accuracy_at(rows, seconds=35) == 0.84
    assert accuracy_at(rows, flops=200) == 0.86
    assert accuracy_at(rows, seconds=9.9) is None
    with pytest.raises(TypeError, match="either seconds or flops"):
        accuracy_at(rows)


def test_pareto_front_is_what_nothing_beats():
    # the second costs more than the first for less; the last two are equal, and beat the fourth
    points = [(10, 0.8), (12, 0.7), (5, 0.6), (21, 0.9), (20, 0.9), (20, 0.9)]
    assert pareto_front(points) == [2, 0, 4, 5]
    assert pareto_front([]) == []


# ---------------------------------------------------------------- images


def predictions(probabilities, labels, ids=None):
    """Two-class predictions from the probability of class 1."""
    p = np.asarray(probabilities)
    return Predictions(
        logits=np.log(np.stack([1 - p, p], axis=1)).astype(np.float32),
        labels=np.asarray(labels),
        example_ids=np.arange(len(p)) if ids is None else np.asarray(ids),
    )


FIRST = predictions([0.9, 0.8, 0.6, 0.4, 0.3, 0.99], [1, 1, 1, 1, 1, 0], ids=[10, 11, 12, 13, 14, 15])
SECOND = predictions([0.4, 0.1, 0.7, 0.2, 0.62, 0.9], [1, 1, 1, 1, 1, 0], ids=[10, 11, 12, 13, 14, 15])


def test_disagreements_come_by_how_far_the_two_are_apart():
    # first is right on 10, 11, 12; second on 12, 14. Margins: 10: 0.5, 11: 0.7
    assert disagreements(FIRST, SECOND).tolist() == [11, 10]
    assert disagreements(FIRST, SECOND, 1).tolist() == [11]
    assert disagreements(SECOND, FIRST).tolist() == [14]


def test_most_confident_errors_come_by_the_probability_of_the_wrong_class():
    # wrong on 13 (0.6 for class 0), 14 (0.7), 15 (0.99 for class 1)
    assert most_confident_errors(FIRST).tolist() == [15, 14, 13]
    assert most_confident_errors(FIRST, 2).tolist() == [15, 14]


def test_equally_confident_errors_come_by_id():
    given = predictions([0.25, 0.25, 0.25], [1, 1, 1], ids=[9, 2, 5])
    assert most_confident_errors(given).tolist() == [2, 5, 9]


def test_hardest_are_wrong_for_most_then_least_believed():
    # both wrong: 13 (mean 0.3), 15 (mean 0.055); one wrong: 10 (0.65), 11 (0.45), 14 (0.46)
    assert hardest([FIRST, SECOND]).tolist() == [15, 13, 11, 14, 10]


def test_wrong_for_all_are_the_hardest_that_nobody_gets_right():
    assert wrong_for_all([FIRST, SECOND]).tolist() == [15, 13]
    assert wrong_for_all([FIRST, SECOND], 1).tolist() == [15]


def test_agreement_counts_images():
    # they say 1 1 1 0 and 1 1 0 0, the labels are 0 1 1 1; by chance they would agree on 3/4 * 2/4 + 1/4 *
    # 2/4 = 1/2
    first, second = (predictions(p, [0, 1, 1, 1]) for p in ([0.9, 0.9, 0.9, 0.1], [0.9, 0.9, 0.1, 0.1]))
    expected = {
        "same_prediction": 3 / 4,
        "both_right": 1 / 4,
        "both_wrong": 2 / 4,
        "only_a": 1 / 4,
        "only_b": 0.0,
        "kappa": (3 / 4 - 1 / 2) / (1 - 1 / 2),
    }
    assert agreement(first, second) == pytest.approx(expected)


def test_agreement_of_constant_models_has_no_kappa():
    same = predictions([0.9, 0.9], [1, 0])
    assert math.isnan(agreement(same, same)["kappa"])


def test_other_images_are_refused():
    with pytest.raises(DataError, match="predictions of 6 and 2 images are not of the same test set"):
        disagreements(FIRST, predictions([0.9, 0.9], [1, 0]))


def test_gallery_holds_exactly_what_the_report_will_show(study):
    study.add("cnn", 0.9, logits=logits_of(90, 0.8)).add("probe", 0.95, logits=logits_of(95))
    # cnn's errors: 90, 91 first; probe's 95, 96; only probe is right on 90 to 94, all equally sure: 90, 91
    ids = gallery_ids(study.trials, per_kind=2)
    assert ids.tolist() == [90, 91, 95, 96]
    assert ids.dtype == np.int64


def test_gallery_holds_what_every_arm_gets_wrong_at_every_seed(study):
    strong = np.where(np.arange(100) == 99, 0.6, 0.9)  # 99 is the least sure error: no arm's surest one
    logits = logits_of(98) * (np.log(strong / (1 - strong)) / math.log(9))[:, None].astype(np.float32)
    other = logits_of(99)
    study.add("cnn", 0.98, logits=logits).add("cnn", 0.99, 1, logits=other)
    assert gallery_ids(study.trials, per_kind=1).tolist() == [98, 99]  # 98: surest; 99: wrong at both seeds


def test_gallery_shows_all_labels_and_the_lowest_seed(study):
    study.add("cnn", 0.9, 1, logits=logits_of(10)).add("cnn", 0.9, 0, logits=logits_of(98))
    study.add("cnn", 0.9, 0, budget=10, logits=logits_of(20))
    assert gallery_ids(study.trials).tolist() == [98, 99]
    assert gallery_ids([]).tolist() == []


# ---------------------------------------------------------------- table and sentence


def test_table_has_means_and_t_intervals_over_seeds(three_seeds):
    table = headline.comparison_table(three_seeds.trials).set_index("arm")
    low, high = reference.t.interval(0.95, 2, loc=0.92, scale=reference.sem(A))
    row = table.loc["cnn"]
    assert row["test_accuracy"] == pytest.approx(0.92)
    assert (row["test_accuracy_low"], row["test_accuracy_high"]) == pytest.approx((low, high))
    assert (row["n"], row["labels_per_class"]) == (3, "all")
    assert (row["seconds"], row["spent_seconds"], row["peak_memory_bytes"]) == (60, 30, 7)
    assert pd.isna(row["wilson_low"])
    assert pd.isna(row["val_accuracy"])


def test_with_one_seed_the_interval_is_over_test_images_and_says_so(study):
    study.add("cnn", 0.8, logits=logits_of(80))
    [row] = headline.comparison_table(study.trials).to_dict("records")
    assert math.isnan(row["test_accuracy_low"])
    expected = reference.binomtest(80, 100).proportion_ci(method="wilson")
    assert (row["wilson_low"], row["wilson_high"]) == pytest.approx((expected.low, expected.high))


def test_table_counts_a_deterministic_arm_once(study):
    for seed in range(3):
        study.add("probe", 0.88, seed, method="linear_probe")
    [row] = headline.comparison_table(study.trials).to_dict("records")
    assert row["n"] == 1
    assert math.isnan(row["test_accuracy_low"])


def test_table_has_a_row_for_each_arm_budget_and_phase(study):
    study.add("cnn", 0.9).add("cnn", 0.95, phase="refit").add("cnn", 0.4, budget=10).add("probe", 0.8)
    table = headline.comparison_table(study.trials)
    assert table[["arm", "labels_per_class", "phase"]].to_numpy().tolist() == [
        ["cnn", "all", "select"],
        ["cnn", "all", "refit"],
        ["cnn", 10, "select"],
        ["probe", "all", "select"],
    ]


def test_intervals_of_accuracies_end_at_one(study):
    study.add("cnn", 0.9, 0).add("cnn", 0.99, 1)
    assert headline.comparison_table(study.trials)["test_accuracy_high"].tolist() == [1.0]


STUDY = StudyRecord.from_stored({"dataset": {"title": "Toys", "test_images": 100}, "phase": "select"})


def test_headline_of_one_seed_says_that_it_has_no_interval(study):
    study.add("probe", 0.5, logits=logits_of(50), seconds=294).add(
        "cnn", 0.9, logits=logits_of(90), seconds=366
    )
    assert headline.headline(STUDY, study.trials) == (
        "On Toys with all 45,000 training labels, The cnn reached 90.0 % test accuracy, 40.0 points (these "
        "two networks alone; one seed, so no interval over seeds) above The probe (50.0 %); the first took "
        "6.1 minutes, the second 4.9."
    )


def test_headline_computes_the_winner(study):
    study.add("cnn", 0.5, logits=logits_of(50)).add("probe", 0.9, logits=logits_of(90), seconds=7300)
    text = headline.headline(STUDY, study.trials)
    assert (
        "The probe reached 90.0 % test accuracy, 40.0 points (these two networks alone; "
        "one seed, so no interval over seeds) above The "
        "cnn "
        "(50.0 %)"
    ) in text
    assert text.endswith("; the first took 2.0 hours, the second 60 seconds.")


def test_headline_says_when_one_seed_cannot_tell(study):
    study.add("cnn", 0.9, logits=logits_of(90)).add("probe", 0.93, logits=logits_of(93))
    text = headline.headline(STUDY, study.trials)  # 0 against 3: p = 2 / 8
    assert (
        "The probe (93.0 % test accuracy) and The cnn (90.0 %) cannot be told apart (exact McNemar p = 0.25 "
        "on 100 test "
        "images; these two networks alone; one seed, so no interval over seeds); the first took 60 seconds"
    ) in text


def test_headline_of_several_seeds_carries_the_interval(three_seeds):
    text = headline.headline(STUDY, three_seeds.trials)
    assert (
        "The cnn reached 92.0 % test accuracy, 4.3 points (95 % interval over 3 seeds 2.9 to 5.8) above The "
        "probe "
        "(87.7 %)"
    ) in text


def test_headline_of_several_seeds_can_be_a_tie(study):
    for seed, accuracy in enumerate((0.90, 0.92, 0.88)):
        study.add("cnn", accuracy, seed).add("probe", 0.899, seed)
    text = headline.headline(STUDY, study.trials)
    assert (
        "The cnn (90.0 % test accuracy) and The probe (89.9 %) cannot be told apart (95 % interval of the "
        "difference over 3 "
        "seeds −4.9 to 5.1 points)"
    ) in text


def test_headline_names_the_arms_behind_the_first_two(study):
    for arm, right in (("a", 90), ("b", 70), ("c", 50), ("d", 30)):
        study.add(arm, right / 100, logits=logits_of(right))
    assert headline.headline(STUDY, study.trials).endswith("; behind them The c 50.0 %, The d 30.0 %.")


def test_headline_leaves_many_other_arms_to_the_table(study):
    for place in range(6):
        study.add(f"arm{place}", 0.9 - place / 10, logits=logits_of(90 - 10 * place))
    assert "behind them" not in headline.headline(STUDY, study.trials)


def test_headline_sets_the_winner_against_the_best_of_the_other_start(study):
    study.add("tuned", 0.9, logits=logits_of(90), weights="w").add(
        "probe", 0.85, logits=logits_of(85), weights="w"
    )
    study.add("cnn", 0.7, logits=logits_of(70))
    assert headline.headline_pair(STUDY, study.trials) == ("tuned", "cnn")
    text = headline.headline(STUDY, study.trials)
    assert (
        "The tuned reached 90.0 % test accuracy, 20.0 points (these two networks alone; "
        "one seed, so no interval over seeds) above the "
        "best from "
        "random weights, The cnn (70.0 %); "
    ) in text
    assert text.endswith("; the others: The probe 85.0 %.")


def test_a_narrow_interval_is_told_with_two_digits(study):
    for seed in range(3):
        study.add("cnn", 0.9 + seed / 100, seed).add("probe", 0.895 + seed / 100, seed)
    assert "seeds 0.49 to 0.51) above" in headline.headline(STUDY, study.trials)


def test_headline_of_a_chosen_arm_is_about_it_whatever_the_test_images_say(study):
    study.add("cnn", 0.9, logits=logits_of(90)).add("probe", 0.93, logits=logits_of(93)).add(
        "knn", 0.5, logits=logits_of(50)
    )
    assert headline.headline(replace(STUDY, chosen="cnn"), study.trials) == (
        "On Toys with all 45,000 training labels, The cnn is the one to use: chosen on validation images, it "
        "reached 90.0 % test "
        "accuracy in 60 seconds; one seed, so no interval over seeds. On the test images alone The probe "
        "(93.0 %) did better; "
        "they take no part in the choice."
    )
    assert headline.headline(replace(STUDY, chosen="probe"), study.trials).endswith(
        "; one seed, so no interval over seeds."
    )


def test_headline_of_one_arm_compares_nothing(study):
    study.add("cnn", 0.9, 0, budget=25)
    assert headline.headline(STUDY, study.trials) == (
        "On Toys with 25 labels a class (50 training labels), The cnn reached 90.0 % test accuracy in 60 "
        "seconds; "
        "one seed, so no interval over seeds."
    )


def test_headline_does_not_set_seconds_of_different_machines_against_each_other(study):
    study.add("cnn", 0.9, processor="one").add("probe", 0.8, processor="two")
    told = headline.headline(STUDY, study.trials)
    assert told.endswith("(80.0 %); the first took 1e-14 PFLOP of work, the second 1e-14 PFLOP.")
    assert "second" not in told.replace("the second", "")


def test_headline_of_nothing_is_no_answer():
    assert headline.headline(STUDY, []) == "No trial has finished yet, so there is no answer."
