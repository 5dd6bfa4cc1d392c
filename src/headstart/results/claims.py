"""The claims ledger: each claim of a study ends as supported, refuted, inconclusive or n/a, with its
evidence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from headstart import store
from headstart.results import stats
from headstart.results.differences import (
    COUNTED_ON_TEST,
    Difference,
    Scope,
    Shortfall,
    TestOutcomes,
    difference,
)
from headstart.results.pairing import (
    Pairs,
    different_machines,
    end_value,
    metric_spec,
    metric_value,
    pair_by_seed,
    require_one_test_set,
    stored_test,
)
from headstart.results.trials import Trials, correct, newest
from headstart.types import Claim, LabelBudget

_COUNTED = ("examples", "flops")  # the same at every seed: no spread is expected
# Within this of the margin a difference is none of interest: half a point of a fraction, else a share of b's
# mean.
_NEGLIGIBLE_POINTS, _NEGLIGIBLE_SHARE = 0.005, 0.05


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A comparison of two arms: effect (a - b), intervals, test, verdict, the trials it rests on.

    interval, p_value, verdict: over what `scope` names. interval_over_seeds: at the same level, for these
    test images alone. shortfall: why the verdict is inconclusive or n/a: there is no difference of interest,
    or too few seeds or test images to see one."""

    claim: Claim
    effect: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    verdict: Literal["supported", "refuted", "inconclusive", "n/a"]
    n: int
    trials: tuple[str, ...]
    note: str = ""
    scope: Scope = "seeds"
    interval_over_seeds: tuple[float, float] | None = None
    shortfall: Shortfall = ""


@dataclass(frozen=True, kw_only=True)
class _Question:
    """A claim with what was measured for it; `finding` is final where no test is possible."""

    finding: Finding
    difference: Difference | None = None
    p_value: float | None = None
    never: tuple[str, ...] = ()  # of "a", "b": some seed never reached the target; its value is a lower bound


def decide(claims: Sequence[Claim], results: Trials, alpha: float = 0.05) -> list[Finding]:
    """One finding a claim, in the order given; the claims are one family, those marked post hoc another.

    The verdict comes from the interval of the difference a - b, paired by seed, at the level of the claim's
    Holm step: supported wholly beyond the margin, refuted wholly short of it, else inconclusive; so the
    chance that a family holds any wrong "supported" or "refuted" is at most alpha. The interval is over seeds
    and test images where the metric is one of stored test predictions, else a t interval over seeds
    (`Finding.scope`). `p_value` is Holm-adjusted, of "the difference is the margin". One pair is "n/a",
    whatever its size, and does not count in the family. At all labels a deterministic arm has one trial; it
    is paired with each seed of the other arm and the seeds are the other's.
    Raises: ConfigError on an unknown metric; DataError on trials with different test sets.
    Source: Holm (1979); Student (1908); `crossed`."""
    trials, outcomes = newest(results), TestOutcomes()
    questions = [_ask(claim, trials, outcomes) for claim in claims]
    findings = [question.finding for question in questions]
    for post_hoc in (False, True):
        tested = [
            place
            for place, question in enumerate(questions)
            if question.p_value is not None and claims[place].post_hoc is post_hoc
        ]
        p_values = [float(questions[place].p_value or 0.0) for place in tested]
        adjusted, levels = stats.holm(p_values), stats.holm_confidences(p_values, alpha)
        for place, p_value, level in zip(tested, adjusted, levels, strict=True):
            findings[place] = _judge(questions[place], p_value, level, len(tested))
    return findings


