"""Load datasets by name, and a user's own images: load_dataset takes both, load_images has more options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from headstart import plugins
from headstart.data import cifar10, fashion_mnist
from headstart.data.folders.dataset import load_images
from headstart.data.folders.find import find_entries
from headstart.data.folders.options import SourceOptions
from headstart.data.folders.size import own_side, side_of
from headstart.errors import ConfigError, unknown_name
from headstart.runtime.progress import say_once
from headstart.store.toml import read_toml
from headstart.types import Dataset

_SMALLEST = 32  # pixels that images are stored at


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A dataset by its name. title: a line for `headstart list`. load: the dataset, fetched where needed.

    fetch: as load, but with every byte verified and mended; None: load does that. verify: checks the cached
    copy without the network, for `headstart doctor`; raises DataError where it is missing or damaged; None:
    there is nothing to check. folder: where it lies once it is fetched; doctor passes over what never was;
    None: it is always looked for.
    """

    title: str
    load: Callable[[], Dataset]
    fetch: Callable[[], Dataset] | None = None
    verify: Callable[[], Dataset] | None = None
    folder: Callable[[], Path] | None = None


DATASETS: dict[str, DatasetSpec] = {
    "cifar10": DatasetSpec(
        title=cifar10.TITLE,
        load=cifar10.load_cifar10,
        fetch=cifar10.fetch_cifar10,
        verify=cifar10.verify_cifar10,
    ),
    "fashion-mnist": DatasetSpec(
        title=fashion_mnist.TITLE,
        load=fashion_mnist.PINNED.load,
        fetch=fashion_mnist.PINNED.fetch,
        verify=fashion_mnist.PINNED.verify,
        folder=lambda: fashion_mnist.PINNED.folder,
    ),
}


def is_dataset(name: str) -> bool:
    """Whether a dataset has that name: one of DATASETS or of an installed package."""
    return plugins.is_known("dataset", name, DATASETS)


def dataset_spec(name: str) -> DatasetSpec:
    """The entry of DATASETS, or that of an installed package. Raises: ConfigError for an unknown name."""
    try:
        return plugins.look_up("dataset", name, DATASETS, DatasetSpec)
    except ConfigError as error:
        if is_dataset(name):  # a package's, which is at fault itself
            raise
        place = Path(name).expanduser().absolute()
        raise ConfigError(f"{error}; nor is there a folder, zip or table of images at {place}") from None


def load_dataset(name_or_path: str | Path, *, image_pixels: int | None = None) -> Dataset:
    """Load a dataset by its name in DATASETS, or a user's own images from a folder or a table.

    Images: as load_images reads them. image_pixels: the size that they are brought to; None: one that fits
    them (folders/size.py), which is said where it is not 32. A named dataset has its own. A .toml file holds
    the arguments of load_images, `path` among them: images with their options under one name, as `headstart
    advise` writes it.

    Examples:
        >>> dataset = headstart.load_dataset("cifar10")
        >>> dataset.train.images.shape, dataset.train.class_names[:3]
        ((50000, 32, 32, 3), ('airplane', 'automobile', 'bird'))

    Raises: ConfigError for a name that is neither; DataError, DownloadError, StoreError as the dataset's own
    loader.
    """
    name = str(name_or_path)
    if is_dataset(name):
        return dataset_spec(name).load()
    path = Path(name_or_path).expanduser()
    if path.is_file() and path.suffix.lower() == ".toml":
        return load_images(**_options_in(path))
    if path.is_dir() or (path.is_file() and path.suffix.lower() in (".csv", ".tsv", ".parquet", ".zip")):
        side = image_pixels
        if side is None:
            source = find_entries(path)
            side, own = side_of(source), own_side(source)
            if side != _SMALLEST or side != own:
                fits = "which fits their size" if side == own else f"not {own}, so that they take up to 1 GB"
                say_once(
                    f"{path}: images are stored at {side} x {side} pixels, {fits}; image_pixels in a "
                    "file images.toml sets another"
                )
        return load_images(path, image_pixels=side)
    if isinstance(name_or_path, Path) or len(path.parts) > 1 or path.exists():
        raise ConfigError(
            f"{path} is not a folder; give one with a sub-folder of images for each class, a table, or a "
            f"dataset of: {', '.join(sorted(DATASETS))}"
        )
    return dataset_spec(name).load()  # raises, with the names to choose from


def _options_in(path: Path) -> dict[str, Any]:
    """Read the arguments of load_images from a TOML file.

    Raises: ConfigError for a file that is damaged or names others."""
    _, options = read_toml(path, "images and their options")
    own = ("path", "image_pixels", "bad_files")
    allowed = (*own, *(each.name for each in fields(SourceOptions)))
    for name in options:
        if name not in allowed:
            raise unknown_name(f"option in {path}", name, allowed)
    if "path" not in options:
        raise ConfigError(f'{path} names no images; add path = "FOLDER"')
    given = {name: value for name, value in options.items() if name in own}
    others: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in options.items()
        if name not in own
    }
    if isinstance(decisions := others.get("decisions"), str):  # beside the description, wherever it is moved
        others["decisions"] = str(path.parent / decisions)
    return given | {"options": SourceOptions(**others)}
