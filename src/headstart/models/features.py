"""Frozen layers run once: their pooled features or activations at a cut, cached on disk, memory-mapped,
shared by every trial.

One folder a set of features, named by a key that holds all that the values depend on:
    values.f16      float16 (N, D), or (N, H, W, C) at a cut inside the network; row i is image i, or the i-th
    of those asked for progress.json   rows done so far, seconds spent; an interrupted extraction goes on from
    there meta.json       written last: what the key was made from, seconds, floating-point operations
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.errors import ConfigError
from headstart.models import int8
from headstart.models.fused import fuse
from headstart.models.network import Network
from headstart.models.preprocess import preprocess
from headstart.runtime import energy, progress
from headstart.runtime.cost import count_flops
from headstart.runtime.mapped import file_mapping, release_pages
from headstart.runtime.precision import gpu_uuid
from headstart.store import cache_folder, digest, lock, read_json, require_space, write_json
from headstart.types import Features, ImageSet, Preprocessing

SCHEMA = 2  # raised when the same key would give other values
BATCH = 64  # part of the key through SCHEMA: a matrix product's bits may depend on the batch it is in
_CHUNK = 1024  # rows between two progress records
# Of a network: shape and operations of a row by image height, width and cut. Counting takes 0.2 s a time.
_OUTLINES: WeakKeyDictionary[nn.Module, dict[tuple[int, int, str], tuple[tuple[int, ...], int]]]
_OUTLINES = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """Features and what computing them once cost: seconds (cold), flops, joules (None where nothing measured
    them), and whether the cache had them."""

    features: Features
    seconds: float
    flops: int
    was_cached: bool
    joules: float | None = None


@dataclass(frozen=True, kw_only=True)
class _Network:
    """run: normalised images float32 (B, 3, S, S) -> float32 (B, D), at an inner cut (B, H, W, C).

    seconds, images: what making it took, and the images that were passed through it for that."""

    run: Callable[[Tensor], Tensor]
    seconds: float = 0.0
    images: int = 0


def feature_key(
    *,
    weights_hash: str,
    cut: str,
    preprocessing: Preprocessing,
    dataset_fingerprint: str,
    mirrored: bool,
    precision: str,
    device: torch.device,
    ids: NDArray[np.int64] | None = None,
    calibration: ImageSet | None = None,
) -> dict[str, Any]:
    """All that feature values depend on; its digest names the cache folder."""
    subset = {} if ids is None else {"ids": hashlib.sha256(ids.astype("<i8").tobytes()).hexdigest()}
    quantisation = {"int8": int8.identity(calibration)} if precision == "int8" else {}
    return (
        subset
        | quantisation
        | {
            "schema": SCHEMA,
            "weights": weights_hash,
            "cut": cut,
            "preprocessing": preprocessing,
            "dataset": dataset_fingerprint,
            "mirrored": mirrored,
            "precision": precision,
            "device": device.type,
            "torch": torch.__version__.split("+")[0],
        }
    )


def extract(
    model: Network,
    images: ImageSet,
    *,
    weights_hash: str,
    precision: str,
    device: torch.device,
    mirrored: bool = False,
    cut: str = "pool",
    ids: NDArray[np.int64] | None = None,
    calibration: ImageSet | None = None,
    what: str = "features",
) -> Extraction:
    """Features of the images, from the cache or computed now (resumed where a run was interrupted).

    model: has `forward_features` and `preprocessing`; not changed. precision: "bf16", "fp32" or "int8".
    cut: "pool", or a cut of models.resnet.ResNet: then the model has `forward_to` too, and values are (N, H,
    W, C).
    ids: the images wanted, int64, sorted; None: all.
    calibration: the training images, whichever images' features are asked for: int8 takes its ranges from
        them. What that costs is in the seconds and flops of their own features (all of them, not mirrored)
        and in no others.
    Raises: StoreError where the disk is full; ConfigError for int8 without onnxruntime or calibration, on
        another device than the CPU, at an inner cut, or of another network than a ResNet."""
    parts = feature_key(
        weights_hash=weights_hash,
        cut=cut,
        preprocessing=model.preprocessing,
        precision=precision,
        dataset_fingerprint=images.fingerprint,
        mirrored=mirrored,
        device=device,
        ids=ids,
        calibration=calibration,
    )
    key = digest(parts)
    folder = _folder(parts)
    with lock(folder / "lock", f"the feature cache {folder.name}", wait_seconds=24 * 3600):
        was_cached = (folder / "meta.json").exists()
        if not was_cached:
            network = _network(model, precision, device, cut, weights_hash, calibration)
            is_calibration = (
                calibration is not None and images.fingerprint == calibration.fingerprint and ids is None
            )
            spent = network if is_calibration and not mirrored else _Network(run=network.run)
            _compute(folder, spent, images, ids, parts, model, cut, mirrored, device, what)
        meta = read_json(folder / "meta.json")
    count = len(images) if ids is None else len(ids)
    values = np.memmap(folder / "values.f16", dtype=np.float16, mode="r", shape=(count, *meta["shape"]))
    features = Features(values=values, labels=images.labels if ids is None else images.labels[ids], key=key)
    return Extraction(
        features=features,
        seconds=meta["seconds"],
        flops=meta["flops"],
        was_cached=was_cached,
        joules=meta.get("joules"),
    )


def row_function(
    model: Network,
    *,
    precision: str,
    device: torch.device,
    weights_hash: str,
    cut: str = "pool",
    calibration: ImageSet | None = None,
) -> Callable[[NDArray[np.uint8]], NDArray[np.float16]]:
    """What `extract` stores of a batch of images, as a function that stores nothing: uint8 (B, H, W, 3) ->
    float16 (B, ...).

    Batches of BATCH images give the bits that `extract` would. Arguments and errors: as `extract`."""
    run = _network(model, precision, device, cut, weights_hash, calibration).run
    return lambda images: _rows(run, images, model.preprocessing, device)


def cached_values(key: str) -> NDArray[np.float16] | None:
    """The features of that key (types.Features.key), memory-mapped, where the cache has them whole."""
    folder = cache_folder() / "features" / key[:32]
    if not (folder / "meta.json").exists():
        return None
    shape = read_json(folder / "meta.json")["shape"]
    values = np.memmap(folder / "values.f16", dtype=np.float16, mode="r")
    return values.reshape(-1, *shape)


def missing_bytes(
    model: Network,
    images: ImageSet,
    *,
    weights_hash: str,
    precision: str,
    device: torch.device,
    mirrored: bool = False,
    cut: str = "pool",
    ids: NDArray[np.int64] | None = None,
    calibration: ImageSet | None = None,
) -> int:
    """Bytes that `extract` with the same arguments would still write; 0 where the cache has them all."""
    preprocessing = model.preprocessing
    folder = _folder(
        feature_key(
            weights_hash=weights_hash,
            cut=cut,
            preprocessing=preprocessing,
            precision=precision,
            ids=ids,
            dataset_fingerprint=images.fingerprint,
            mirrored=mirrored,
            device=device,
            calibration=calibration,
        )
    )
    if (folder / "meta.json").exists():
        return 0
    shape, _ = outline(model, images, cut)
    written = (folder / "values.f16").stat().st_size if (folder / "progress.json").exists() else 0
    return max(0, 2 * int(np.prod(shape)) * (len(images) if ids is None else len(ids)) - written)


@torch.inference_mode()
def seconds_per_image(
    model: Network,
    images: ImageSet,
    *,
    weights_hash: str,
    precision: str,
    device: torch.device,
    cut: str = "pool",
    batches: int = 3,
) -> float:
    """What `extract` would take for an image, reading and writing apart: the median of a few batches, after
    one to warm up.

    images: of the kind asked about; they calibrate int8 too (that network is kept)."""
    network = _network(model, precision, device, cut, weights_hash, images if precision == "int8" else None)
    took = []
    for _ in range(batches + 1):
        start = time.perf_counter()
        batch = np.array(images.images[:BATCH])
        network.run(preprocess(batch, model.preprocessing, device=device)).cpu()
        took.append((time.perf_counter() - start) / len(batch))
    return sorted(took[1:])[batches // 2]


def _folder(parts: dict[str, Any]) -> Path:
    return cache_folder() / "features" / digest(parts)[:32]


@torch.no_grad()
def outline(model: Network, images: ImageSet, cut: str) -> tuple[tuple[int, ...], int]:
    """Shape of one image's row, and floating-point operations of one image; from shapes alone, nothing is
    computed."""
    pixels = model.preprocessing.size_pixels
    height, width = (pixels, pixels) if pixels is not None else images.images.shape[1:3]
    outlines = _OUTLINES.setdefault(model, {})
    if (height, width, cut) not in outlines:
        shapes = _plain(copy.deepcopy(model).eval().to("meta"), cut, torch.float32)
        row, flops = count_flops(lambda: shapes(torch.empty(1, 3, height, width, device="meta")))
        outlines[height, width, cut] = tuple(row.shape[1:]), flops
    return outlines[height, width, cut]


def _network(
    model: Network,
    precision: str,
    device: torch.device,
    cut: str,
    weights_hash: str,
    calibration: ImageSet | None,
) -> _Network:
    """The network in evaluation mode, in that precision."""
    if precision == "int8":
        if device.type != "cpu" or cut != "pool":
            raise ConfigError(
                f"int8 features are pooled ones on the CPU, not {cut!r} on {device.type}; choose bf16 or fp32"
            )
        assert calibration is not None  # feature_key asked for it
        quantised = int8.load_int8(model, calibration, weights_hash=weights_hash)
        return _Network(
            run=quantised.run, seconds=quantised.seconds, images=len(int8.calibration_ids(len(calibration)))
        )
    # Weights cast once, not at every batch as autocast does: 225 against 215 images/s (96 px, 2 cores,
    # medians of 2).
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    frozen = model.frozen_copy().to(device).to(dtype).channels_last()
    fused = fuse(frozen, cut) if device.type == "cpu" else None
    return _Network(run=_plain(frozen, cut, dtype) if fused is None else fused)


def _plain(frozen: Network, cut: str, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        if cut == "pool":
            return frozen.forward_features(x.to(dtype)).float()
        return frozen.forward_to(x.to(dtype), cut).float().permute(0, 2, 3, 1)

    return run


@torch.inference_mode()
def _rows(
    run: Callable[[Tensor], Tensor],
    images: NDArray[np.uint8],
    preprocessing: Preprocessing,
    device: torch.device,
) -> NDArray[np.float16]:
    """What is stored of a batch."""
    rows = run(preprocess(images, preprocessing, device=device))
    return rows.clamp(-65504, 65504).to(torch.float16).contiguous().cpu().numpy()


@torch.inference_mode()
def _compute(
    folder: Path,
    network: _Network,
    images: ImageSet,
    ids: NDArray[np.int64] | None,
    parts: dict[str, Any],
    model: Network,
    cut: str,
    mirrored: bool,
    device: torch.device,
    what: str,
) -> None:
    def rows(start: int, stop: int) -> NDArray[np.float16]:
        batch = images.images[start:stop] if ids is None else images.images[ids[start:stop]]
        return _rows(network.run, batch[:, :, ::-1] if mirrored else batch, model.preprocessing, device)

    count = len(images) if ids is None else len(ids)
    mapping = file_mapping(images.images)
    shape, flops = outline(model, images, cut)
    row_bytes = 2 * int(np.prod(shape))
    done, seconds = 0, network.seconds
    record = folder / "progress.json"
    values = folder / "values.f16"
    if record.exists() and values.exists():
        state = json.loads(record.read_text())
        if values.stat().st_size >= state["rows"] * row_bytes:
            done, seconds = state["rows"], state["seconds"]
    if not done:
        require_space(folder, row_bytes * count, what)
    whole = not done  # what an interrupted run took is known in seconds, not in joules
    meter = energy.Meter(energy.counters(gpu_uuid(device)))
    with meter, progress.track(what, count, "images") as bar, open(values, "r+b" if done else "wb") as file:
        bar.done = float(done)
        file.seek(done * row_bytes)
        file.truncate()
        while done < count:
            start = time.perf_counter()
            stop = min(done + _CHUNK, count)
            for begin in range(done, stop, BATCH):
                end = min(begin + BATCH, stop)
                file.write(rows(begin, end).tobytes())
                bar.advance(end - begin)
            file.flush()
            os.fsync(file.fileno())
            release_pages(mapping)
            done, seconds = stop, seconds + time.perf_counter() - start
            write_json(record, {"rows": done, "seconds": seconds})
    write_json(
        folder / "meta.json",
        {
            "key": json.loads(json.dumps(parts, default=vars)),
            "shape": shape,
            "seconds": seconds,
            "flops": flops * (count + network.images),
            "joules": meter.joules if whole else None,
        },
    )
    record.unlink(missing_ok=True)
