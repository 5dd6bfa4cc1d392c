"""Published datasets whose decoded arrays have known SHA-256 values, wherever their files came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.data import arrays, download
from headstart.errors import DataError, DownloadError
from headstart.runtime.progress import say
from headstart.types import Dataset

Arrays = dict[str, NDArray[np.uint8]]  # train_images, train_labels, test_images, test_labels


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """How a dataset is named, known and made.

    sha256: of the decoded arrays in C order, by their names in Arrays: images uint8 (N, H, W, 3), labels
    uint8 (N,). decoded: fetches and decodes it, and says where it was taken from."""

    name: str
    title: str
    publisher: str
    class_names: tuple[str, ...]
    sha256: Mapping[str, str]
    decoded: Callable[[], tuple[Arrays, str]]

    @property
    def folder(self) -> Path:
        """Where it lies in the cache."""
        return store.cache_folder() / "datasets" / self.name

    def load(self) -> Dataset:
        """The dataset, images memory-mapped; fetched the first time, damaged arrays are built again.

        Raises: DownloadError where no source can be reached; DataError where decoded arrays are others;
        StoreError where the cache cannot be written."""
        try:
            return arrays.read_dataset(self.folder)
        except DataError:
            return self._build(arrays.read_dataset)

    def fetch(self) -> Dataset:
        """The dataset after verifying every byte of the cached arrays; built again where one is wrong."""
        try:
            return self.verify()
        except DataError:
            return self._build(self._verified)

    def verify(self) -> Dataset:
        """The cached dataset after hashing every byte; nothing is fetched.

        Raises: DataError where it is not in the cache or damaged; the message names the command that repairs
        it."""
        try:
            return self._verified(self.folder)
        except DataError as error:
            raise DataError(f"{error}; run `headstart data fetch {self.name}`") from error

    def _verified(self, folder: Path) -> Dataset:
        stored = arrays.verify_dataset(folder)
        self._check(
            {
                "train_images": stored.train.images,
                "train_labels": stored.train.labels.astype(np.uint8),
                "test_images": stored.test.images,
                "test_labels": stored.test.labels.astype(np.uint8),
            },
            str(folder),
        )
        return stored

    def _build(self, read: Callable[[Path], Dataset]) -> Dataset:
        """Fetches, decodes and stores it. A lock lets the second of two processes read what the first has
        stored."""
        folder = self.folder
        with download.wait_for_lock(
            folder.with_name(f"{folder.name}.lock"),
            f"the {self.title} cache",
            f"waiting for another headstart process that prepares {self.title}",
        ):
            try:
                return read(folder)
            except DataError as error:
                if folder.exists():
                    say(f"{error}; building {self.title} again")
            decoded, origin = self.decoded()
            self._check(decoded, origin)
            train, test = (
                arrays.image_set(
                    decoded[f"{part}_images"], decoded[f"{part}_labels"].astype(np.int64), self.class_names
                )
                for part in ("train", "test")
            )
            source = f"{self.publisher}; taken from {origin}"
            arrays.write_dataset(folder, arrays.dataset(self.name, self.title, source, train, test))
            return arrays.read_dataset(folder)

    def _check(self, decoded: Arrays, origin: str) -> None:
        for name, expected in self.sha256.items():
            sha256 = arrays.array_hash(decoded[name])
            if sha256 != expected:
                raise DataError(
                    f"{self.title} from {origin}: {name.replace('_', ' ')} have SHA-256 {sha256[:12]}..., "
                    f"not the expected {expected[:12]}..."
                )


def first_of(title: str, sources: Mapping[str, Callable[[], Arrays]]) -> tuple[Arrays, str]:
    """What the first source gives that can be reached, and that source's title.

    title: of the dataset. sources: titles to functions that fetch and decode.
    Raises: DownloadError where none can be reached, with every reason."""
    reasons: list[str] = []
    for origin, decoded in sources.items():
        try:
            return decoded(), origin
        except DownloadError as error:
            reasons.append(str(error))
            if len(reasons) < len(sources):
                say(f"{title}: {str(error).partition('; ')[0]}; trying the next source")
    raise DownloadError(f"{title} could not be fetched: " + " | ".join(reasons))
