"""What is measured: each section names its contenders, runs them, and returns rows, columns and targets."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rounds import Contender, Measured, run_rounds
from summary import Column, Target, paired_ratio, rates, slope_row, table, throughput_row

WIDTHS = (64, 256, 256)
OURS = "headstart"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """How and where to run. rounds: None for each section's own. sizes: small or real, see SIZES.

    native: "bf16" where the processor multiplies it in hardware, else "fp32": what our side runs in. Emulated
    bf16 is far slower than fp32, so it gets no row there, and what is promised for native bf16 is reported
    and not judged."""

    pythons: Mapping[str, Path]
    native: str
    work: Path  # for arrays, caches and logs; its content may go when the benchmark ends
    rounds: int | None
    sizes: Mapping[str, Any]

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those that contenders run in: the native one first."""
        return tuple(dict.fromkeys((self.native, "fp32")))

    def target(self, **said: Any) -> Target:
        """A target promised for native bf16 alone."""
        return Target(judged=self.native == "bf16", **said)

    def run(
        self, section: str, contenders: Sequence[Contender], rounds: int, **options: Any
    ) -> dict[str, Measured]:
        return run_rounds(
            contenders, self.rounds or rounds, self.pythons, self.work / "logs" / section, **options
        )


@dataclass(frozen=True, kw_only=True)
class Report:
    """A finished section."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    targets: Sequence[Target]
    measured: Mapping[str, Measured]

    def text(self) -> str:
        lines = [f"## {self.title}", "", table(self.columns, self.rows)]
        if self.targets:
            lines += ["", *(target.line() for target in self.targets)]
        return "\n".join(lines)


# steps: of the training batch, a run; *_counts: images of a run.
SIZES: dict[str, dict[str, Any]] = {
    "real": {
        "batch_size": 500,
        "warm_steps": 2,
        "steps": {"bf16": 6, "fp32": 4},
        "pixels": 128,
        "feature_counts": {"bf16": 1024, "fp32": 512, "int8": 2048},
        "linear_counts": [1_000, 10_000, 50_000],
        "head_images": None,
        "head_pixels": 96,
        "l2_values": None,
        "tutorial_images": None,
        "epochs": 10,
        "memory_images": [10_000, 100_000],
        "memory_pixels": 96,
        "int8_images": None,
    },
    "quick": {
        "batch_size": 50,
        "warm_steps": 1,
        "steps": {"bf16": 1, "fp32": 1},
        "pixels": 64,
        "feature_counts": {"bf16": 64, "fp32": 64, "int8": 64},
        "linear_counts": [64, 128, 256],
        "head_images": 640,
        "head_pixels": 64,
        "l2_values": [0.1, 0.03, 0.01],
        "tutorial_images": 2_000,
        "epochs": 1,
        "memory_images": [300, 600],
        "memory_pixels": 64,
        "int8_images": 400,
    },
}


def cifar10_files(bench: Bench, *, count: int | None = None) -> dict[str, Any]:
    """Paths of CIFAR-10's training images and labels, and of the ids of the validation split, as .npy in the
    work folder.

    count: the first so many images only (their split keeps the same proportion)."""
    from headstart.data import load_dataset
    from headstart.data.splits import validation_split

    folder = bench.work / f"cifar10-{count or 'all'}"
    names = ("images", "labels", "train_ids", "val_ids")
    files = {f"{name}_file": str(folder / f"{name}.npy") for name in names}
    if not folder.exists():
        folder.mkdir(parents=True)
        part = load_dataset("cifar10").train
        images, labels = part.images[:count], part.labels[:count]
        split = validation_split(labels, part.fingerprint, len(labels) // 10)
        for name, array in zip(names, (images, labels, *split), strict=True):
            np.save(folder / f"{name}.npy", array)
    return files


def train(bench: Bench) -> Report:
    """The same network trained by our loop and by three peers', float32 and bf16."""
    sizes = bench.sizes
    base = {
        "batch_size": sizes["batch_size"],
        "widths": WIDTHS,
        "warm_steps": sizes["warm_steps"],
        **cifar10_files(bench),
    }
    order = [
        (OURS, "ours_train", "ours"),
        ("PyTorch loop", "torch_train", "peers"),
        ("Keras", "keras_train", "peers"),
        ("fastai", "fastai_train", "peers"),
    ]
    contenders = [
        Contender(
            name=name,
            precision=precision,
            worker=worker,
            python=python,
            config=base | {"steps": sizes["steps"][precision]},
        )
        for precision in bench.precisions
        for name, worker, python in order
    ]
    measured = bench.run("train", contenders, 5, products=bench.precisions)
    native = bench.native
    ours = measured[f"{OURS}, {native}"]
    flops = ours.about.get("plain_step_flops", float("nan"))
    rows = []
    for entry in measured.values():
        row = _throughput(entry, flops, ours)
        if entry.runs and entry.contender.name == OURS:
            row |= {
                "gflops_with_optimiser": statistics.median(rates(entry.runs))
                * entry.runs[0]["flops_per_image"]
                / 1e9
            }
            shares = [
                rate * run["flops_per_image"] / 1e9 / run["product"][entry.contender.precision]
                for rate, run in zip(rates(entry.runs), entry.runs, strict=True)
            ]
            row["fraction_with_optimiser"] = statistics.median(shares)
        rows.append(row)
    by_key = dict(zip(measured, rows, strict=True))
    targets = [
        bench.target(
            sentence=f"our training against {native} products (its own optimiser's products counted)",
            limit=0.85,
            value=by_key[ours.contender.key].get("fraction_with_optimiser"),
        ),
        *(
            bench.target(
                sentence=f"our {native} training against {name} in fp32",
                limit=1.8,
                value=by_key[key].get("ours_is_faster_by"),
            )
            for name, _, _ in order
            if (key := f"{name}, fp32") != ours.contender.key
        ),
    ]
    return Report(
        title=f"Training the custom CNN, batch {sizes['batch_size']}",
        columns=_throughput_columns(native),
        rows=rows,
        targets=targets,
        measured=measured,
    )


