"""Frozen layers run once: their pooled features, cached on disk, memory-mapped, shared by every trial.

One folder a set of features, named by a key that holds all that the values depend on:
    values.f16      float16 (N, D), row i is image i
    progress.json   rows done so far, seconds spent; an interrupted extraction goes on from there
    meta.json       written last: what the key was made from, seconds, floating-point operations
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headstart import progress
from headstart.cost import count_flops
from headstart.models.preprocess import preprocess, preprocessing_carried_by
from headstart.models.resnet import fold_batchnorm
from headstart.store import cache_folder, digest, lock, read_json, require_space, write_json
from headstart.types import Features, ImageSet, Preprocessing

SCHEMA = 1  # raised when the same key would give other values
BATCH = 64  # part of the key through SCHEMA: a matrix product's bits may depend on the batch it is in
_CHUNK = 1024  # rows between two progress records


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """Features and what computing them once cost: seconds (cold), flops, and whether the cache had them."""

    features: Features
    seconds: float
    flops: int
    was_cached: bool


def feature_key(*, weights_hash: str, cut: str, preprocessing: Preprocessing, dataset_fingerprint: str, mirrored: bool,
                precision: str, device: torch.device) -> dict[str, Any]:  # fmt: skip
    """All that feature values depend on; its digest names the cache folder."""
    return {"schema": SCHEMA, "weights": weights_hash, "cut": cut, "preprocessing": preprocessing,
            "dataset": dataset_fingerprint, "mirrored": mirrored, "precision": precision, "device": device.type,
            "torch": torch.__version__.split("+")[0]}  # fmt: skip


def extract(
    model: nn.Module, images: ImageSet, *, weights_hash: str, precision: str, device: torch.device,
    mirrored: bool = False, what: str = "features",
) -> Extraction:  # fmt: skip
    """Pooled features of every image, from the cache or computed now (resumed where a run was interrupted).

    model: has `forward_features` and `preprocessing`; not changed. precision: "bf16", "fp32" or "int8".
    Raises: StoreError where the disk is full."""
    parts = feature_key(weights_hash=weights_hash, cut="pool", preprocessing=preprocessing_carried_by(model), precision=precision,
                        dataset_fingerprint=images.fingerprint, mirrored=mirrored, device=device)  # fmt: skip
    key = digest(parts)
    folder = cache_folder() / "features" / key[:32]
    with lock(folder / "lock", f"the feature cache {folder.name}", wait_seconds=24 * 3600):
        was_cached = (folder / "meta.json").exists()
        if not was_cached:
            compute = _network(model, precision, device)
            _compute(folder, compute, images, parts, model, mirrored, device, what)
        meta = read_json(folder / "meta.json")
    values = np.memmap(folder / "values.f16", dtype=np.float16, mode="r", shape=(len(images), meta["dimension"]))
    features = Features(values=values, labels=images.labels, key=key)
    return Extraction(features=features, seconds=meta["seconds"], flops=meta["flops"], was_cached=was_cached)


def _network(model: nn.Module, precision: str, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Normalised images float32 (B, 3, S, S) -> features float32 (B, D), in evaluation mode."""
    frozen = fold_batchnorm(model).to(device).eval()
    # Weights cast once, not at every batch as autocast does: 225 against 215 images/s (96 px, 2 cores, medians of 2).
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    frozen = frozen.to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(x: Tensor) -> Tensor:
        return frozen.forward_features(x.to(dtype)).float()

    return run


@torch.inference_mode()
def _compute(folder: Path, network: Callable[[Tensor], Tensor], images: ImageSet, parts: dict[str, Any], model: nn.Module,
             mirrored: bool, device: torch.device, what: str) -> None:  # fmt: skip
    def rows(start: int, stop: int) -> Tensor:
        batch = images.images[start:stop]
        return network(preprocess(batch[:, :, ::-1] if mirrored else batch, preprocessing_carried_by(model), device=device))

    count = len(images)
    first = min(BATCH, count)
    probe, flops = count_flops(lambda: rows(0, first))
    dimension = probe.shape[1]
    row_bytes = 2 * dimension
    done, seconds = 0, 0.0
    record = folder / "progress.json"
    values = folder / "values.f16"
    if record.exists() and values.exists():
        state = json.loads(record.read_text())
        if values.stat().st_size >= state["rows"] * row_bytes:
            done, seconds = state["rows"], state["seconds"]
    if not done:
        require_space(folder, row_bytes * count, what)
    with progress.track(what, count, "images") as bar, open(values, "r+b" if done else "wb") as file:
        bar.done = float(done)
        file.seek(done * row_bytes)
        file.truncate()
        while done < count:
            start = time.perf_counter()
            stop = min(done + _CHUNK, count)
            for begin in range(done, stop, BATCH):
                end = min(begin + BATCH, stop)
                block = rows(begin, end).clamp(-65504, 65504).to(torch.float16).cpu().numpy()
                file.write(block.tobytes())
                bar.advance(end - begin)
            file.flush()
            os.fsync(file.fileno())
            done, seconds = stop, seconds + time.perf_counter() - start
            write_json(record, {"rows": done, "seconds": seconds})
    write_json(folder / "meta.json", {"key": json.loads(json.dumps(parts, default=vars)), "dimension": dimension,
                                      "seconds": seconds, "flops": round(flops / first * count)})  # fmt: skip
    record.unlink(missing_ok=True)
