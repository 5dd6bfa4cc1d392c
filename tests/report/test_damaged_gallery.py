"""A gallery that is none is one line, not a page without its images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.synthetic_study import write_synthetic_study

from headstart import store
from headstart.errors import DamagedError
from headstart.report.load import load_study

IMAGES = np.zeros((3, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("ids", "images"),
    [
        (np.arange(3)[:, None], IMAGES),
        (np.arange(2), IMAGES),
        (np.arange(4), IMAGES),
        (np.arange(3), IMAGES[..., 0]),
        (np.arange(3), IMAGES[:, :0]),
        (np.arange(3), IMAGES.astype(np.float32)),
        (np.array(["a", "b", "c"]), IMAGES),
    ],
)
def test_images_without_an_id_each_are_one_line(tmp_path: Path, ids: np.ndarray, images: np.ndarray) -> None:
    study = write_synthetic_study(tmp_path / "study", arms=1, test_images=40, gallery=False)
    store.write_npz(study / "gallery.npz", {"ids": ids, "images": images})
    with pytest.raises(DamagedError, match=r"gallery.npz is damaged: it holds no images with an id each"):
        load_study(study)