def features(bench: Bench) -> Report:
    """ResNet-50 features: resize, preprocessing and network, ours against Keras's predict."""
    sizes, files = bench.sizes, cifar10_files(bench)

    def config(precision: str, number: int) -> dict[str, Any]:
        return {
            "pixels": sizes["pixels"],
            "counts": [sizes["feature_counts"][precision]],
            "cache_folder": str(bench.work / f"cache-features-{number}"),
            **files,
        }

    native = bench.native
    plan = dict.fromkeys(
        [(OURS, native), (OURS, "int8"), ("Keras", native), (OURS, "fp32"), ("Keras", "fp32")]
    )
    contenders = [
        Contender(
            name=name,
            precision=precision,
            worker="ours_features" if name == OURS else "keras_features",
            python="ours" if name == OURS else "peers",
            config=config(precision, number),
        )
        for number, (name, precision) in enumerate(plan)
    ]
    measured = bench.run("features", contenders, 5, products=bench.precisions)
    ours, int8 = measured[f"{OURS}, {native}"], measured[f"{OURS}, int8"]
    flops = ours.runs[0]["flops_per_image"] if ours.runs else float("nan")
    rows = [_throughput(entry, flops, ours) for entry in measured.values()]
    by_key = dict(zip(measured, rows, strict=True))
    targets = [
        bench.target(
            sentence=f"our {native} extraction against {native} products",
            limit=0.9,
            value=by_key[ours.contender.key].get("fraction_of_own_product"),
        ),
        bench.target(
            sentence=f"our {native} extraction against Keras in fp32",
            limit=2.0,
            value=by_key["Keras, fp32"].get("ours_is_faster_by"),
        ),
        bench.target(
            sentence=f"int8 extraction against {native}",
            limit=1.8,
            value=paired_ratio(rates(int8.runs), rates(ours.runs)) if int8.runs and ours.runs else None,
        ),
    ]
    return Report(
        title=f"ResNet-50 features at {sizes['pixels']} px",
        columns=_throughput_columns(native),
        rows=rows,
        targets=targets,
        measured=measured,
    )