def _ask(claim: Claim, trials: Trials, outcomes: TestOutcomes) -> _Question:
    metric_spec(claim.metric)
    unknown = Finding(claim=claim, effect=None, interval=None, p_value=None, verdict="n/a", n=0, trials=())
    budgets = [claim.label_budget, *([] if claim.gap_at is None else [claim.gap_at])]
    compared: list[Pairs] = []
    images = None
    for budget in budgets:
        pairs = _pairs(claim, trials, budget)
        if isinstance(pairs, str):
            return _Question(finding=replace(unknown, note=pairs))
        images = require_one_test_set([*pairs.a, *pairs.b])
        compared.append(pairs)
    common = set.intersection(*(set(pairs.seeds) for pairs in compared))
    compared = [pairs.at(common) for pairs in compared]
    keys = tuple(dict.fromkeys(key for pairs in compared for key in pairs.keys))
    if not common:
        return _Question(
            finding=replace(
                unknown, note=f"no seed in common at {' and '.join(each.plain_words for each in budgets)}"
            )
        )
    if "seconds" in claim.metric and different_machines(*compared):
        note = "measured on different machines, so their seconds do not compare"
        return _Question(finding=replace(unknown, note=note, trials=keys))
    return _measure(compared, images, outcomes, replace(unknown, trials=keys, n=len(common)))


def _pairs(claim: Claim, trials: Trials, budget: LabelBudget) -> Pairs | str:
    """The claim's two arms at a label budget, paired by seed, or why there are no pairs."""
    sides = {
        name: [trial for trial in trials if trial.arm.name == name and trial.label_budget == budget]
        for name in (claim.a, claim.b)
    }
    for name, items in sides.items():
        if not items:
            return f"no finished trial of {name} at {budget.plain_words}"
    phases = set.intersection(*({trial.phase for trial in side} for side in sides.values()))
    if not phases:
        return f"{claim.a} and {claim.b} have no phase in common at {budget.plain_words}"
    phase = "select" if "select" in phases else min(phases)
    side_a, side_b = ([trial for trial in sides[name] if trial.phase == phase] for name in (claim.a, claim.b))
    pairs = pair_by_seed(side_a, side_b)
    return pairs if pairs.a else f"{claim.a} and {claim.b} have no seed in common at {budget.plain_words}"


def _measure(
    compared: list[Pairs], images: int | None, outcomes: TestOutcomes, finding: Finding
) -> _Question:
    """compared: the pairs at the claim's label budget, and at that of gap_at where there is one; the same
    seeds. images: of the test set."""
    claim = finding.claim
    values, never = _values(claim, compared)
    if isinstance(values, str):
        return _Question(finding=replace(finding, note=values))
    resolution = 1.0 if claim.metric.startswith("epochs_to") else 0.0
    if claim.metric in COUNTED_ON_TEST and images:
        resolution = len(compared) / images
    signed_margin = claim.margin if claim.direction == "higher" else -claim.margin
    measured = difference(compared, claim.metric, values, outcomes, resolution)
    notes = _notes(claim, compared, never, measured.n)
    finding = replace(finding, effect=measured.effect, scope=measured.scope, note="; ".join(notes))
    if len(never) == 2:
        return _Question(finding=replace(finding, effect=None))
    p_value = measured.p_value(signed_margin)
    if p_value is None:
        return _Question(finding=replace(finding, shortfall="too few seeds"))
    if measured.over_seeds.standard_deviation == 0 and claim.metric not in _COUNTED:
        note = "; ".join([*notes, "the same difference at every seed: no spread to build an interval on"])
        return _Question(finding=replace(finding, verdict="inconclusive", note=note))
    return _Question(finding=finding, difference=measured, p_value=p_value, never=never)


def _values(
    claim: Claim, compared: list[Pairs]
) -> tuple[tuple[tuple[float, ...], tuple[float, ...]] | str, tuple[str, ...]]:
    """The metric of both arms, seed by seed, or why there is none; and the sides of which some seed never
    reached the target. With two label budgets the values are the differences a - b at each."""
    sides: list[tuple[float, ...]] = []
    never: list[str] = []
    for pairs in compared:
        for side, trials in (("a", pairs.a), ("b", pairs.b)):
            own = [metric_value(trial, claim.metric) for trial in trials]
            if None in own and "@" in claim.metric:
                never.append(side)
                own = [
                    end_value(trial, claim.metric) if value is None else value
                    for value, trial in zip(own, trials, strict=True)
                ]
            if None in own:
                return f"{getattr(claim, side)} has no {claim.metric}", ()
            sides.append(tuple(float(value) for value in own if value is not None))
    if len(compared) == 1:
        return (sides[0], sides[1]), tuple(never)
    if never:
        return "some trials never reached the target: their gaps do not compare", ()
    first, second = (tuple(x - y for x, y in zip(sides[i], sides[i + 1], strict=True)) for i in (0, 2))
    return (first, second), ()


