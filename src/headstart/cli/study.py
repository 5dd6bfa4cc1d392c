"""The commands that run trials: study, tune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstart.cli import options
from headstart.cli.output import console, render, typed_command
from headstart.errors import ConfigError

if TYPE_CHECKING:
    from headstart.studies.begin import RunOptions
    from headstart.tuning.search import Tuned
    from headstart.types import LabelBudget


def study(
    name: Annotated[
        str, typer.Argument(help="A built-in study (see `headstart list`) or a study file, e.g. mine.toml.")
    ] = "cifar10-quick",
    seeds: Annotated[int | None, typer.Option(help="Run seeds 0 .. N-1 instead of the study's own.")] = None,
    set_: options.ChangesWithExample = None,
    out: Annotated[Path | None, typer.Option(help="The study's folder (default: runs/NAME).")] = None,
    published: Annotated[
        Path | None, typer.Option(help="A folder of published trials: those count as finished.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="Begin no trial later than that; the same command goes on another time."),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            help="Trials at once, each in a process of its own with its share of the cores; for a GPU "
            "that small trials leave idle. Their times compare with no others."
        ),
    ] = 1,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Threads of each trial. Left out: OMP_NUM_THREADS, else the fastest of a few numbers, timed "
            "once a study."
        ),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what would run, and about how long it would take.")
    ] = False,
    feature_precision: options.FeaturePrecision = None,
    shard: options.Shard = None,
    cluster: options.Cluster = None,
) -> None:
    """Run a study and write its report.

    Every arm, seed and label budget that is missing is run. Finished trials are kept: after Ctrl-C, or with
    more seeds, the same command goes on where it stopped."""
    changes = _changes(set_, feature_precision)
    if plan:
        from headstart.studies.plan import plan_study, plan_tables

        for part in plan_tables(plan_study(name, out, changes=changes, seeds=seeds, published=published)):
            console.print(part)
        return
    how: RunOptions = {
        "published": published,
        "minutes": minutes,
        "jobs": jobs,
        "threads": threads,
        "command": typed_command(without=("--shard", "--cluster")),
    }
    share = options.shard_of(shard)
    if cluster is not None and share is not None:
        raise ConfigError("--shard and --cluster are two ways of sharing trials out; give one of them")
    if cluster is not None:
        from headstart.cluster.study import run_on_cluster

        render(run_on_cluster(cluster, name, out, changes=changes, seeds=seeds, **how))
        return
    if share is not None:
        from headstart.studies.sharded import run_shard

        done = run_shard(name, out, shard=share, changes=changes, seeds=seeds, **how)
        if done.is_last:
            render(done.folder)
        return
    from headstart.studies.run import run_study

    render(run_study(name, out, changes=changes, seeds=seeds, **how))


def tune(
    name: Annotated[str, typer.Argument(help="A built-in study or a study file; its arms are tuned.")],
    tries: options.Tries = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="An arm to tune (default: all, as many tries each). May be repeated."),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            help='Labels a class, from 5 up: tries are read on folds inside them. "all": on the '
            "validation images."
        ),
    ] = "all",
    duration: Annotated[
        str | None, typer.Option(help="Train each try for this long instead, e.g. '1 epochs'.")
    ] = None,
    images: Annotated[
        int | None, typer.Option(help="Train each try on so many images instead (all labels).")
    ] = None,
    validation_images: Annotated[
        int | None, typer.Option(help="Read each try on so many images instead (all labels).")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Read each try on so many of the five folds instead (label budgets).")
    ] = None,
    pixels: Annotated[
        list[int] | None, typer.Option(help="An input size to choose among. May be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the label subset and of the search.")] = 0,
    set_: options.Changes = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The study's folder (default: runs/NAME); tries go to its folder tuning/."),
    ] = None,
    jobs: Annotated[
        int, typer.Option(help="Searches at once, each in a process of its own with its share of the cores.")
    ] = 1,
    shard: options.Shard = None,
    cluster: options.Cluster = None,
) -> None:
    """Search a recipe for each arm of a study, on validation images alone.

    The test set is never read. Every try that ended is kept: after Ctrl-C the same command goes on. Options
    that make a try cheaper than the trial it stands for are stored with what was chosen."""
    from headstart.tuning.search import SearchRequest, Sharing, tune
    from headstart.types import Proxy

    budget = _label_budget(labels)
    proxy = Proxy(duration=duration, images=images, validation_images=validation_images, folds=folds)
    request = SearchRequest(
        arms=tuple(arm or ()),
        candidates=tries,
        label_budget=budget,
        proxy=None if proxy == Proxy() else proxy,
        pixels=tuple(pixels or ()),
        seed=seed,
    )
    share = options.shard_of(shard)
    if cluster is not None and (share is not None or jobs != 1):
        raise ConfigError("--cluster, --shard and --jobs are ways of sharing searches out; give one of them")
    sharing = Sharing(jobs=jobs, shard=share)
    if cluster is None:
        done = tune(name, request, out=out, changes=_changes(set_), sharing=sharing)
    else:
        from headstart.cluster.searches import tune_on_cluster

        done = tune_on_cluster(cluster, name, request, out=out, changes=_changes(set_))
    for tuned in done:
        print(_in_words(tuned))


def _label_budget(labels: str) -> LabelBudget | None:
    """The budget that --labels names; None for all labels, which a study's own searches may change."""
    from headstart.types import LabelBudget

    if labels != "all" and not labels.isdecimal():
        raise ConfigError(f'--labels expects a whole number or "all", got {labels!r}')
    return None if labels == "all" else LabelBudget(int(labels))


def _in_words(tuned: Tuned) -> str:
    """What a search gave, in a line."""
    first, best = tuned.candidates[0].accuracy, tuned.best
    before = "failed" if first is None else f"{first:.4f}"
    line = f"{tuned.arm}: its own recipe {before}, best of {len(tuned.candidates)} "
    if best is None:
        return f"{line}failed on validation"
    pixels = best.values.get("input_pixels")  # a search may choose it: the study must say it too
    size = "" if pixels is None else f", input_pixels = {pixels}"
    return f'{line}{best.accuracy:.4f} on validation; in its study: recipe = "{tuned.recipe_file}"{size}'


def _changes(assignments: list[str] | None, feature_precision: str | None = None) -> dict[str, str]:
    """The changes of a study that --set and --feature-precision ask for."""
    pairs = [pair.partition("=") for pair in assignments or []]
    for key, sign, _ in pairs:
        if not sign or not key:
            raise ConfigError(f"--set {key!r} is not KEY=VALUE, e.g. --set arms.cnn.recipe.batch_size=250")
    changes = {key.strip(): value.strip() for key, _, value in pairs}
    if feature_precision is None:
        return changes
    if changes.setdefault("feature_precision", feature_precision) != feature_precision:
        raise ConfigError(
            f"--feature-precision {feature_precision} and --set feature_precision="
            f"{changes['feature_precision']} differ; give one"
        )
    return changes