def linear(bench: Bench) -> Report:
    """Cost of extraction at three numbers of images."""
    sizes = bench.sizes
    config = {
        "pixels": sizes["pixels"],
        "counts": sizes["linear_counts"],
        "cache_folder": str(bench.work / "cache-linear"),
        **cifar10_files(bench),
    }
    measured = bench.run(
        "linear", [Contender(name=OURS, precision=bench.native, worker="ours_features", config=config)], 1
    )
    (entry,) = measured.values()
    rows: list[dict[str, Any]] = [_problem(entry)]
    value = None
    if entry.runs:
        rows = slope_row([run["points"] for run in entry.runs])
        value = max(abs(row["cost_an_image_to_largest"] - 1) for row in rows)
    columns = (
        ("images", "images", ",d"),
        ("runs", "runs", "d"),
        ("seconds", "seconds", ".1f"),
        ("images/s", "images_per_second", ".1f"),
        ("cost an image, to the largest", "cost_an_image_to_largest", ".3f"),
    )
    target = Target(
        sentence="largest deviation of the cost an image from the largest set's",
        value=value,
        limit=0.1,
        at_least=False,
    )
    return Report(
        title=f"ResNet-50 features at {sizes['pixels']} px, {bench.native}: cost against images",
        columns=columns if entry.runs else _PROBLEM_COLUMNS,
        rows=rows,
        targets=[target],
        measured=measured,
    )


def head(bench: Bench) -> Report:
    """The whole L2 path of the logistic regression against scikit-learn's, at the same optimum."""
    from workers.objective import moments, objective

    from headstart.recipes import ProbeRecipe, recipe_named

    recipe = recipe_named("probe")
    assert isinstance(recipe, ProbeRecipe)
    l2_values = bench.sizes["l2_values"] or list(recipe.l2_values)
    values, labels, ids, files = _head_features(bench)
    outs = {name: bench.work / f"head-{name}.npz" for name in ("ours", "sklearn")}
    base = {"l2_values": l2_values, "num_classes": 10, "dimension": values.shape[1], **files}
    contenders = [
        Contender(
            name=OURS,
            precision="fp32",
            worker="ours_head",
            config=base
            | {"tolerance": recipe.tolerance, "max_passes": recipe.max_passes, "out_file": str(outs["ours"])},
        ),
        Contender(
            name="scikit-learn",
            precision="fp32",
            worker="sklearn_head",
            python="peers",
            config=base | {"max_iterations": 10_000, "out_file": str(outs["sklearn"])},
        ),
    ]
    measured = bench.run("head", contenders, 5)
    _, deviation = moments(values, ids)
    losses = {}
    for entry, out in zip(measured.values(), outs.values(), strict=True):
        if entry.runs:
            with np.load(out) as found:
                heads = list(zip(found["weight"], found["bias"], l2_values, strict=True))
            losses[entry.contender.name] = [
                objective(values, labels, ids, weight, bias, deviation, l2) for weight, bias, l2 in heads
            ]
    rows = []
    for entry in measured.values():
        if not entry.runs:
            rows.append(_problem(entry))
            continue
        mine = losses[entry.contender.name]
        best = [min(loss[place] for loss in losses.values()) for place in range(len(l2_values))]
        seconds = [run["seconds"] for run in entry.runs]
        rows.append(
            {
                "name": entry.contender.name,
                "runs": len(seconds),
                "seconds": statistics.median(seconds),
                "lowest": min(seconds),
                "highest": max(seconds),
                "passes": entry.runs[-1]["passes"],
                "l2_values": l2_values,
                "losses": mine,
                "above_best": max(a / b - 1 for a, b in zip(mine, best, strict=True)),
                "note": f"tol {entry.about['tol']:g}" if "tol" in entry.about else None,
            }
        )
    ours, theirs = measured.values()
    both = bool(ours.runs and theirs.runs)
    ratio = (
        paired_ratio([r["seconds"] for r in theirs.runs], [r["seconds"] for r in ours.runs]) if both else None
    )
    if both:
        rows[1]["ours_is_faster_by"] = ratio
    difference = max(abs(a / b - 1) for a, b in zip(*losses.values(), strict=True)) if both else None
    targets = [
        Target(sentence="our whole L2 path against scikit-learn's", value=ratio, limit=5.0),
        Target(
            sentence="largest relative difference of the two losses",
            value=difference,
            limit=1e-4,
            at_least=False,
        ),
        Target(
            sentence="seconds of our whole L2 path", value=rows[0].get("seconds"), limit=30.0, at_least=False
        ),
    ]
    columns = (
        ("solver", "name", "s"),
        ("runs", "runs", "d"),
        ("seconds", "seconds", ".2f"),
        ("lowest", "lowest", ".2f"),
        ("highest", "highest", ".2f"),
        ("passes", "passes", "d"),
        ("loss above the best, at most", "above_best", ".1e"),
        ("ours is faster by", "ours_is_faster_by", ".2f"),
    )
    return Report(
        title=f"Logistic regression, {len(l2_values)} values of L2, {len(ids):,} x {values.shape[1]:,} "
        "features",
        columns=columns,
        rows=rows,
        targets=targets,
        measured=measured,
    )


