"""Write images of a dataset as PNG files, a sub-folder for each class: to try what works on folders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headstart.errors import ConfigError, StoreError, unknown_name
from headstart.types import ImageSet


def write_image_folder(
    images: ImageSet, folder: str | Path, *, classes: Sequence[str] = (), per_class: int
) -> Path:
    """Write the first `per_class` images of each class and return the folder.

    classes: the names of some classes; empty: all. Existing files stay, so a second call with the same
    arguments changes nothing.

    Examples:
        >>> classes = ["cat", "ship"]
        >>> written = headstart.write_image_folder(dataset.train, "images", classes=classes, per_class=3)
        >>> sorted(str(path.relative_to(written)) for path in written.rglob("*.png"))[2:4]
        ['cat/000002.png', 'ship/000000.png']

    Raises: ConfigError for a class that is not there or has fewer images; StoreError where the folder cannot
    be written."""
    from PIL import Image

    target = Path(folder)
    names = list(images.class_names)
    for name in classes:
        if name not in names:
            raise unknown_name("class", name, names)
    try:
        for name in classes or names:
            places = np.flatnonzero(images.labels == names.index(name))
            if len(places) < per_class:
                raise ConfigError(
                    f"{per_class} images a class asked for, but {name!r} has {len(places)}; ask for fewer"
                )
            # "T-shirt/top" is one class, not a folder in another
            home = target / re.sub(r"[/\\\0]", "-", name)
            home.mkdir(parents=True, exist_ok=True)
            for number, place in enumerate(places[:per_class]):
                path = home / f"{number:06d}.png"
                if not path.exists():
                    Image.fromarray(np.asarray(images.images[place])).save(path)
    except OSError as error:
        raise StoreError(
            f"cannot write {target}: {error.strerror or error}; choose another folder"
        ) from error
    return target
