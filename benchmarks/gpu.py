"""Measures the CNN on a CUDA GPU beside cifar10-airbench's own script, and where its time goes; prints a
table, writes JSON.

    python benchmarks/gpu.py                        everything, seeds 0 to 4
    python benchmarks/gpu.py airbench --seeds 0 1   one section
    python benchmarks/gpu.py product profile

Sections: product (the machine's own matrix products), airbench (side by side, seed by seed in turn), profile
(GPU time by kind of kernel, of training the CNN and of fine-tuning ResNet-50). Needs
benchmarks/requirements-gpu.txt beside the project, a CUDA build of torch with its torchvision, and CIFAR-10
in the cache or within reach. Exit codes: 0 all measured, 1 something failed (the JSON says what), 2 no CUDA
GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

import kernels  # noqa: E402
from rounds import say  # noqa: E402
from summary import table  # noqa: E402

PEER = "airbench"
PEER_PFLOP = (
    0.36  # Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (arXiv 2404.00498), of airbench94
)
_WARM_UP_SEED = 10_000  # of an untimed run whose result is not read
STUDY, ARMS = "cifar10-cnn", ("cnn", "cnn-fast")
COVERS = {
    "airbench seconds": "wall time of train94, GPU synchronised before and after: building the network, "
    "whitening, training with "
    "its augmentation; not reading the data, which its loaders hold on the GPU beforehand; no test reading",
    "our seconds": 'the trial\'s "train" seconds: training steps with their augmentation, GPU synchronised '
    "after each epoch; "
    "not whitening, building the network, counting operations, checkpoints or test reading",
    "our prepare_seconds": "building the network, whitening, moving the training images to the GPU; "
    "airbench's seconds hold its "
    "own building and whitening",
    "our trial_seconds": "wall time of the whole trial, evaluation and files included",
    "accuracy": "one view of each test image (airbench: tta_level 0)",
    "flip_accuracy": "the mean over an image and its mirror image (airbench: tta_level 1)",
    "translate_accuracy": "airbench alone: tta_level 2, mirrored and shifted views",
    "pflop": f"ours: counted, 1e15 operations of one training; airbench: as published, {PEER_PFLOP}",
    "cudnn.benchmark": "on for airbench, which turns it on when imported; off for ours, as in the product",
}


def main(arguments: list[str] | None = None) -> int:
    """Exit code, see the head of this file."""
    args = _parse(arguments)
    import torch

    if not torch.cuda.is_available():
        built = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds no device"
        print(
            f"no CUDA GPU here: {built} (torch {torch.__version__}); run it on a machine with one",
            file=sys.stderr,
        )
        return 2
    report = Report(args.out)
    report.content |= {
        "what": "gpu",
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "environment": _environment(),
        "command": " ".join(["benchmarks/gpu.py", *args.sections, "--seeds", *map(str, args.seeds)]),
    }
    for name in args.sections or SECTIONS:
        with report.guard(name):
            SECTIONS[name](report, args)
        report.write()
    print(f"\n{text_of(report.content)}\n", flush=True)
    say(f"written to {args.out}")
    return int(bool(report.content["problems"]))


class Report:
    """What the JSON file holds. `guard` keeps a failure's text and lets the rest go on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = {"problems": {}}

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(self.path.name + ".unfinished")
        unfinished.write_text(json.dumps(self.content, indent=1) + "\n")
        unfinished.replace(self.path)

    @contextlib.contextmanager
    def guard(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.content["problems"][what] = f"{type(error).__name__}: {error}"
            say(f"{what} failed: {self.content['problems'][what]}")


def _environment() -> dict[str, Any]:
    import importlib.metadata

    import torch

    from headstart.runtime.precision import default_device, resolve_precision
    from headstart.studies.trial import environment

    device = default_device()
    peers = {}
    for name in (PEER, "torchvision"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            peers[name] = importlib.metadata.version(name)
    about = torch.cuda.get_device_properties(device)
    return (
        environment(device, resolve_precision("auto", device))
        | peers
        | {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "gpu_memory_bytes": about.total_memory,
            "multiprocessors": about.multi_processor_count,
        }
    )


def measure_product(report: Report, args: argparse.Namespace, side: int = 8192, runs: int = 10) -> None:
    """TFLOP/s of a product of two (side, side) matrices by number format, float32 without TF32: median,
    lowest, highest."""
    import torch

    found = {}
    for name, kind in (("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)):
        a, b = (
            torch.randn(side, side, device="cuda", generator=torch.Generator("cuda").manual_seed(seed)).to(
                kind
            )
            for seed in (0, 1)
        )
        rates = []
        for _ in range(3 + runs):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            a @ b
            end.record()
            torch.cuda.synchronize()
            rates.append(2 * side**3 / (begin.elapsed_time(end) / 1e3) / 1e12)
        kept = rates[3:]  # the first ones choose the kernel and raise the clock
        found[name] = {
            "tflops": statistics.median(kept),
            "lowest": min(kept),
            "highest": max(kept),
            "runs": runs,
            "side": side,
        }
    report.content["product"] = found


def compare_with_airbench(report: Report, args: argparse.Namespace) -> None:
    """Trains with airbench and with our arms, in turn, seed by seed; a contender that fails once is left out
    from there on."""
    runs: list[dict[str, Any]] = []
    section = report.content[PEER] = {"covers": COVERS, "runs": runs}
    with tempfile.TemporaryDirectory(prefix="headstart-airbench-") as folder:
        contenders: dict[str, Callable[[int], dict[str, Any]]] = {}
        with report.guard(PEER):
            contenders[PEER] = _airbench(Path(folder))
        with report.guard("our arms"):
            contenders |= _our_arms(args.runs)
        for seed in args.seeds:
            for name, run in contenders.items():
                if name in report.content["problems"]:
                    continue
                with report.guard(name):
                    runs.append({"name": name, "seed": seed} | run(seed))
                    say(
                        f"{name}, seed {seed}: {runs[-1]['seconds']:.2f} s, test accuracy "
                        f"{runs[-1]['accuracy']:.4f}"
                    )
                section["rows"] = summarise(runs)
                report.write()


def _airbench(folder: Path) -> Callable[[int], dict[str, Any]]:
    """airbench94 on the same images: seed -> a run. Trains once untimed."""
    import torch

    from headstart.data import load_dataset

    dataset = load_dataset("cifar10")
    for part, images in (("train", dataset.train), ("test", dataset.test)):
        torch.save(
            {
                "images": torch.tensor(images.images),
                "labels": torch.tensor(images.labels),
                "classes": list(images.class_names),
            },
            folder / f"{part}.pt",
        )
    with _cudnn_benchmark(True):
        # Turns cuDNN's search for the fastest kernels on for the whole process, ours too: hence the switch.
        import airbench
        from airbench import lib_airbench94, utils

        settings = lib_airbench94.hyp
        test_loader = airbench.CifarLoader(str(folder), train=False, batch_size=2000)

    def train(seed: int) -> tuple[Any, float]:
        loader = airbench.CifarLoader(
            str(folder),
            train=True,
            batch_size=settings["opt"]["batch_size"],
            aug=settings["aug"],
            altflip=True,
        )
        torch.manual_seed(seed)
        # Its train() reads the test images from disk before it begins: given the loader that has them, it
        # need not.
        with mock.patch.object(utils, "CifarLoader", lambda *_, **__: test_loader):
            torch.cuda.synchronize()
            start = time.perf_counter()
            model = airbench.train94(train_loader=loader, run=seed, verbose=False)
            torch.cuda.synchronize()
            return model, time.perf_counter() - start

    def run(seed: int) -> dict[str, Any]:
        with _cudnn_benchmark(True):
            model, seconds = train(seed)
            accuracies = [airbench.evaluate(model, test_loader, tta_level=level) for level in (0, 1, 2)]
        return {
            "seconds": seconds,
            "pflop": PEER_PFLOP,
            **dict(zip(("accuracy", "flip_accuracy", "translate_accuracy"), accuracies, strict=True)),
        }

    with _cudnn_benchmark(True):
        train(_WARM_UP_SEED)
    return run


@contextlib.contextmanager
def _cudnn_benchmark(on: bool) -> Iterator[None]:
    import torch

    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = on
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _our_arms(folder: Path) -> dict[str, Callable[[int], dict[str, Any]]]:
    """The study's arms, each: seed -> a run. Every arm trains a few steps untimed; nothing of the test set is
    read by that."""
    from headstart.studies.run import trials_of
    from headstart.studies.study_file import load_study
    from headstart.studies.trial import run_trial
    from headstart.training.loop import train

    study, _ = load_study(STUDY)
    trials = trials_of(study)
    folder.mkdir(parents=True, exist_ok=True)

    def contender(arm: str) -> Callable[[int], dict[str, Any]]:
        own = next(trial for trial in trials if trial.arm.name == arm)
        ready = _Ready(own)
        short = ready.recipe.replace(duration="20 steps")
        train(
            ready.model,
            ready.batches,
            short,
            prepare=ready.prepare,
            device=ready.device,
            precision=own.precision,
        )

        def run(seed: int) -> dict[str, Any]:
            began = datetime.datetime.now(datetime.UTC)
            start = time.perf_counter()
            result = run_trial(dataclasses.replace(own, seed=seed), study.name, folder)
            took = time.perf_counter() - start
            stored = datetime.datetime.fromisoformat(
                result.environment["started"]
            ) < began - datetime.timedelta(seconds=1)
            return {
                "seconds": result.cost.seconds["train"],
                "prepare_seconds": result.cost.seconds["prepare"],
                "trial_seconds": None if stored else took,
                "stored": stored,
                "pflop": result.cost.flops / 1e15,
                "accuracy": result.metrics["test_accuracy"],
                "flip_accuracy": result.metrics["test_flip_accuracy"],
                "train_images": result.train_images,
                "key": result.key,
                "device": result.environment["device"],
            }

        return run

    return {arm: contender(arm) for arm in ARMS}


class _Ready:
    """A trial about to take its first step: network, batches, optimisers."""

    def __init__(self, trial: Any, preprocessing: Any = None) -> None:
        """preprocessing: in place of the network's own."""
        import numpy as np

        from headstart.data import load_dataset
        from headstart.methods import network
        from headstart.models.cnn import CNN
        from headstart.models.preprocess import preprocess, preprocessing_carried_by
        from headstart.runtime.precision import default_device
        from headstart.studies.trial import make_context
        from headstart.training.optimizers import build_optimizers

        self.device, self.recipe, self.precision = default_device(), trial.arm.recipe, trial.precision
        context = make_context(trial, load_dataset(trial.arm.dataset), "", Path("."), self.device)
        self.model = network.build_network(context)
        found = preprocessing or preprocessing_carried_by(self.model)
        self.prepare = lambda batch: preprocess(batch, found, device=self.device)
        network.set_policy(self.model, self.recipe)
        if isinstance(self.model, CNN):
            self.model.fit_whitening(self.prepare(np.ascontiguousarray(context.dataset.train.images[:5000])))
        else:
            network.zero_head(context, self.model)
        self.batches = network.image_batches(context, self.recipe)
        self.model.to(self.device).train()
        self.optimizers = build_optimizers(self.model, self.recipe)

    def steps(self, inputs_and_labels: Iterator[tuple[Any, Any]], count: int) -> int:
        """Takes up to `count` steps as the training loop does; how many examples they had."""
        from torch.profiler import record_function

        from headstart.training.loop import _step
        from headstart.training.optimizers import set_learning_rates

        examples = 0
        for step in range(count):
            with record_function(kernels.BATCH_SCOPE):
                raw, labels = next(inputs_and_labels)
                inputs = self.prepare(raw)
            set_learning_rates(self.optimizers, step, 10 * count, self.recipe)
            _step(self.model, inputs, labels, self.recipe, self.optimizers, self.device, self.precision)
            examples += len(labels)
        return examples


def profile_training(report: Report, args: argparse.Namespace) -> None:
    """GPU time by kind of kernel, of the CNN's training and of ResNet-50's fine-tuning at 64 px."""
    section = report.content["profile"] = {
        "covers": "steps inside an epoch, after others to warm up; the beginning of an epoch (its draws, "
        "made on the CPU) is "
        "timed by itself. busy_fraction: time in which the GPU ran anything, of the same number of steps' "
        "wall time "
        "without the profiler. Fractions of groups and kernels are of all kernel time. ResNet-50 has random "
        "weights "
        "here (same arithmetic) and the preprocessing of its Keras ones"
    }
    for name, make, steps in (("cnn", _cnn_ready, 30), ("finetune resnet50 64 px", _finetune_ready, 20)):
        with report.guard(f"profile of {name}"):
            found = section[name] = {}  # what is timed stays where the profiler fails
            _profile(make(), steps, found)
        report.write()


def _cnn_ready() -> _Ready:
    from headstart.studies.run import trials_of
    from headstart.studies.study_file import load_study

    return _Ready(next(trial for trial in trials_of(load_study(STUDY)[0]) if trial.arm.name == ARMS[0]))


def _finetune_ready(pixels: int = 64, batch_size: int = 128) -> _Ready:
    from headstart.models import preprocessing_of
    from headstart.recipes import recipe_named
    from headstart.runtime.precision import default_device, resolve_precision
    from headstart.types import ALL_LABELS, Arm, Trial

    recipe = recipe_named("finetune").replace(batch_size=batch_size)
    arm = Arm(
        name="finetune",
        label="finetune",
        dataset="cifar10",
        model="resnet50",
        weights="none",
        method="finetune",
        recipe=recipe,
        input_pixels=pixels,
    )
    trial = Trial(
        arm=arm,
        label_budget=ALL_LABELS,
        seed=0,
        phase="refit",
        precision=resolve_precision("auto", default_device()),
    )
    return _Ready(trial, preprocessing_of("resnet50", "imagenet-keras", pixels))


def _profile(ready: _Ready, steps: int, found: dict[str, Any]) -> None:
    """Puts into `found` the wall time of `steps` steps without the profiler, then what ran in as many with
    it, in one epoch."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    ready.steps(ready.batches.epoch(0), 10)
    torch.cuda.synchronize()
    start = time.perf_counter()
    epoch = ready.batches.epoch(1)
    first = next(epoch)
    torch.cuda.synchronize()
    found |= {
        "steps": steps,
        "batch_size": len(first[1]),
        "precision": ready.precision,
        "first_batch_of_an_epoch_seconds": time.perf_counter() - start,
    }
    start = time.perf_counter()
    examples = ready.steps(epoch, steps)
    launched = time.perf_counter() - start
    torch.cuda.synchronize()
    wall = time.perf_counter() - start
    # Where the host needs as long to launch the steps as they take, the GPU waits for it.
    found |= {
        "seconds_per_step": wall / steps,
        "host_seconds_per_step": launched / steps,
        "images_per_second": examples / wall,
    }
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        ready.steps(epoch, steps)
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory(prefix="headstart-trace-") as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        ran = kernels.kernels_of(json.loads(path.read_text())["traceEvents"])
    if not ran:
        raise RuntimeError(
            "the profiler recorded no kernel; is the driver's profiling interface (CUPTI) allowed here?"
        )
    busy = kernels.busy_microseconds(ran) / 1e6
    found |= {
        "kernels_per_step": len(ran) / steps,
        "busy_seconds_per_step": busy / steps,
        "busy_fraction": busy / wall,
        "groups": kernels.time_by_group(ran),
        "longest": kernels.longest(ran, 12),
    }


SECTIONS: dict[str, Callable[[Report, argparse.Namespace], None]] = {
    "product": measure_product,
    PEER: compare_with_airbench,
    "profile": profile_training,
}


def summarise(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a contender, airbench first: times, their median over airbench's, accuracies (mean, n, min, max),
    work.

    Times of runs that were found stored are left out: they were not measured in turn with the others."""
    names = sorted(dict.fromkeys(run["name"] for run in runs), key=lambda name: name != PEER)
    rows: list[dict[str, Any]] = []
    for name in names:
        own = [run for run in runs if run["name"] == name]
        row: dict[str, Any] = {"name": name, "pflop": statistics.median(run["pflop"] for run in own)}
        row["seconds"] = _spread([run["seconds"] for run in own if not run.get("stored")])
        for metric in ("accuracy", "flip_accuracy", "translate_accuracy"):
            row[metric] = _spread([run[metric] for run in own if run.get(metric) is not None])
        peer = next((found["seconds"] for found in rows if found["name"] == PEER), None)
        row["seconds_over_airbench"] = None
        if name != PEER and peer is not None and row["seconds"] is not None:
            row["seconds_over_airbench"] = row["seconds"]["median"] / peer["median"]
        rows.append(row)
    return rows


def _spread(values: Sequence[float]) -> dict[str, Any] | None:
    """n, mean, median, min and max; None of nothing."""
    if not values:
        return None
    return {
        "n": len(values),
        "mean": math.fsum(values) / len(values),
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
    }


def text_of(content: Mapping[str, Any]) -> str:
    """The report's tables, those that were measured, and its problems."""
    parts = [f"GPU: {content['environment']['device']}"]
    if "product" in content:
        rates = (f"{name} {found['tflops']:.0f} TFLOP/s" for name, found in content["product"].items())
        parts.append("matrix products: " + ", ".join(rates))
    for name, found in content.get("profile", {}).items():
        if name == "covers" or "seconds_per_step" not in found:
            continue
        line = (
            f"{name}: {1e3 * found['seconds_per_step']:.2f} ms a step of {found['batch_size']}, "
            f"{found['images_per_second']:.0f} images/s"
        )
        if "groups" not in found:
            parts.append(line)
            continue
        parts.append(
            f"{line}, GPU busy {100 * found['busy_fraction']:.0f} %, {found['kernels_per_step']:.0f} kernels "
            "a step"
        )
        rows = [
            row | {"percent": 100 * row["fraction"], "us": row["microseconds"] / found["steps"]}
            for row in found["groups"]
        ]
        parts.append(
            table((("GPU time", "group", "s"), ("%", "percent", ".1f"), ("us a step", "us", ".0f")), rows)
        )
    if rows := content.get(PEER, {}).get("rows"):
        parts.append(table(_COLUMNS, [_flat(row) for row in rows]))
    parts += [f"failed: {what}: {text}" for what, text in content["problems"].items()]
    return "\n\n".join(parts)


_COLUMNS = (
    ("who", "name", "s"),
    ("timed", "seconds n", "d"),
    ("s, median", "seconds median", ".2f"),
    ("min", "seconds min", ".2f"),
    ("max", "seconds max", ".2f"),
    ("over airbench", "seconds_over_airbench", ".2f"),
    ("n", "accuracy n", "d"),
    ("accuracy %", "accuracy mean", ".2f"),
    ("min", "accuracy min", ".2f"),
    ("max", "accuracy max", ".2f"),
    ("both flips %", "flip_accuracy mean", ".2f"),
    ("min", "flip_accuracy min", ".2f"),
    ("max", "flip_accuracy max", ".2f"),
    ("PFLOP", "pflop", ".2f"),
)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `summarise` with its spreads as "metric mean", accuracies in percent."""
    flat = dict(row)
    for metric, spread in row.items():
        if isinstance(spread, Mapping):
            percent = 100 if metric.endswith("accuracy") else 1
            flat |= {
                f"{metric} {key}": value if key == "n" else percent * value for key, value in spread.items()
            }
    return flat


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="section", help=f"of {', '.join(SECTIONS)}; none: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="default 0 1 2 3 4")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs") / STUDY, help="folder of our trials; default %(default)s"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE / "results" / "gpu.json", help="JSON file; default %(default)s"
    )
    args = parser.parse_args(arguments)
    for name in args.sections:
        if name not in SECTIONS:
            parser.error(f"unknown section {name!r}; choose from {', '.join(SECTIONS)}")
    if min(args.seeds) < 0 or len(set(args.seeds)) != len(args.seeds):
        parser.error(f"--seeds must be different whole numbers from 0 up, got {args.seeds}")
    args.runs, args.out = args.runs.resolve(), args.out.resolve()
    return args


if __name__ == "__main__":
    sys.exit(main())
