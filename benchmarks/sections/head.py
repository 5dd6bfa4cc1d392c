"""The whole L2 path of the logistic regression against scikit-learn's, at the same optimum."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rounds import Contender, Measured
from summary import Column, Target, paired_ratio
from workers.objective import Problem, moments, objective

from sections.base import OURS, Bench, Report, cache_folder, problem_row

_COLUMNS: tuple[Column, ...] = (
    ("solver", "name", "s"),
    ("runs", "runs", "d"),
    ("seconds", "seconds", ".2f"),
    ("lowest", "lowest", ".2f"),
    ("highest", "highest", ".2f"),
    ("passes", "passes", "d"),
    ("loss above the best, at most", "above_best", ".1e"),
    ("ours is faster by", "ours_is_faster_by", ".2f"),
)


def head(bench: Bench) -> Report:
    """Seconds of the whole L2 path by our solver and by scikit-learn's, and the losses that they reach."""
    from headstart.recipes import ProbeRecipe, recipe_named

    recipe = recipe_named("probe")
    assert isinstance(recipe, ProbeRecipe)
    l2_values = bench.sizes["l2_values"] or list(recipe.l2_values)
    problem, files = _features(bench)
    outs = {name: bench.work / f"head-{name}.npz" for name in ("ours", "sklearn")}
    base = {"l2_values": l2_values, "num_classes": 10, "dimension": problem.values.shape[1], **files}
    ours = {"tolerance": recipe.tolerance, "max_passes": recipe.max_passes, "out_file": str(outs["ours"])}
    peers = {"max_iterations": 10_000, "out_file": str(outs["sklearn"])}
    contenders = [
        Contender(name=OURS, precision="fp32", worker="ours_head", config=base | ours),
        Contender(
            name="scikit-learn", precision="fp32", worker="sklearn_head", python="peers", config=base | peers
        ),
    ]
    measured = bench.run("head", contenders, 5)
    losses = {
        entry.contender.name: _losses(problem, out, l2_values)
        for entry, out in zip(measured.values(), outs.values(), strict=True)
        if entry.runs
    }
    rows = [_row(entry, losses, l2_values) for entry in measured.values()]
    ratio = _ratio(*measured.values())
    if ratio is not None:
        rows[1]["ours_is_faster_by"] = ratio
    return Report(
        title=f"Logistic regression, {len(l2_values)} values of L2, {len(problem.ids):,} x "
        f"{problem.values.shape[1]:,} features",
        columns=_COLUMNS,
        rows=rows,
        targets=_targets(ratio, list(losses.values()), rows[0].get("seconds")),
        measured=measured,
    )


def _losses(problem: Problem, out: Path, l2_values: Sequence[float]) -> list[float]:
    """The objective of the heads that a contender wrote, in float64, for each L2."""
    _, deviation = moments(problem.values, problem.ids)
    with np.load(out) as stored:
        heads = list(zip(stored["weight"], stored["bias"], l2_values, strict=True))
    return [objective(problem, weight, bias, deviation, l2) for weight, bias, l2 in heads]


def _row(
    entry: Measured, losses: Mapping[str, Sequence[float]], l2_values: Sequence[float]
) -> dict[str, Any]:
    if not entry.runs:
        return problem_row(entry)
    own = losses[entry.contender.name]
    best = [min(loss[place] for loss in losses.values()) for place in range(len(l2_values))]
    seconds = [run["seconds"] for run in entry.runs]
    return {
        "name": entry.contender.name,
        "runs": len(seconds),
        "seconds": statistics.median(seconds),
        "lowest": min(seconds),
        "highest": max(seconds),
        "passes": entry.runs[-1]["passes"],
        "l2_values": l2_values,
        "losses": own,
        "above_best": max(a / b - 1 for a, b in zip(own, best, strict=True)),
        "note": f"tol {entry.about['tol']:g}" if "tol" in entry.about else None,
    }


def _ratio(ours: Measured, peer: Measured) -> float | None:
    """How many times as long the peer takes; None where one of them did not run."""
    if not ours.runs or not peer.runs:
        return None
    return paired_ratio([run["seconds"] for run in peer.runs], [run["seconds"] for run in ours.runs])


def _targets(ratio: float | None, losses: Sequence[Sequence[float]], seconds: float | None) -> list[Target]:
    """losses: of each contender that ran. seconds: of ours."""
    difference = None
    if len(losses) == 2:
        difference = max(abs(a / b - 1) for a, b in zip(*losses, strict=True))
    return [
        Target(sentence="our whole L2 path against scikit-learn's", value=ratio, limit=5.0),
        Target(
            sentence="largest relative difference of the two losses",
            value=difference,
            limit=1e-4,
            at_least=False,
        ),
        Target(sentence="seconds of our whole L2 path", value=seconds, limit=30.0, at_least=False),
    ]


def _features(bench: Bench) -> tuple[Problem, dict[str, str]]:
    """ResNet-50 features of CIFAR-10's training images, cached or made, with the ids of the 45,000 to fit;
    and the paths of their files."""
    import torch

    from headstart.data import load_dataset
    from headstart.data.splits import validation_split
    from headstart.models import load_model
    from headstart.models.features import FeatureRequest, FrozenLayers
    from headstart.runtime.precision import default_device, resolve_feature_precision

    count, device = bench.sizes["head_images"], default_device()
    part = load_dataset("cifar10").train
    own_cache: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    model = load_model("resnet50", "imagenet-keras", image_pixels=bench.sizes["head_pixels"])
    if count is not None:  # a quick run: not for the user's cache
        part = dataclasses.replace(
            part, images=part.images[:count], labels=part.labels[:count], fingerprint=f"first {count}"
        )
        own_cache = cache_folder(bench.work / "cache-head")
    with own_cache, torch.inference_mode():
        precision = resolve_feature_precision("auto", device)
        layers = FrozenLayers(network=model, device=device, precision=precision)
        done = FeatureRequest(layers=layers, images=part).extract("features for the head's benchmark")
    values, labels = done.features.values, done.features.labels
    ids, _ = validation_split(labels, part.fingerprint, len(labels) // 10)
    folder = bench.work / "head"
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "labels.npy", labels)
    np.save(folder / "ids.npy", ids)
    assert isinstance(values, np.memmap)
    files = {
        "values_file": str(values.filename),
        "labels_file": str(folder / "labels.npy"),
        "ids_file": str(folder / "ids.npy"),
    }
    return Problem(values=values, labels=labels, ids=ids), files
