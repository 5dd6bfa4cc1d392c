"""Images of a dataset written as a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from headstart.data.arrays import image_set
from headstart.data.as_folder import write_image_folder


def test_a_class_is_one_folder_whatever_its_name(tmp_path: Path) -> None:
    images = image_set(np.zeros((2, 4, 4, 3), np.uint8), np.array([0, 1]), ("T-shirt/top", "a\\b"))
    folder = write_image_folder(images, tmp_path, per_class=1)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png")) == [
        "T-shirt-top/000000.png",
        "a-b/000000.png",
    ]