def _head_features(bench: Bench) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, str]]:
    """(values, labels, ids of the 45,000, their files): ResNet-50 features of CIFAR-10's training images,
    cached or made."""
    import torch

    from headstart.data import load_dataset
    from headstart.data.splits import validation_split
    from headstart.models import features as engine
    from headstart.models import load_model
    from headstart.models.weights import weights_hash
    from headstart.runtime.precision import default_device, resolve_feature_precision

    count, device = bench.sizes["head_images"], default_device()
    part = load_dataset("cifar10").train
    own_cache: Any = contextlib.nullcontext()
    model = load_model("resnet50", "imagenet-keras", image_pixels=bench.sizes["head_pixels"])
    model_hash = weights_hash("imagenet-keras")
    if count is not None:  # a small try: not for the user's cache
        part = dataclasses.replace(
            part, images=part.images[:count], labels=part.labels[:count], fingerprint=f"first {count}"
        )
        own_cache = _cache_folder(bench.work / "cache-head")
    with own_cache, torch.inference_mode():
        done = engine.extract(
            model,
            part,
            weights_hash=model_hash,
            device=device,
            what="features for the head's benchmark",
            precision=resolve_feature_precision("auto", device),
        )
    values, labels = done.features.values, done.features.labels
    ids, _ = validation_split(labels, part.fingerprint, len(labels) // 10)
    folder = bench.work / "head"
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "labels.npy", labels)
    np.save(folder / "ids.npy", ids)
    assert isinstance(values, np.memmap)
    return (
        values,
        labels,
        ids,
        {
            "values_file": str(values.filename),
            "labels_file": str(folder / "labels.npy"),
            "ids_file": str(folder / "ids.npy"),
        },
    )


@contextlib.contextmanager
def _cache_folder(folder: Path) -> Iterator[None]:
    before = os.environ.get("HEADSTART_CACHE")
    os.environ["HEADSTART_CACHE"] = str(folder)
    try:
        yield
    finally:
        del os.environ["HEADSTART_CACHE"]
        if before is not None:
            os.environ["HEADSTART_CACHE"] = before


def tutorial(bench: Bench) -> Report:
    """The usual Keras tutorial CNN trained in full, then our CNN in as many seconds: validation accuracy of
    both."""
    sizes = bench.sizes
    seconds_file = bench.work / "tutorial-seconds.json"
    base = cifar10_files(bench, count=sizes["tutorial_images"]) | {
        "epochs": sizes["epochs"],
        "seconds_file": str(seconds_file),
    }
    contenders = [
        Contender(
            name="Keras tutorial CNN", precision="fp32", worker="keras_tutorial", python="peers", config=base
        ),
        Contender(name=OURS, precision=bench.native, worker="ours_tutorial", config=base),
    ]

    def hand_over(contender: Contender, run: Mapping[str, Any]) -> None:
        if contender.worker == "keras_tutorial":
            seconds_file.write_text(json.dumps(run["seconds"]))

    measured = bench.run("tutorial", contenders, 1, after_run=hand_over)
    rows = []
    for entry in measured.values():
        if not entry.runs:
            rows.append(_problem(entry))
            continue
        rows.append(
            {
                "name": entry.contender.name,
                "precision": entry.contender.precision,
                "runs": len(entry.runs),
                **{
                    key: statistics.median(run[key] for run in entry.runs)
                    for key in ("seconds", "images", "val_accuracy")
                },
            }
        )
    columns = (
        ("network", "name", "s"),
        ("precision", "precision", "s"),
        ("runs", "runs", "d"),
        ("seconds", "seconds", ".1f"),
        ("images seen", "images", ",.0f"),
        ("validation accuracy", "val_accuracy", ".4f"),
    )
    targets = [
        bench.target(
            sentence="our validation accuracy in the tutorial's seconds",
            value=rows[1].get("val_accuracy"),
            limit=0.85,
        ),
        Target(
            sentence="our wall seconds as a share of the tutorial's",
            limit=1.0,
            at_least=False,
            value=paired_ratio(
                *([run["seconds"] for run in entry.runs] for entry in reversed(measured.values()))
            )
            if all(entry.runs for entry in measured.values())
            else None,
        ),
    ]
    return Report(
        title="The Keras tutorial's CNN, and ours in the same seconds",
        columns=columns,
        rows=rows,
        targets=targets,
        measured=measured,
    )


