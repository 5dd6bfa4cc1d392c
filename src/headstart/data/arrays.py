"""Store decoded datasets in the cache: plain .npy arrays, loaded memory-mapped, and meta.json written last.

    <folder>/train_images.npy  uint8 (N, H, W, 3)    train_labels.npy  int64 (N,)    test_*.npy likewise
             train_places.npy  int64 (N,), instead of images that lie decoded elsewhere: their rows there
    <folder>/meta.json         class names, source, fingerprints, and each file's size, time of change and
    SHA-256
A file of another size is damaged; one with another modification time (a copied cache) is hashed once to
decide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from headstart import store
from headstart.errors import DataError, StoreError
from headstart.runtime.mapped import IndexedRows, blocks, indexed
from headstart.store.hashes import CheckedFile, look_at, require_checked
from headstart.types import Dataset, ImageSet

SCHEMA = 1  # of meta.json
_ARRAYS: dict[str, type[np.uint8 | np.int64]] = {
    "train_images": np.uint8,
    "train_labels": np.int64,
    "test_images": np.uint8,
    "test_labels": np.int64,
}
_INDICES: dict[str, type[np.uint8 | np.int64]] = {
    name.replace("images", "places"): np.int64 for name in _ARRAYS
}


class _Prints(BaseModel):
    """Fingerprints in meta.json."""

    model_config = ConfigDict(strict=True)

    train: str
    test: str
    dataset: str


class _Meta(BaseModel):
    """meta.json."""

    model_config = ConfigDict(strict=True, populate_by_name=True)

    version: Annotated[int, Field(alias="schema", ge=SCHEMA, le=SCHEMA)] = SCHEMA
    name: str
    title: str
    source: str
    class_names: Annotated[list[str], Field(max_length=100_000)]
    fingerprints: _Prints
    files: dict[str, CheckedFile]


def image_set(images: NDArray[np.uint8], labels: NDArray[np.int64], class_names: Sequence[str]) -> ImageSet:
    """Make an ImageSet with its fingerprint: SHA-256 of shape, class names, images and labels.

    images: uint8 (N, H, W, 3), hashed in C order. labels: int64 (N,).
    """
    assert images.dtype == np.uint8 and images.ndim == 4 and images.shape[3] == 3, (
        images.dtype,
        images.shape,
    )
    assert labels.dtype == np.int64 and labels.shape == images.shape[:1], (labels.dtype, labels.shape)
    names = tuple(class_names)
    fingerprint = hashlib.sha256(
        store.digest([images.shape, names]).encode()
    )  # the bytes alone do not tell their shape
    for block in blocks(images):
        fingerprint.update(block.data)
    fingerprint.update(np.ascontiguousarray(labels).astype("<i8", copy=False).data)
    return ImageSet(images=images, labels=labels, class_names=names, fingerprint=fingerprint.hexdigest())


def dataset(name: str, title: str, source: str, train: ImageSet, test: ImageSet) -> Dataset:
    """Make a Dataset with its fingerprint: the digest of both sets' fingerprints."""
    return Dataset(
        name=name,
        title=title,
        source=source,
        train=train,
        test=test,
        fingerprint=store.digest([train.fingerprint, test.fingerprint]),
    )


