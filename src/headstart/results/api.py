"""Finished studies from Python: two arms compared, a study's claims judged, its arms in one table; never
imports torch.

A thin door to `findings` and `store`, for notebooks and scripts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from headstart import store
from headstart.errors import ConfigError, StoreError, unknown_name
from headstart.results import headline
from headstart.results.claims import Finding, decide
from headstart.results.honest import honest_trials
from headstart.results.pairing import metric_spec
from headstart.results.trials import Trials, relabelled
from headstart.types import Claim, LabelBudget

RESULT_FOLDERS = (
    "runs/{}",
    "report/trials",
    "report/{}",
    "docs/results/{}",
)  # where a study's finished trials may lie


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Findings of one family: their p-values and intervals are Holm-adjusted together. A notebook shows
    `frame()`."""

    findings: tuple[Finding, ...]

    def __len__(self) -> int:
        return len(self.findings)

    def frame(self) -> pd.DataFrame:
        """A row a finding: claim, a, b, metric, n (pairs of seeds), effect (a - b, in the metric's own unit),
        low, high, p_value and verdict over what `over` names; low_over_seeds, high_over_seeds: on these test
        images alone; shortfall, note. NaN where undefined, as the interval of one pair is."""
        return pd.DataFrame([_row(finding) for finding in self.findings], columns=_COLUMNS)

    def _repr_html_(self) -> str:
        frame = self.frame().drop(columns=["a", "b"])
        return str(frame.to_html(index=False, na_rep="n/a", float_format="{:.4g}".format))


_COLUMNS = (
    "claim",
    "a",
    "b",
    "metric",
    "n",
    "effect",
    "low",
    "high",
    "low_over_seeds",
    "high_over_seeds",
    "over",
    "p_value",
    "verdict",
    "shortfall",
    "note",
)


def _row(finding: Finding) -> dict[str, Any]:
    nothing = float("nan"), float("nan")
    (low, high), (low_seeds, high_seeds) = finding.interval or nothing, finding.interval_over_seeds or nothing
    effect, p_value = (
        float("nan") if value is None else value for value in (finding.effect, finding.p_value)
    )
    return {
        "claim": finding.claim.sentence,
        "a": finding.claim.a,
        "b": finding.claim.b,
        "metric": finding.claim.metric,
        "n": finding.n,
        "effect": effect,
        "low": low,
        "high": high,
        "low_over_seeds": low_seeds,
        "high_over_seeds": high_seeds,
        "over": finding.scope,
        "p_value": p_value,
        "verdict": finding.verdict,
        "shortfall": finding.shortfall,
        "note": finding.note,
    }


def compare(
    folder: str | Path,
    a: str | None = None,
    b: str | None = None,
    metrics: str | Sequence[str] = "test_accuracy",
    *,
    labels_per_class: int | None = None,
    margin: float = 0.0,
) -> Comparison:
    """Is arm `a` of a finished study better than arm `b`? One finding a metric: effect, interval, verdict.

    folder: as `run_study` returns it. a, b: arms' names; left out, they are a study's only two. metrics:
    names of `metrics.METRICS`, costs ("seconds", "flops", ...) or "seconds_to_accuracy@0.85"; which way is
    better belongs to each.
    labels_per_class: the label budget, None: all. margin: by how much better, in the metrics' own unit.
    Verdicts come from intervals over seeds and test images (costs: over seeds), Holm-adjusted over the
    metrics; one seed is "n/a", never a width of zero.

    Examples:
        >>> comparison = headstart.compare(folder, "cnn", "probe", ["test_accuracy", "seconds"])
        >>> [finding.claim.sentence for finding in comparison.findings]
        ['cnn is better than probe: Test accuracy, higher', 'cnn is better than probe: Time, cold, lower']
        >>> list(comparison.frame()["n"])
        [2, 2]

    Raises: StoreError for a folder without finished trials; ConfigError for arms or metrics that are not
    there; DataError where trials have different test sets."""
    trials = _trials(folder)
    a, b = _two_arms(trials, a, b)
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    claims = []
    for metric in names:
        spec = metric_spec(metric)
        higher = spec.higher_is_better is not False
        sentence = f"{a} is better than {b}: {spec.title}, {'higher' if higher else 'lower'}"
        if margin:
            sentence += f" by more than {margin:g}"
        claims.append(
            Claim(
                sentence=sentence,
                a=a,
                b=b,
                metric=metric,
                direction="higher" if higher else "lower",
                margin=margin,
                label_budget=LabelBudget.of(labels_per_class),
            )
        )
    return Comparison(findings=tuple(decide(claims, trials)))


def judge_claims(folder: str | Path) -> Comparison:
    """The claims that the study's own file states, each with its verdict; empty where it states none.

    Examples:
        >>> list(headstart.judge_claims(folder).frame()["metric"])
        ['test_accuracy', 'test_accuracy', 'seconds', 'epochs_to_accuracy@0.85', 'generalization_gap']

    Raises: StoreError where study.json or every finished trial is missing."""
    trials = _trials(folder)
    claims = store.read_study(Path(folder)).claims
    return Comparison(findings=tuple(decide(claims, trials)))


def load_summary(folder: str | Path) -> pd.DataFrame:
    """A finished study in one table: a row an arm, label budget and phase, means over seeds with 95 %
    intervals.

    Columns: see `findings.comparison_table`.

    Examples:
        >>> headstart.load_summary(folder)[["arm", "labels_per_class", "n"]].to_dict("list")
        {'arm': ['cnn', 'probe'], 'labels_per_class': ['all', 'all'], 'n': [2, 1]}

    Raises: StoreError for a folder without finished trials; DataError where trials have different test
    sets."""
    return headline.comparison_table(_trials(folder))


def find_study(*names: str, start: str | Path = ".") -> Path:
    """The folder of the first of these studies that has finished trials, looked for in `start` and the
    folders above it: runs/NAME, report/trials, report/NAME and docs/results/NAME (a folder counts where its
    study.json names the study). The path is relative to the working folder.

    Examples:
        >>> headstart.find_study("cifar10", "mine").name
        'mine'

    Raises: StoreError where none has any."""
    here = Path(start).resolve()
    for name in names:
        for above in (here, *here.parents):
            for place in RESULT_FOLDERS:
                folder = above / place.format(name)
                if (
                    store.has_study(folder)
                    and store.read_study(folder).name == name
                    and any(folder.glob("*/result.json"))
                ):
                    return Path(os.path.relpath(folder))
    raise StoreError(
        f"no finished trial of {' or '.join(names)} at or above {here.name}; run: headstart study {names[0]}"
    )


def _trials(folder: str | Path) -> Trials:
    trials = honest_trials(Path(folder))
    if not trials:
        raise StoreError(f"{folder} holds no finished trial; run `headstart study` with --out {folder} first")
    return (
        relabelled(trials, store.read_study(Path(folder)).labels) if store.has_study(Path(folder)) else trials
    )


def _two_arms(trials: Trials, a: str | None, b: str | None) -> tuple[str, str]:
    arms = list(dict.fromkeys(trial.arm.name for trial in trials))
    for arm in (a, b):
        if arm is not None and arm not in arms:
            raise unknown_name("arm", arm, arms)
    if a is not None and b is not None:
        return a, b
    if a is None and b is None and len(arms) == 2:
        return arms[0], arms[1]
    raise ConfigError(f"this study has {len(arms)} arms; name the two to compare: {', '.join(arms)}")
