"""A folder of small images of noise: what needs files, and not what they show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def write_noise(root: Path, counts: Mapping[str, int], seed: int = 0) -> Path:
    """So many images of 16 x 16 pixels in each class folder; the root."""
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root