def array_hash(array: NDArray[Any]) -> str:
    """SHA-256 (hex) of an array's bytes in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def write_dataset(folder: Path, value: Dataset) -> None:
    """Store a dataset; it counts as stored once meta.json is there. Of IndexedRows, the places are stored.

    Raises: StoreError where it cannot be written."""
    arrays = _arrays_of(value)
    needed = sum(array.nbytes for array in arrays.values())
    store.require_space(folder, needed + 10_000_000, f"the decoded {value.title}")
    (folder / "meta.json").unlink(missing_ok=True)
    files = {}
    for name, array in arrays.items():
        path = folder / f"{name}.npy"
        _write_array(path, array)
        files[path.name] = look_at(path).model_dump()
    store.write_sealed(
        folder / "meta.json",
        {
            "schema": SCHEMA,
            "name": value.name,
            "title": value.title,
            "source": value.source,
            "class_names": value.train.class_names,
            "fingerprints": {
                "train": value.train.fingerprint,
                "test": value.test.fingerprint,
                "dataset": value.fingerprint,
            },
            "files": files,
        },
    )


def _arrays_of(value: Dataset) -> dict[str, NDArray[Any]]:
    """What is stored of a dataset, by the names of _ARRAYS or _INDICES."""
    arrays: dict[str, NDArray[Any]] = {}
    is_indexed = isinstance(value.train.images, IndexedRows)
    for part, part_set in (("train", value.train), ("test", value.test)):
        images = part_set.images
        if isinstance(images, IndexedRows):
            arrays[f"{part}_places"] = images.places
        else:
            assert not is_indexed, "both parts are indexed, or none"
            arrays[f"{part}_images"] = images
        arrays[f"{part}_labels"] = part_set.labels
    return arrays


def read_dataset(folder: Path, decoded: NDArray[np.uint8] | None = None) -> Dataset:
    """Read a stored dataset; images memory-mapped, everything read-only.

    decoded: uint8 (M, H, W, 3), memory-mapped, what the places of a dataset without images of its own are
    rows of.
    Raises: DataError where it is missing, incomplete, truncated or altered (`store.hashes.require_checked`
    says when its bytes are hashed).
    """
    meta = _read_meta(folder)
    _require_files(folder, meta)
    arrays = {}
    for name, dtype in _types(meta).items():
        try:
            array = store.read_npy(folder / f"{name}.npy", mapped=name.endswith("images"))
        except StoreError as error:
            raise DataError(str(error)) from error
        if array.dtype != dtype:
            raise DataError(f"{folder / name}.npy holds {array.dtype}, not {np.dtype(dtype)}")
        arrays[name] = array
    names, prints = tuple(meta.class_names), meta.fingerprints
    train, test = (
        ImageSet(
            images=_images(arrays, part, decoded, folder),
            labels=_in_memory(arrays[f"{part}_labels"]),
            class_names=names,
            fingerprint=getattr(prints, part),
        )
        for part in ("train", "test")
    )
    return Dataset(
        name=meta.name,
        title=meta.title,
        source=meta.source,
        train=train,
        test=test,
        fingerprint=prints.dataset,
    )


def _types(meta: _Meta) -> Mapping[str, type[np.uint8 | np.int64]]:
    """The arrays that a dataset has, with their types."""
    return _INDICES if "train_places.npy" in meta.files else _ARRAYS


def _images(
    arrays: dict[str, NDArray[Any]], part: str, decoded: NDArray[np.uint8] | None, folder: Path
) -> NDArray[np.uint8]:
    if f"{part}_images" in arrays:
        return arrays[f"{part}_images"]
    places = arrays[f"{part}_places"]
    if decoded is None:
        raise DataError(f"{folder} holds no images of its own, and its decoded ones were not given")
    if len(places) and not 0 <= places.min() <= places.max() < len(decoded):
        raise DataError(f"{folder} is damaged: it names images that are not among the decoded ones")
    return indexed(decoded, places)


def verify_dataset(folder: Path) -> Dataset:
    """Read a stored dataset after recomputing every fingerprint from its bytes.

    Raises: DataError where one differs."""
    stored = read_dataset(folder)
    for part, part_set in (("training", stored.train), ("test", stored.test)):
        if (
            image_set(part_set.images, part_set.labels, part_set.class_names).fingerprint
            != part_set.fingerprint
        ):
            raise DataError(
                f"{folder}: the {part} images, labels or class names were altered (their SHA-256 is another)"
            )
    return stored


def _in_memory(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    copy = np.array(labels)
    copy.flags.writeable = False
    return copy


def _read_meta(folder: Path) -> _Meta:
    path = folder / "meta.json"
    if not path.is_file():
        raise DataError(f"{folder} holds no complete dataset")
    try:
        meta = store.read_as(_Meta, path)
    except StoreError as error:
        raise DataError(f"{error}") from error
    prints = meta.fingerprints
    if prints.dataset != store.digest([prints.train, prints.test]):
        raise DataError(f"{path} is damaged (its fingerprints are not of one dataset)")
    if set(meta.files) != {f"{name}.npy" for name in _types(meta)}:
        raise DataError(f"{path} was written by another version of headstart")
    return meta


def _require_files(folder: Path, meta: _Meta) -> None:
    """Compares the files with meta.json, and notes there what has been hashed."""
    try:
        files = {name: require_checked(folder / name, stored) for name, stored in meta.files.items()}
    except StoreError as error:
        raise DataError(str(error)) from error
    if files != meta.files:
        with suppress(StoreError):  # a cache that cannot be written is hashed each time
            noted = meta.model_copy(update={"files": files})
            store.write_sealed(folder / "meta.json", noted.model_dump(by_alias=True))


def _write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as store.write_bytes does, without a second copy of it in memory."""
    with store.replacing(path) as file:
        np.save(file, array, allow_pickle=False)