def int8(bench: Bench) -> Report:
    """What int8 features cost the probe in accuracy, over label budgets. Not a matter of time: it runs
    once."""
    from int8_accuracy import probe_accuracies

    sizes = bench.sizes
    own_cache: Any = (
        contextlib.nullcontext() if sizes["int8_images"] is None else _cache_folder(bench.work / "cache-int8")
    )
    rows = probe_accuracies(sizes["pixels"], sizes["int8_images"], own_cache, bench.native)
    columns = (
        ("labels a class", "name", "s"),
        ("subsets", "subsets", "d"),
        (bench.native, bench.native, ".4f"),
        ("int8", "int8", ".4f"),
        (f"int8 - {bench.native}, points", "difference_points", "+.2f"),
    )
    target = Target(
        sentence="largest loss of validation accuracy to int8, points",
        limit=0.3,
        at_least=False,
        value=max(-row["difference_points"] for row in rows),
    )
    return Report(
        title=f"Probe on int8 against {bench.native} features, {sizes['pixels']} px, validation",
        columns=columns,
        rows=rows,
        targets=[target],
        measured={},
    )


def memory(bench: Bench) -> Report:
    """Peak memory of a frozen-probe trial on artificial memory-mapped images, a small and a large number of
    them."""
    from headstart.store import cache_folder

    sizes, pixels = bench.sizes, bench.sizes["memory_pixels"]
    counts = sizes["memory_images"]
    files = _artificial_images(bench.work / "artificial", max(counts), pixels)
    contenders = [
        Contender(
            name=f"{count:,} images",
            precision=bench.native,
            worker="ours_memory",
            config={
                "images": count,
                "pixels": pixels,
                "real_cache_folder": str(cache_folder()),
                "cache_folder": str(bench.work / f"cache-memory-{count}"),
                **files,
            },
        )
        for count in counts
    ]
    # Once each: a peak is not a matter of chance, and the second run would find its features cached.
    measured = run_rounds(contenders, 1, bench.pythons, bench.work / "logs" / "memory")
    rows = []
    for entry, count in zip(measured.values(), counts, strict=True):
        shutil.rmtree(bench.work / f"cache-memory-{count}", ignore_errors=True)
        if not entry.runs:
            rows.append(_problem(entry))
            continue
        (run,) = entry.runs
        rows.append(
            {
                "name": entry.contender.name,
                "megabytes_on_disk": count * pixels * pixels * 3 / 1e6,
                "peak_mebibytes": run["peak_bytes"] / 2**20,
                "seconds": run["seconds"],
            }
        )
    Path(files["train_images_file"]).unlink()
    peaks = [row.get("peak_mebibytes") for row in rows]
    known = all(peak is not None for peak in peaks)
    targets = [
        Target(sentence="peak MiB of the large trial", value=peaks[-1], limit=2048.0, at_least=False),
        Target(
            sentence="MiB apart from the small trial",
            value=abs(peaks[-1] - peaks[0]) if known else None,
            limit=200.0,
            at_least=False,
        ),
    ]
    columns = (
        ("trial", "name", "s"),
        ("MB on disk", "megabytes_on_disk", ",.0f"),
        ("peak MiB", "peak_mebibytes", ",.0f"),
        ("seconds", "seconds", ".1f"),
    )
    return Report(
        title=f"Peak memory of a frozen-probe trial, {pixels} px",
        columns=columns,
        rows=rows,
        targets=targets,
        measured=measured,
    )


