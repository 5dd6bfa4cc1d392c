"""The CNN beside cifar10-airbench's own script on one GPU, seed by seed in turn."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from gpu_profile import ARMS, STUDY, TrialReady
from gpu_report import PEER, Report, summarise
from rounds import say

# Of airbench94: Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (arXiv 2404.00498).
PEER_PFLOP = 0.36
_WARM_UP_SEED = 10_000  # of an untimed run whose result is not read
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
    from headstart.studies.study_file import load_study
    from headstart.studies.trial import run_trial
    from headstart.studies.trials import trials_of
    from headstart.training.loop import train

    study, _ = load_study(STUDY)
    trials = trials_of(study)
    folder.mkdir(parents=True, exist_ok=True)

    def contender(arm: str) -> Callable[[int], dict[str, Any]]:
        own = next(trial for trial in trials if trial.arm.name == arm)
        ready = TrialReady(own)
        short = ready.step.recipe.replace(duration="20 steps")
        train(dataclasses.replace(ready.step, recipe=short), ready.batches)

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
