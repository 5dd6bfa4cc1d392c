"""`headstart advise` against what people use instead, on the same folders and in the same minutes.

Folders of PNG files are drawn from CIFAR-10 and Fashion-MNIST. Each contender is given a folder, the minutes
and the same ResNet-50 weights; its model names further images, the same for all, after the minutes are over.
Our minutes include starting the program; those of the others begin when their libraries are imported.

    python benchmarks/advise_peers.py --peers .venv-bench/bin/python --per-class 20 100 500 --minutes 2 5

Contenders run one after another, never side by side. What is done stays in --out; the same command resumes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rounds import Contender, Worker, WorkerError, say

from headstart import load_dataset
from headstart.data.arrays import image_set
from headstart.data.as_folder import write_image_folder
from headstart.models import load_model
from headstart.models.keras_resnet50 import load_state
from headstart.models.weight_names import KERAS_RESNET50_FILE, weights_folder
from headstart.types import ImageSet

SETS = ("cifar10", "fashion-mnist")
# name, worker in workers/, environment
CONTENDERS = (
    ("headstart advise", "ours_advise", "ours"),
    ("Keras, frozen ResNet-50", "keras_transfer", "peers"),
    ("fastai, fine_tune", "fastai_fine_tune", "peers"),
    ("scikit-learn, raw pixels", "sklearn_pixels", "peers"),
)


def drawn(images: ImageSet, per_class: int, seed: int) -> ImageSet:
    """So many images of each class, by the seed."""
    generator = np.random.default_rng([seed, per_class])
    ids = np.sort(
        np.concatenate(
            [
                generator.permutation(np.flatnonzero(images.labels == label))[:per_class]
                for label in range(len(images.class_names))
            ]
        )
    )
    return image_set(np.array(images.images[ids]), images.labels[ids], images.class_names)


def prepare(name: str, per_class: int, seed: int, tests: int, work: Path) -> dict[str, Any]:
    """A folder of images, and further ones as .npy files; classes in the order of their names, as every
    contender sorts them."""
    data = load_dataset(name)
    home = work / f"{name}-{per_class}-{seed}"
    folder = home / "photos"
    if not folder.exists():
        write_image_folder(drawn(data.train, per_class, seed), folder, per_class=per_class)
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    further = drawn(data.test, tests // len(names), 0)
    order = [names.index(name.replace("/", "-")) for name in further.class_names]
    np.save(home / "images.npy", further.images)
    np.save(home / "labels.npy", np.array(order, np.int64)[further.labels])
    return {
        "folder": str(folder),
        "images_file": str(home / "images.npy"),
        "labels_file": str(home / "labels.npy"),
        "weights_file": str(weights_folder() / KERAS_RESNET50_FILE),
        "classes": len(names),
        "seed": seed,
    }


def measure(
    contender: tuple[str, str, str], config: dict[str, Any], pythons: dict[str, Path], work: Path
) -> Any:
    """What a contender reached: accuracy, wall and processor seconds; or what went wrong."""
    name, worker, python = contender
    log = work / "logs" / f"{worker}-{int(time.time())}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    process = Worker(
        Contender(name=name, precision="fp32", worker=worker, python=python, config=config), pythons, log
    )
    try:
        about = process.ask(None)
        return {"about": about.get("ready"), **process.ask()} if "ready" in about else about
    except WorkerError as error:
        return {"problem": str(error)}
    finally:
        process.close()


def table(rows: list[dict[str, Any]]) -> str:
    """Means over draws, a line a folder and contender."""
    lines = [
        "| folder | minutes | contender | accuracy | spread | wall s | processor s | n |",
        "|---|---|---|---|---|---|---|---|",
    ]
    keys = sorted({(row["set"], row["per_class"], row["minutes"]) for row in rows})
    for key, (name, _, _) in itertools.product(keys, CONTENDERS):
        own = [
            row
            for row in rows
            if (row["set"], row["per_class"], row["minutes"]) == key and row["contender"] == name
        ]
        right = [row["accuracy"] for row in own if "accuracy" in row]
        if not own:
            continue
        what = f"| {key[0]}, {key[1]} a class | {key[2]:g} | {name} |"
        if not right:
            lines.append(f"{what} {own[0].get('problem', 'n/a')} | | | | 0 |")
            continue
        spread = f"{100 * min(right):.1f} to {100 * max(right):.1f}" if len(right) > 1 else "n/a"
        walls, processors = (
            [row[part] for row in own if part in row] for part in ("seconds", "processor_seconds")
        )
        lines.append(
            f"{what} {100 * np.mean(right):.1f} % | {spread} | "
            f"{np.mean(walls):.0f} | {np.mean(processors):.0f} | {len(right)} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, required=True, help="python of the peers' environment")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--per-class", nargs="+", type=int, default=[20, 100, 500])
    parser.add_argument("--minutes", nargs="+", type=float, default=[2.0, 5.0])
    parser.add_argument("--rounds", type=int, default=3, help="draws of each folder")
    parser.add_argument("--tests", type=int, default=2000, help="further images")
    parser.add_argument("--only", nargs="+", help="workers, by name")
    parser.add_argument("--work", type=Path, default=Path("advise-peers"))
    parser.add_argument("--out", type=Path, default=Path("advise_peers.json"))
    options = parser.parse_args()
    load_state()  # fetched and converted before any clock runs
    load_model("efficientnet-lite0", "imagenet-tf")
    pythons = {"ours": Path(sys.executable), "peers": options.peers.absolute()}
    rows = json.loads(options.out.read_text()) if options.out.exists() else []
    done = {(row["set"], row["per_class"], row["minutes"], row["seed"], row["contender"]) for row in rows}
    for seed, name, per_class, minutes, contender in itertools.product(
        range(options.rounds), options.sets, options.per_class, options.minutes, CONTENDERS
    ):
        key = (name, per_class, minutes, seed, contender[0])
        if key in done or (options.only and contender[1] not in options.only):
            continue
        config = prepare(name, per_class, seed, options.tests, options.work)
        out = options.work / "advice"
        shutil.rmtree(out, ignore_errors=True)
        config |= {"minutes": minutes, "out": str(out), "cache": str(options.work / "cache")}
        load = os.getloadavg()[0]
        found = measure(contender, config, pythons, options.work)
        fields = dict(zip(("set", "per_class", "minutes", "seed", "contender"), key, strict=True))
        rows.append(fields | {"load_before": round(load, 2)} | found)
        options.out.write_text(json.dumps(rows, indent=1) + "\n")
        say(f"{key}: {found.get('accuracy', found)}")
    print(table(rows))


if __name__ == "__main__":
    main()