def _artificial_images(folder: Path, count: int, pixels: int) -> dict[str, str]:
    """Files of `count` training and 1,000 test images: a coarse pattern a class under noise, so that a probe
    can learn."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    coarse = generator.integers(40, 160, (10, 8, 8, 3), dtype=np.uint8)
    patterns = coarse.repeat(pixels // 8, 1).repeat(pixels // 8, 2)
    files = {}
    for part, size in (("train", count), ("test", 1_000)):
        labels = generator.permutation(np.arange(size) % 10)
        images = np.lib.format.open_memmap(
            folder / f"{part}_images.npy", "w+", np.uint8, (size, pixels, pixels, 3)
        )
        for start in range(0, size, 1_000):
            noise = generator.integers(0, 96, (min(1_000, size - start), pixels, pixels, 3), dtype=np.uint8)
            images[start : start + 1_000] = patterns[labels[start : start + 1_000]] + noise
        images.flush()
        np.save(folder / f"{part}_labels.npy", labels)
        files |= {f"{part}_{kind}_file": str(folder / f"{part}_{kind}.npy") for kind in ("images", "labels")}
    return files


def threads(bench: Bench) -> Report:
    """Training and extraction with one thread and with all cores."""
    from headstart.runtime.cores import usable_cores

    sizes, files = bench.sizes, cifar10_files(bench)
    tasks = {
        "training": (
            "ours_train",
            {"batch_size": sizes["batch_size"], "widths": WIDTHS, "steps": sizes["steps"][bench.native]},
        ),
        "features": (
            "ours_features",
            {"pixels": sizes["pixels"], "counts": [sizes["feature_counts"][bench.native] // 2]},
        ),
    }
    numbers = sorted({1, usable_cores()})
    contenders = [
        Contender(
            name=task,
            precision=bench.native,
            worker=worker,
            threads=number,
            config=config | files | {"cache_folder": str(bench.work / f"cache-threads-{number}")},
        )
        for task, (worker, config) in tasks.items()
        for number in numbers
    ]
    measured = bench.run("threads", contenders, 5)
    rows = []
    for entry in measured.values():
        alone = measured[dataclasses.replace(entry.contender, threads=1).key]
        if not entry.runs:
            rows.append(_problem(entry))
            continue
        speed = rates(entry.runs)
        rows.append(
            {
                "name": entry.contender.name,
                "threads": entry.about["threads"],
                "runs": len(speed),
                "images_per_second": statistics.median(speed),
                "lowest": min(speed),
                "highest": max(speed),
                "to_one_thread": paired_ratio(speed, rates(alone.runs)) if alone.runs else None,
            }
        )
    columns = (
        ("work", "name", "s"),
        ("threads", "threads", "d"),
        ("runs", "runs", "d"),
        ("images/s", "images_per_second", ".1f"),
        ("lowest", "lowest", ".1f"),
        ("highest", "highest", ".1f"),
        ("to one thread", "to_one_thread", ".2f"),
    )
    return Report(title=f"Threads, {bench.native}", columns=columns, rows=rows, targets=[], measured=measured)


_PROBLEM_COLUMNS: tuple[Column, ...] = (("who", "name", "s"), ("precision", "precision", "s"))


def _throughput_columns(native: str) -> tuple[Column, ...]:
    return (
        ("who", "name", "s"),
        ("precision", "precision", "s"),
        ("runs", "runs", "d"),
        ("images/s", "images_per_second", ".1f"),
        ("lowest", "lowest", ".1f"),
        ("highest", "highest", ".1f"),
        ("GFLOP/s", "gflops", ".0f"),
        (f"of {native} products", f"fraction_of_{native}_product", ".2f"),
        *((("of its own precision's", "fraction_of_own_product", ".2f"),) if native == "bf16" else ()),
        (f"our {native} is faster by", "ours_is_faster_by", ".2f"),
    )


def _problem(entry: Measured) -> dict[str, Any]:
    return {"name": entry.contender.name, "precision": entry.contender.precision, "note": entry.problem}


def _throughput(entry: Measured, flops_per_image: float, ours: Measured) -> dict[str, Any]:
    """The contender's row; one that failed says why."""
    if not entry.runs:
        return _problem(entry)
    own = entry.contender.key == ours.contender.key
    row = throughput_row(
        entry.contender.name,
        entry.contender.precision,
        entry.runs,
        flops_per_image,
        None if own or not ours.runs else ours.runs,
    )
    row["fraction_of_own_product"] = row.get(f"fraction_of_{entry.contender.precision}_product")
    chosen = [f"{key} {entry.about[key]}" for key in ("num_workers", "jit_compile") if key in entry.about]
    return row | {"note": ", ".join(chosen) or None}


SECTIONS: dict[str, Callable[[Bench], Report]] = {
    "train": train,
    "features": features,
    "linear": linear,
    "int8": int8,
    "head": head,
    "tutorial": tutorial,
    "memory": memory,
    "threads": threads,
}
