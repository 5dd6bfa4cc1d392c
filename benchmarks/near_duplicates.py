"""Count the near duplicates that are detected, and the pairs of different images that are taken for one: the
table in duplicates.py.

    python benchmarks/near_duplicates.py            # CIFAR-10 from the cache, scikit-image's photos; a few
    minutes on one core

Images are CIFAR-10 training images enlarged to 128 px, and photos cut into 256 px tiles; each is saved again
in eight ways. False pairs are counted among CIFAR-10 training images as they are (its real near duplicates
are among them).
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from headstart.data import duplicates, load_dataset

Change = Callable[[Image.Image], Image.Image]


def jpeg(quality: int) -> Change:
    def change(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file).convert("RGB")

    return change


def crop(share: float) -> Change:
    def change(image: Image.Image) -> Image.Image:
        cut = round(share * image.width)
        return image.crop((cut, cut, image.width - cut, image.height - cut))

    return change


def shift(share: float) -> Change:
    return lambda image: image.crop((round(share * image.width), 0, image.width, image.height))


CHANGES: dict[str, Change] = {
    "JPEG q90": jpeg(90),
    "JPEG q60": jpeg(60),
    "resized to 3/4": lambda i: i.resize((i.width * 3 // 4, i.height * 3 // 4)),
    "crop 2 % a side": crop(0.02),
    "crop 4 % a side": crop(0.04),
    "left 4 % cut off": shift(0.04),
    "brightness x 1.2": lambda i: ImageEnhance.Brightness(i).enhance(1.2),
    "contrast x 0.8, JPEG q75": lambda i: jpeg(75)(ImageEnhance.Contrast(i).enhance(0.8)),
}


def photo_tiles() -> list[Image.Image]:
    """Colour photos of scikit-image, cut into tiles of 256 px that do not overlap."""
    from skimage import data

    tiles = []
    for name in (
        "astronaut",
        "chelsea",
        "coffee",
        "rocket",
        "hubble_deep_field",
        "retina",
        "immunohistochemistry",
    ):
        photo = getattr(data, name)()[..., :3]
        tiles += [
            Image.fromarray(np.ascontiguousarray(photo[y : y + 256, x : x + 256]))
            for y in range(0, photo.shape[0] - 255, 256)
            for x in range(0, photo.shape[1] - 255, 256)
        ]
    return tiles


def recall(images: list[Image.Image]) -> None:
    small = duplicates.small_versions
    before = np.concatenate([small(np.asarray(image)[None]) for image in images])
    hashes = duplicates.perceptual_hashes(before)
    pairs = np.stack([np.arange(len(images)), np.arange(len(images)) + len(images)], axis=1)
    for name, change in CHANGES.items():
        after = np.concatenate([small(np.asarray(change(image))[None]) for image in images])
        distance = np.bitwise_count(hashes ^ duplicates.perceptual_hashes(after))
        both = np.concatenate([before, after])
        shares = []
        for most in (8, 12, 14):
            near = distance <= most
            shares += [near.mean(), (near & duplicates.confirmed(both, pairs)).mean()]
        print(f"{name:26s}" + "".join(f" {100 * share:6.1f}" for share in shares))


def false_pairs(images: NDArray[np.uint8]) -> None:
    start = time.perf_counter()
    hashes = duplicates.perceptual_hashes(images)
    hashed = time.perf_counter()
    for most in (8, 12, 14):
        begun = time.perf_counter()
        pairs = duplicates.near_pairs(hashes, most)
        paired = time.perf_counter()
        kept = pairs[duplicates.confirmed(images, pairs)]
        print(
            f"distance <= {most}: {len(pairs):,} pairs, {len(kept):,} confirmed; hashing "
            f"{hashed - start:.1f} s, "
            f"pairs {paired - begun:.1f} s, confirming {time.perf_counter() - paired:.1f} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--images", type=int, default=2000, help="CIFAR-10 images whose copies are looked for"
    )
    parser.add_argument(
        "--among", type=int, default=50_000, help="CIFAR-10 images among which false pairs are counted"
    )
    options = parser.parse_args()
    train = load_dataset("cifar10").train.images
    print(f"{'recall, %':26s}  hash8   both  hash12   both hash14   both")
    print(f"-- {options.images:,} CIFAR-10 images at 128 px")
    recall(
        [
            Image.fromarray(image).resize((128, 128), Image.Resampling.BICUBIC)
            for image in train[: options.images]
        ]
    )
    tiles = photo_tiles()
    print(f"-- {len(tiles)} photo tiles of 256 px")
    recall(tiles)
    print(f"-- among {options.among:,} CIFAR-10 images")
    false_pairs(train[: options.among])


if __name__ == "__main__":
    main()