def _notes(claim: Claim, compared: list[Pairs], never: tuple[str, ...], count: int) -> list[str]:
    """What a reader must know of the comparison. count: of pairs."""
    notes = [
        f"some trials of {getattr(claim, side)} never reached the target: their end counts, as a lower bound"
        for side in never
    ]
    for alone in dict.fromkeys(pairs.alone for pairs in compared if pairs.alone):
        notes.append(
            f"{alone} is deterministic at all labels: its one trial is paired with each seed of the "
            "other, and the interval is over the other's seeds"
        )
    if count == 1:
        notes.insert(0, "one pair, so no interval over seeds")
        if claim.metric == "test_accuracy" and len(compared) == 1:
            notes += _describe_pair(claim, compared[0])
    return notes


def _describe_pair(claim: Claim, pairs: Pairs) -> list[str]:
    first, second = stored_test(pairs.a[0].folder), stored_test(pairs.b[0].folder)
    if first is None or second is None:
        return []
    test = stats.mcnemar(correct(first), correct(second))
    return [
        f"of {len(first.labels):,} test images {test.only_a:,} only {claim.a} gets right and {test.only_b:,} "
        "only "
        f"{claim.b} (exact McNemar p = {test.p_value:.2g}), which compares these two networks, not the arms"
    ]


def _judge(question: _Question, p_value: float, level: float, family: int) -> Finding:
    claim, finding, measured = question.finding.claim, question.finding, question.difference
    assert measured is not None
    interval = measured.interval(level)
    assert interval is not None
    outcome = stats.verdict(interval, claim.margin, claim.direction)
    # A lower bound in place of b's cost can only hide that a is lower; in place of a's, only that it is
    # higher.
    a_looks = {"a": "lower", "b": "higher"}
    for side in question.never:
        a_is = (
            claim.direction
            if outcome == "supported"
            else {"higher": "lower", "lower": "higher"}[claim.direction]
        )
        if a_is == a_looks[side]:
            outcome = "inconclusive"
    notes = [finding.note] if finding.note else []
    notes.append(f"interval at {100 * level:.4g} % (Holm, {family} {'claim' if family == 1 else 'claims'})")
    shortfall: Shortfall = ""
    if outcome == "inconclusive":
        shortfall = _shortfall(claim, measured, level)
        notes += _power_note(claim, measured, level)
    return replace(
        finding,
        effect=measured.effect,
        interval=interval,
        interval_over_seeds=measured.interval_over_seeds(level),
        p_value=p_value,
        verdict=outcome,
        shortfall=shortfall,
        note="; ".join(notes),
    )


def _shortfall(claim: Claim, measured: Difference, level: float) -> Shortfall:
    if metric_spec(claim.metric).unit == "fraction":
        negligible = _NEGLIGIBLE_POINTS
    else:
        negligible = _NEGLIGIBLE_SHARE * abs(sum(measured.b) / len(measured.b))
    return measured.shortfall(
        level, claim.margin if claim.direction == "higher" else -claim.margin, negligible
    )


def _power_note(claim: Claim, measured: Difference, level: float) -> list[str]:
    smallest = measured.minimum_detectable(1 - level)
    if smallest is None:
        return []
    spec = metric_spec(claim.metric)
    shown = f"{100 * smallest:.2g} points" if spec.unit == "fraction" else f"{smallest:.2g} {spec.unit}"
    over = f"{measured.n} seeds"
    if measured.crossed is not None:
        over += f" and {measured.crossed.images:,} images"
    return [f"{over} find a difference of {shown} beyond the margin with 80 % power"]


def as_json(findings: Sequence[Finding]) -> str:
    """The findings as JSON text, one object each: same findings, same bytes."""
    return (
        json.dumps(
            [store.as_stored(finding) for finding in findings],
            indent=1,
            sort_keys=True,
            ensure_ascii=False,
            allow_nan=False,
        )
        + "\n"
    )
