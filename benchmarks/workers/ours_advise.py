"""Ours: `headstart advise` as a user types it, in a process and with an empty feature cache of its own."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import headstart_first  # noqa: F401  (before torch)
import numpy as np
from protocol import Run, serve


def prepare(config: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    from headstart.predict.predictor import load_predictor
    from headstart.store import cache_folder

    cache, before = Path(config["cache"]).absolute(), cache_folder().absolute()
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir(parents=True)
    for kept in ("weights", "downloads"):  # what a first use fetches; no features, no pictures
        (cache / kept).symlink_to(before / kept)
    command = [sys.executable, "-m", "headstart", "advise", config["folder"]]
    command += ["--minutes", f"{config['minutes']:g}", "--out", config["out"]]

    def run() -> dict[str, Any]:
        start, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            command, check=True, env=os.environ | {"HEADSTART_CACHE": str(cache)}, stdout=sys.stderr
        )
        seconds = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        answer = json.loads((Path(config["out"]) / "advice.json").read_text())
        predictor = load_predictor(Path(config["out"]) / "model")
        images, labels = np.load(config["images_file"]), np.load(config["labels_file"])
        right = predictor.logits(images).argmax(axis=1) == labels
        return {
            "seconds": seconds,
            "processor_seconds": after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime,
            "accuracy": float(right.mean()),
            "said": answer["accuracy"],
            "interval": answer["interval"],
            "chosen": answer["chosen"]["label"],
        }

    return run, {}


if __name__ == "__main__":
    serve(prepare)
