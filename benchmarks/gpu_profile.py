"""Where a GPU's time goes while the CNN trains and ResNet-50 is fine-tuned, by kind of kernel."""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kernels
from gpu_report import Report

STUDY, ARMS = "cifar10-cnn", ("cnn", "cnn-fast")


class TrialReady:
    """A trial about to take its first step: network, batches, optimisers."""

    def __init__(self, trial: Any, preprocessing: Any = None) -> None:
        """preprocessing: in place of the network's own."""
        from headstart.data import load_dataset
        from headstart.methods import network
        from headstart.runtime.precision import default_device
        from headstart.studies.trial import make_context
        from headstart.training.optimizers import build_optimizers

        self.device, recipe = default_device(), trial.arm.recipe
        context = make_context(trial, load_dataset(trial.arm.dataset), Path("."), self.device)
        model = network.build_network(context)
        if preprocessing is not None:
            model.preprocessing = preprocessing
        network.set_policy(model, recipe)
        model.fit_to_images(lambda count: network.first_inputs(context, model, count))
        if trial.arm.method == "finetune":
            network.zero_head(model)
        self.step = network.image_step(context, model, recipe)
        self.batches = network.image_batches(context, recipe)
        model.to(self.device).train()
        self.optimizers = build_optimizers(model, recipe)

    def steps(self, inputs_and_labels: Iterator[tuple[Any, Any]], count: int) -> int:
        """Takes up to `count` steps as the training loop does; how many examples they had."""
        from torch.profiler import record_function

        from headstart.training.optimizers import set_learning_rates

        examples = 0
        prepared = dataclasses.replace(self.step, prepare=lambda x: x)
        for number in range(count):
            with record_function(kernels.BATCH_SCOPE):
                raw, labels = next(inputs_and_labels)
                inputs = self.step.prepare(raw)
            set_learning_rates(self.optimizers, number, 10 * count, self.step.recipe)
            prepared.take(inputs, labels, self.optimizers)
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
            content = section[name] = {}  # what is timed stays where the profiler fails
            _profile(make(), steps, content)
        report.write()


def _cnn_ready() -> TrialReady:
    from headstart.studies.study_file import load_study
    from headstart.studies.trials import trials_of

    return TrialReady(next(trial for trial in trials_of(load_study(STUDY)[0]) if trial.arm.name == ARMS[0]))


def _finetune_ready(pixels: int = 64, batch_size: int = 128) -> TrialReady:
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
    return TrialReady(trial, preprocessing_of("resnet50", "imagenet-keras", pixels))


def _profile(ready: TrialReady, steps: int, content: dict[str, Any]) -> None:
    """Puts into `content` the wall time of `steps` steps without the profiler, then what ran in as many with
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
    content |= {
        "steps": steps,
        "batch_size": len(first[1]),
        "precision": ready.step.precision,
        "first_batch_of_an_epoch_seconds": time.perf_counter() - start,
    }
    start = time.perf_counter()
    examples = ready.steps(epoch, steps)
    launched = time.perf_counter() - start
    torch.cuda.synchronize()
    wall = time.perf_counter() - start
    # Where the host needs as long to launch the steps as they take, the GPU waits for it.
    content |= {
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
    content |= {
        "kernels_per_step": len(ran) / steps,
        "busy_seconds_per_step": busy / steps,
        "busy_fraction": busy / wall,
        "groups": kernels.time_by_group(ran),
        "longest": kernels.longest(ran, 12),
    }
