"""Copies of a picture are found however they were saved; different pictures are not taken for copies."""

from __future__ import annotations

import io
import itertools
import re
from contextlib import nullcontext

import numpy as np
import pytest
import scipy.fft
from PIL import Image, ImageEnhance

from headstart.data import duplicates, load_dataset
from headstart.runtime.progress import Track


@pytest.fixture(scope="module")
def photos():
    """1,000 real CIFAR-10 training images."""
    return load_dataset("cifar10").train.images[:1000]


def test_equal_images_form_groups_in_the_order_of_their_first():
    images = np.zeros((6, 4, 4, 3), np.uint8)
    images[[1, 4]] = 7
    images[5] = 9
    assert [group.tolist() for group in duplicates.exact_groups(images)] == [[0, 2, 3], [1, 4]]


def test_equal_digests_form_groups():
    assert [group.tolist() for group in duplicates.exact_groups(["b", "a", "b", "c"])] == [[0, 2]]
    assert duplicates.exact_groups([]) == []


def test_hash_is_the_signs_of_scipys_cosine_transform_around_their_median(photos):
    given = photos[17]
    grey = given.astype(float) @ [0.299, 0.587, 0.114]
    waves = scipy.fft.dctn(grey, norm="ortho")[1:9, 1:9].ravel()
    expected = int("".join("1" if wave > np.median(waves) else "0" for wave in waves), 2)
    found = duplicates.perceptual_hashes(photos[10:20])
    assert found.dtype == np.uint64 and int(found[7]) == expected


def test_no_images_have_no_hashes_and_no_pairs():
    none = np.zeros((0, 32, 32, 3), np.uint8)
    assert duplicates.perceptual_hashes(none).shape == (0,)
    assert duplicates.near_duplicates(none).shape == (0, 2)


def test_every_step_of_a_long_search_says_how_far_it_is(photos, monkeypatch, capsys):
    monkeypatch.setattr("headstart.runtime.progress._LOG_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(duplicates, "_CHUNK", 300)
    duplicates.near_duplicates(np.concatenate([photos, photos[:500]]))
    said = capsys.readouterr().err
    assert "hashing images: 900 of 1,500 images, 0 s left" in said
    assert re.search(r"comparing hashes: 1 of 1 million pairs, \d+ s left", said)
    assert re.search(r"comparing near images: 300 of \d+ pairs, 0 s left", said)


def test_progress_among_many_hashes_counts_to_what_was_expected(monkeypatch):
    monkeypatch.setattr(duplicates, "_BANDED_FROM", 100)
    monkeypatch.setattr(
        duplicates, "track", lambda *words: opened.append(Track(*words)) or nullcontext(opened[-1])
    )
    opened: list[Track] = []
    duplicates.near_pairs(np.random.default_rng(0).integers(0, 2**64, 300, np.uint64))
    (bar,) = opened
    assert bar.done == pytest.approx(bar.total) and bar.total > 0


@pytest.mark.parametrize("count", [1, 2, 300, 5000])
def test_pairs_are_those_that_counting_bits_finds(count):
    rng = np.random.default_rng(3)
    hashes = rng.integers(0, 2**64, count, np.uint64)
    for place in range(0, count - 1, 7):  # a few near ones
        hashes[place] = hashes[count - 1 - place] ^ np.uint64(1 << (place % 64))
    if count <= 300:
        expected = [
            [a, b]
            for a, b in itertools.combinations(range(count), 2)
            if (int(hashes[a]) ^ int(hashes[b])).bit_count() <= 3
        ]
    else:  # one row at a time
        expected = [
            [a, a + 1 + int(b)]
            for a in range(count)
            for b in np.flatnonzero(np.bitwise_count(hashes[a + 1 :] ^ hashes[a]) <= 3)
        ]
    found = duplicates.near_pairs(hashes, 3)
    assert found.dtype == np.int64 and found.tolist() == expected
    assert len(expected) > count // 20 or count < 3


@pytest.mark.parametrize("distance", [3, 12])
def test_bands_of_bits_miss_no_pair(monkeypatch: pytest.MonkeyPatch, distance: int) -> None:
    """The way of many hashes finds what comparing all of them finds, on hashes of which many are near."""
    rng = np.random.default_rng(5)
    hashes = rng.integers(0, 2**64, 1500, np.uint64)
    for _ in range(500):  # near some other one, by up to 14 bits anywhere
        bits = rng.choice(64, rng.integers(0, 15), replace=False)
        changed = int(hashes[rng.integers(0, 1500)]) ^ sum(1 << int(bit) for bit in bits)
        hashes[rng.integers(0, 1500)] = np.uint64(changed)
    hashes[:40] = hashes[0]  # a key with many items
    expected = duplicates.near_pairs(hashes, distance)
    assert len(expected) > 900
    monkeypatch.setattr(duplicates, "_BANDED_FROM", 0)
    monkeypatch.setattr(duplicates, "_ROWS", 16)
    found = duplicates.near_pairs(hashes, distance)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)


def _saved_again(image: Image.Image, how: str) -> Image.Image:
    width, height = image.size
    if how.startswith("jpeg"):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(how[4:]))
        return Image.open(file).convert("RGB")
    if how == "resized":
        return image.resize((width * 3 // 4, height * 3 // 4), Image.Resampling.BICUBIC)
    if how == "cropped":
        return image.crop((width // 32, height // 32, width - width // 32, height - height // 32))
    assert how == "brighter"
    return ImageEnhance.Brightness(image).enhance(1.15)


@pytest.mark.parametrize("how", ["jpeg60", "jpeg90", "resized", "brighter"])
def test_a_picture_saved_again_is_found(photos, how):
    large = [Image.fromarray(image).resize((128, 128), Image.Resampling.BICUBIC) for image in photos[:200]]
    again = np.stack(
        [np.asarray(_saved_again(image, how).resize((128, 128), Image.Resampling.BICUBIC)) for image in large]
    )
    both = np.concatenate([np.stack([np.asarray(image) for image in large]), again])
    found = {tuple(pair) for pair in duplicates.near_duplicates(both).tolist()}
    recalled = sum((place, place + 200) in found for place in range(200))
    assert recalled >= 198
    assert len(found) == recalled


def test_different_photos_are_not_taken_for_copies(photos):
    assert duplicates.near_duplicates(photos).tolist() == []


def test_flat_pictures_are_compared_by_their_colour():
    flat = np.zeros((3, 32, 32, 3), np.uint8)
    flat[0], flat[1], flat[2] = (100, 0, 7), (125, 0, 7), (101, 0, 7)
    assert duplicates.near_duplicates(flat).tolist() == [[0, 2]]


def test_chains_of_pairs_are_one_group():
    pairs = np.array([[1, 4], [4, 5], [0, 2]])
    assert duplicates.components(pairs, 6).tolist() == [0, 1, 0, 2, 1, 1]
    assert duplicates.components(np.zeros((0, 2), np.int64), 3).tolist() == [0, 1, 2]
