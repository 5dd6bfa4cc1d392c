"""Writes docs/reference/coverage.md: how often intervals over seeds and images hold the truth.

Normal seeds, 10,000 images: the mean squares of images and residual are then known to a percent, that of n
seeds is a chi square of n - 1 degrees of freedom, and the coverage is its exact mean over 400 quantiles.
Beside it, in simulation: winners among equal arms, and the intervals of label curves (coverage_runs.py).
About three minutes. Run: python tools/coverage.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from itertools import product
from pathlib import Path

import numpy as np
from coverage_runs import FORMS, SENTENCES, equal_arms, synthetic_curves
from scipy import stats

from headstart.results.crossed import CrossedDifference

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "coverage.md"
SHARES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
SEEDS = (2, 3, 5, 10)
IMAGES = 10_000
RUNS = 1000  # of equal arms, by number of seeds
CURVES = 250  # by form and number of seeds: 2,000 of four forms


def coverage(seeds: int, of_seeds: float, of_images: float, confidence: float = 0.95) -> tuple[float, float]:
    """Coverage of the interval over seeds and images, and of the t interval over seeds, for a difference
    whose variance of 1 is these shares the seeds' and the images', the rest chance at single images."""
    residual = max(1 - of_seeds - of_images, 0.0)
    quantiles = (np.arange(400) + 0.5) / 400
    held = []
    for spread in stats.chi2.ppf(quantiles, seeds - 1) / (seeds - 1):
        found = CrossedDifference(
            effect=0.0,
            seed_variance=(of_seeds + residual) * spread,
            residual_variance=residual,
            image_variance=of_images,
            seeds=seeds,
            images=IMAGES,
        )
        widths = found.half_width(confidence), found.parts(confidence)[0]
        held.append([2 * stats.norm.cdf(width) - 1 for width in widths])
    both, alone = np.mean(held, axis=0)
    return float(both), float(alone)


def table(seeds: int) -> list[str]:
    """A Markdown table: rows are the seeds' share, columns the images', cells both coverages in %."""
    lines = [
        f"| seeds' share \\ images' share | {' | '.join(f'{share:g}' for share in SHARES)} |",
        "|---|" + "---|" * len(SHARES),
    ]
    for of_seeds in SHARES:
        cells = []
        for of_images in SHARES:
            if of_seeds + of_images > 1.0001:
                cells.append("")
                continue
            both, alone = coverage(seeds, of_seeds, of_images)
            cells.append(f"{100 * both:.1f} ({100 * alone:.0f})")
        lines.append(f"| {of_seeds:g} | {' | '.join(cells)} |")
    return lines


def skewed(seeds: int, kind: str, draws: int = 2000) -> float:
    """Coverage in simulation where seeds are not normal: exponential, or collapsed (one in ten loses 5
    deviations)."""
    rng = np.random.default_rng(seeds)
    held = 0
    for _ in range(draws):
        if kind == "skewed":
            of_seeds = rng.exponential(1.0, seeds) - 1
        else:
            of_seeds = rng.normal(0, 0.5, seeds) - 5 * (rng.random(seeds) < 0.1) + 0.5
        luck = rng.normal(0, 0.3)
        found = CrossedDifference(
            effect=float(of_seeds.mean()) + luck,
            seed_variance=float(of_seeds.var(ddof=1)) / seeds,
            residual_variance=0.01,
            image_variance=0.09,
            seeds=seeds,
            images=IMAGES,
        )
        low, high = found.interval()
        held += low <= 0 <= high
    return held / draws


def aa_table(runs: int = RUNS) -> list[str]:
    """A Markdown table: shares of studies of two equal arms that name a winner."""
    lines = ["| seeds | over seeds and images, % | over seeds alone, % |", "|---|---|---|"]
    for seeds in SEEDS[1:]:
        both, alone = equal_arms(seeds, runs, IMAGES)
        lines.append(f"| {seeds} | {100 * both:.1f} | {100 * alone:.0f} |")
    return lines


def curves_table(curves: int = CURVES) -> list[str]:
    """A Markdown table: a row a form and number of seeds; how many intervals were stated, and how many of
    them hold the truth."""
    lines = [
        "| form | seeds | curves | refused | gain from twice the labels | accuracy at twice the labels "
        "| labels for a target |",
        "|---|---|---|---|---|---|---|",
    ]
    for form in FORMS:
        for seeds in (3, 5):
            stated = synthetic_curves(form, seeds, curves)
            cells = [f"{100 * stated.share(name):.0f} % of {len(stated.held[name])}" for name in SENTENCES]
            lines.append(f"| {form} | {seeds} | {curves} | {stated.refused} | {' | '.join(cells)} |")
    return lines


def page() -> str:
    """The page as Markdown."""
    ranges = []
    for seeds in SEEDS:
        values = [coverage(seeds, *pair)[0] for pair in product(SHARES, SHARES) if sum(pair) <= 1.0001]
        ranges.append(f"| {seeds} | {100 * min(values):.1f} to {100 * max(values):.1f} |")
    lines = [
        "# What the intervals cover",
        "",
        "All seeds of a study read the same test images. An interval over seeds answers for these images;",
        "one over seeds and images also for images that nobody has read. Below, how often a nominal 95 %",
        "interval over seeds and images holds the true difference, in %; in brackets that of the t",
        "interval over seeds. The variance of the mean difference is split into the seeds' share, the",
        "images' share and the rest, chance at single images. Normal seeds, 10,000 images.",
        "",
        "Written by `python tools/coverage.py`.",
        "",
        "| seeds | lowest to highest over all mixes, % |",
        "|---|---|",
        *ranges,
        "",
        "Two seeds are a limit: where their spread decides, too little is held. So are seeds that are not",
        "normal:",
        "",
        "| seeds | exponential | one in ten collapses |",
        "|---|---|---|",
        *(
            f"| {n} | {100 * skewed(n, 'skewed'):.0f} | {100 * skewed(n, 'collapsed'):.0f} |"
            for n in (3, 5, 10)
        ),
    ]
    for seeds in SEEDS[1:]:
        lines += ["", f"## {seeds} seeds", "", *table(seeds)]
    lines += [
        "",
        "## Equal arms",
        "",
        f"Equal arms whose errors go together by image: of {RUNS:,} studies of {IMAGES:,}",
        "test images each, the share in which a 95 % interval excludes 0. At most 5 % should; a simulated",
        "share has a standard error of 0.7 points.",
        "",
        *aa_table(),
        "",
        "## Label curves",
        "",
        "Noisy studies with 5, 10, 50, 500 and 4,500 labels per class whose true curve is known: two forms",
        "that are fitted, two that are not. Of the nominal 95 % intervals stated, the share that holds",
        "the truth. A curve that contradicts its own points is refused; a target of accuracy has an answer",
        "only where its whole interval lies within four times the labels measured.",
        "",
        *curves_table(),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 where the page is outdated")
    made = page()
    if parser.parse_args().check:
        return int(PAGE.read_text(encoding="utf-8") != made)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
