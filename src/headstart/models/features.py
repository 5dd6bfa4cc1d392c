"""Frozen layers run once: their pooled features or activations at a cut, cached on disk, memory-mapped,
shared by every trial.

One folder a set of features, named by a key that holds all that the values depend on:
    values.f16     float16 (N, D), or (N, H, W, C) at a cut inside the network; row i is image i, or the i-th
                   of those asked for
    progress.json  rows done so far, their SHA-256, seconds spent; an interrupted extraction is resumed from
    there meta.json      written last: what the key was made from, seconds, floating-point operations, size
    and SHA-256 of
                   the values, which are compared when a process reads them first
A damaged set is announced and computed again. A whole one is read without a lock: the cache may be read-only.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.errors import ConfigError
from headstart.models import int8
from headstart.models.feature_cache import read_meta, resumable, whole
from headstart.models.fused import fuse
from headstart.models.network import Network
from headstart.models.preprocessing import preprocess
from headstart.runtime import energy, progress
from headstart.runtime.cost import count_flops
from headstart.runtime.mapped import file_mapping, release_pages
from headstart.runtime.precision import gpu_uuid
from headstart.runtime.waiting import warn_of_spinning
from headstart.store import (
    cache_folder,
    digest,
    disk_errors,
    is_key,
    lock,
    require_space,
    write_json,
)
from headstart.types import Features, ImageSet

SCHEMA = 2  # raised when the same key would give other values
BATCH = 64  # part of the key through SCHEMA: a matrix product's bits may depend on the batch it is in
CHUNK = 1024  # rows between two progress records
# Of a network: shape and operations of a row by image height, width and cut. Counting takes 0.2 s a time.
_OUTLINES: WeakKeyDictionary[Network, dict[tuple[int, int, str], tuple[tuple[int, ...], int]]]
_OUTLINES = WeakKeyDictionary()

Rows = NDArray[np.float16]
# Of measuring how long extraction takes: seconds, and a batch on a CPU, whose rate hardly depends on it.
_ENOUGH_SECONDS, _TIMED_IMAGES = 1.0, 32


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """Features and what computing them once cost: seconds (cold), flops, joules (None where nothing measured
    them), and whether the cache had them."""

    features: Features
    seconds: float
    flops: int
    was_cached: bool
    joules: float | None = None


class RowSource(Protocol):
    """Other machines that compute rows."""

    def rows(self, start: int, stop: int) -> tuple[bytes, float]:
        """The rows from a whole number of chunks on, as FeatureRequest.rows has them there; and the seconds
        that they took."""


@dataclass(frozen=True, kw_only=True)
class _Runner:
    """run: normalised images float32 (B, 3, S, S) -> float32 (B, D), at an inner cut (B, H, W, C).

    seconds, images: what making it took, and the images that were passed through it for that."""

    run: Callable[[Tensor], Tensor]
    seconds: float = 0.0
    images: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class FrozenLayers:
    """A network up to a cut, in evaluation mode and one precision.

    network: not changed. precision: "bf16", "fp32" or "int8". cut: "pool", or an inner cut of the network:
    then values are (N, H, W, C).
    calibration: the training images, whichever images' features are wanted: int8 takes its ranges from them;
        the other precisions do without."""

    network: Network
    precision: str
    device: torch.device
    cut: str = "pool"
    calibration: ImageSet | None = None

    def row_function(self) -> Callable[[NDArray[np.uint8]], Rows]:
        """What is stored of a batch of images, as a function that stores nothing: uint8 (B, H, W, 3) ->
        float16 (B, ...).

        Batches of BATCH images give the bits that a FeatureRequest stores.
        Raises: ConfigError as FeatureRequest.extract."""
        run = self._runner().run
        return lambda images: self._rows(run, images)

    @torch.inference_mode()
    def seconds_per_image(self, images: ImageSet, batches: int = 3) -> float:
        """What extracting takes for an image, reading and writing apart: the median of a few batches, after
        one to warm up; of fewer where they take long."""
        run = self._runner().run
        count = _TIMED_IMAGES if self.device.type == "cpu" else BATCH
        seconds = []
        for _ in range(batches + 1):
            start = time.perf_counter()
            batch = np.array(images.images[:count])
            run(preprocess(batch, self.network.preprocessing, device=self.device)).cpu()
            seconds.append((time.perf_counter() - start) / len(batch))
            if len(seconds) > 1 and sum(seconds) * len(batch) > _ENOUGH_SECONDS:
                break
        return sorted(seconds[1:])[(len(seconds) - 1) // 2]

    @torch.no_grad()
    def outline(self, images: ImageSet) -> tuple[tuple[int, ...], int]:
        """Shape of one image's row, and floating-point operations of one image; from shapes alone, nothing
        is computed."""
        pixels = self.network.preprocessing.size_pixels
        height, width = (pixels, pixels) if pixels is not None else images.images.shape[1:3]
        outlines = _OUTLINES.setdefault(self.network, {})
        if (height, width, self.cut) not in outlines:
            shapes = _plain(copy.deepcopy(self.network).eval().to("meta"), self.cut, torch.float32)
            row, flops = count_flops(lambda: shapes(torch.empty(1, 3, height, width, device="meta")))
            outlines[height, width, self.cut] = tuple(row.shape[1:]), flops
        return outlines[height, width, self.cut]

    def _runner(self) -> _Runner:
        if self.precision == "int8":
            return self._int8_runner()
        # Weights cast once, not at every batch as autocast does: 225 against 215 images/s (96 px, 2 cores,
        # medians of 2).
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        frozen = self.network.frozen_copy().to(self.device).to(dtype).channels_last()
        fused = fuse(frozen, self.cut) if self.device.type == "cpu" else None
        return _Runner(run=_plain(frozen, self.cut, dtype) if fused is None else fused)

    def _int8_runner(self) -> _Runner:
        if self.device.type != "cpu" or self.cut != "pool":
            raise ConfigError(
                f"int8 features are pooled ones on the CPU, not {self.cut!r} on {self.device.type}; choose "
                "bf16 or fp32"
            )
        quantised = int8.load_int8(self.network, self.calibration)
        return _Runner(run=quantised.run, seconds=quantised.seconds, images=quantised.images)

    @torch.inference_mode()
    def _rows(self, run: Callable[[Tensor], Tensor], images: NDArray[np.uint8]) -> Rows:
        """What is stored of a batch."""
        rows = run(preprocess(images, self.network.preprocessing, device=self.device))
        return rows.clamp(-65504, 65504).to(torch.float16).contiguous().cpu().numpy()


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureRequest:
    """Features of images by frozen layers.

    ids: the images wanted, int64, sorted; None: all. mirrored: of their mirror images instead."""

    layers: FrozenLayers
    images: ImageSet
    ids: NDArray[np.int64] | None = None
    mirrored: bool = False

    def __len__(self) -> int:
        return len(self.images) if self.ids is None else len(self.ids)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All that the values depend on. Raises: ConfigError for int8 without onnxruntime or calibration."""
        layers = self.layers
        subset = (
            {} if self.ids is None else {"ids": hashlib.sha256(self.ids.astype("<i8").tobytes()).hexdigest()}
        )
        quantisation = {"int8": int8.identity(layers.calibration)} if layers.precision == "int8" else {}
        return (
            subset
            | quantisation
            | {
                "schema": SCHEMA,
                "weights": layers.network.weights_hash,
                "cut": layers.cut,
                "preprocessing": layers.network.preprocessing,
                "dataset": self.images.fingerprint,
                "mirrored": self.mirrored,
                "precision": layers.precision,
                "device": layers.device.type,
                "torch": torch.__version__.split("+")[0],
            }
        )

    @property
    def key(self) -> str:
        """SHA-256 (hex) of the identity; it begins with the name of the cache folder."""
        return digest(self.identity)

    @property
    def total_bytes(self) -> int:
        """Bytes of all rows."""
        shape, _ = self.layers.outline(self.images)
        return 2 * int(np.prod(shape)) * len(self)

    def missing_bytes(self) -> int:
        """Bytes that `extract` would still write; 0 where the cache has them all."""
        folder = _folder(self.key)
        if (folder / "meta.json").exists():
            return 0
        written = (folder / "values.f16").stat().st_size if (folder / "progress.json").exists() else 0
        return max(0, self.total_bytes - written)

    def rows(self, start: int, stop: int) -> Iterator[bytes]:
        """The rows of some images as they are stored, a batch at a time; start: a multiple of BATCH, so that
        the bits are those of a whole extraction. Costs of int8's calibration are not counted."""
        return self._rows_by(self.layers._runner().run, start, stop)

    def extract(self, what: str = "features", source: RowSource | None = None) -> Extraction:
        """The features, from the cache or computed now (resumed where a run was interrupted).

        what: the name of the progress line. source: computes the rows; None: this process does. What
        calibrating int8 costs is in the seconds and flops of the calibration images' own features (all of
        them, not mirrored) and in no others.
        Raises: StoreError where the disk is full; ConfigError for int8 without onnxruntime or calibration, on
            another device than the CPU, at an inner cut, or of another network than a ResNet."""
        key = self.key
        folder = _folder(key)
        meta, was_cached = whole(folder), True
        if meta is None:
            with lock(folder / "lock", f"the feature cache {folder.name}", wait_seconds=24 * 3600):
                meta = whole(folder)  # another process may have computed it meanwhile
                if meta is None:
                    was_cached = False
                    (folder / "meta.json").unlink(missing_ok=True)
                    with disk_errors(folder):
                        self._compute(folder, what, source)
                    meta = read_meta(folder)
        values = np.memmap(folder / "values.f16", dtype=np.float16, mode="r", shape=(len(self), *meta.shape))
        labels = self.images.labels if self.ids is None else self.images.labels[self.ids]
        return Extraction(
            features=Features(values=values, labels=labels, key=key),
            seconds=meta.seconds,
            flops=meta.flops,
            was_cached=was_cached,
            joules=meta.joules,
        )

    def _batch(self, start: int, stop: int) -> NDArray[np.uint8]:
        images = self.images.images
        batch = images[start:stop] if self.ids is None else images[self.ids[start:stop]]
        return batch[:, :, ::-1] if self.mirrored else batch

    def _rows_by(self, run: Callable[[Tensor], Tensor], start: int, stop: int) -> Iterator[bytes]:
        for begin in range(start, stop, BATCH):
            yield self.layers._rows(run, self._batch(begin, min(begin + BATCH, stop))).tobytes()

    def _pays_for_calibration(self) -> bool:
        calibration = self.layers.calibration
        return (
            calibration is not None
            and self.images.fingerprint == calibration.fingerprint
            and self.ids is None
            and not self.mirrored
        )

    def _compute(self, folder: Path, what: str, source: RowSource | None) -> None:
        warn_of_spinning()
        runner = self.layers._runner() if source is None else None
        paid = runner if self._pays_for_calibration() else None
        mapping = file_mapping(self.images.images)
        shape, flops = self.layers.outline(self.images)
        count, row_bytes = len(self), 2 * int(np.prod(shape))
        record, values = folder / "progress.json", folder / "values.f16"
        done, seconds, content = resumable(record, values, row_bytes) or (
            0,
            paid.seconds if paid else 0.0,
            hashlib.sha256(),
        )
        if not done:
            require_space(folder, row_bytes * count, what)
        is_whole = not done  # what an interrupted run took is recorded in seconds, not in joules
        meter = energy.Meter(energy.counters(gpu_uuid(self.layers.device)))
        with (
            meter,
            progress.track(what, count, "images") as bar,
            open(values, "r+b" if done else "wb") as file,
        ):
            bar.done = float(done)
            file.seek(done * row_bytes)
            file.truncate()
            while done < count:
                start, elsewhere = time.perf_counter(), None
                stop = min(done + CHUNK, count)
                if source is not None:
                    content_there, elsewhere = source.rows(done, stop)
                    batches = iter([content_there])
                elif runner is not None:
                    batches = self._rows_by(runner.run, done, stop)
                for rows in batches:
                    content.update(rows)
                    file.write(rows)
                    bar.advance(len(rows) // row_bytes)
                file.flush()
                os.fsync(file.fileno())
                release_pages(mapping)
                seconds += time.perf_counter() - start if elsewhere is None else elsewhere
                done = stop
                write_json(record, {"rows": done, "seconds": seconds, "sha256": content.hexdigest()})
        write_json(
            folder / "meta.json",
            {
                "key": json.loads(json.dumps(self.identity, default=vars)),
                "shape": shape,
                "seconds": seconds,
                "flops": flops * (count + (paid.images if paid else 0)),
                "joules": meter.joules if is_whole else None,
                "values": {"bytes": row_bytes * count, "sha256": content.hexdigest()},
            },
        )
        record.unlink(missing_ok=True)


def cached_values(key: str) -> Rows | None:
    """The features of that key (types.Features.key), memory-mapped, where the cache has them whole."""
    folder = _folder(key)
    meta = whole(folder) if is_key(key) else None
    if meta is None:
        return None
    values = np.memmap(folder / "values.f16", dtype=np.float16, mode="r")
    return values.reshape(-1, *meta.shape)


def files_of(key: str) -> tuple[Path, Path]:
    """Where the cache has the features of that key: values, then what is said of them."""
    return _folder(key) / "values.f16", _folder(key) / "meta.json"


def _folder(key: str) -> Path:
    return cache_folder() / "features" / key[:32]


def _plain(frozen: Network, cut: str, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        if cut == "pool":
            return frozen.forward_features(x.to(dtype)).float()
        return frozen.forward_to(x.to(dtype), cut).float().permute(0, 2, 3, 1)

    return run
