"""What images look like, and which names are series: each remark by an image that earns it."""

from __future__ import annotations

import random
import string
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from tests.support.deep_images import encoded

from headstart.data.folders import SourceOptions, decode_source, find_entries
from headstart.data_quality.inspect_folder import inspect
from headstart.types import Reading


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))


def _noise(seed: int, size=(24, 24)) -> Image.Image:
    rng = np.random.default_rng(seed)
    cells = rng.integers(60, 200, (4, 4, 3)).astype(np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


def _folder(root: Path, images) -> Path:
    for name, image in images:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image) if isinstance(image, bytes) else image.save(path)
    return root


def _remarks(folder: Path, fit="crop", **options):
    how = SourceOptions(fit=fit, **options)
    decoded = decode_source(find_entries(folder, **how.finding()), 24, reading=Reading(fit=fit))
    return {remark.code: remark for remark in inspect(decoded, alike=how.alike).remarks}


def _two_classes(change, count=12):
    return [
        (f"{c}/{n}.png", change(_noise(100 * k + n), k)) for k, c in enumerate("ab") for n in range(count)
    ]


def test_dark_blank_and_flat_images_are_counted(tmp_path):
    images = _two_classes(lambda image, k: image)
    images += [(f"a/dark{n}.png", Image.eval(_noise(900 + n), lambda v: v // 8)) for n in range(3)]
    images += [(f"b/blank{n}.png", Image.new("RGB", (24, 24), (9 + 40 * n, 0, 0))) for n in range(2)]
    images += [("b/flat.png", Image.eval(_noise(7), lambda v: 120 + v // 20))]
    found = _remarks(_folder(tmp_path / "p", images))
    assert found["nearly-black"].message.startswith("3 images are nearly black")
    assert found["blank"].message == "2 images show nothing but one colour"
    assert found["flat"].message.startswith("1 image has hardly any contrast")


def test_a_class_of_blank_images_is_a_note(tmp_path):
    images = [(f"empty/{n}.png", Image.new("RGB", (24, 24), (240 - n, 240, 240))) for n in range(12)]
    images += [(f"item/{n}.png", _noise(n)) for n in range(12)]
    remark = _remarks(_folder(tmp_path / "p", images), alike=True)["blank"]
    assert remark.severity == "note" and remark.message.endswith("nearly all of class empty")


def test_what_a_square_cuts_off_is_said_and_pad_keeps_it(tmp_path):
    folder = _folder(tmp_path / "p", _two_classes(lambda image, k: image.resize((120, 24))))
    remark = _remarks(folder)["cut-off"]
    assert (
        remark.message == "24 images are 5.0 times as wide as high; the middle square leaves 80 % of them out"
    )
    assert remark.severity == "warning" and "--fit pad" in remark.advice
    assert "cut-off" not in _remarks(folder, fit="pad")


def test_grey_a_format_or_a_size_in_one_class_alone_is_a_shortcut(tmp_path):
    grey = _two_classes(lambda image, k: image.convert("L") if k == 0 else image)
    message = _remarks(_folder(tmp_path / "grey", grey))["shortcut"].message
    assert message == "nearly all images of a are grey, of b hardly any"
    files = [
        (
            name.replace(".png", ".jpg" if name[0] == "a" else ".png"),
            encoded(image, "JPEG" if name[0] == "a" else "PNG"),
        )
        for name, image in _two_classes(lambda image, k: image)
    ]
    message = _remarks(_folder(tmp_path / "format", files))["shortcut"].message
    assert message == "nearly all images of a are JPEG files, of b hardly any"
    sizes = [
        (name, image.resize((40, 24)) if name[0] == "b" else image)
        for name, image in _two_classes(lambda image, k: image)
    ]
    message = _remarks(_folder(tmp_path / "sizes", sizes))["shortcut"].message
    assert message == "nearly all images of a are 24 x 24 pixels, of b hardly any"
    mixed = _two_classes(lambda image, k: image.convert("L") if sum(image.getpixel((0, 0))) % 2 else image)
    assert "shortcut" not in _remarks(_folder(tmp_path / "mixed", mixed))


def test_the_range_of_deep_values_is_told(tmp_path):
    deep = _two_classes(
        lambda image, k: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 16)
    )
    message = _remarks(_folder(tmp_path / "p", deep))["value-range"].message
    assert message == (
        "24 files hold values of more than 8 bits: 0 is read as black and 4,095 as white in all of them"
    )


def test_drawings_that_white_would_hide_are_told(tmp_path):
    def drawn(image, k):
        clear = Image.new("RGBA", image.size, (0, 0, 0, 0))
        place = image.getpixel((3, 3))[0] % 12
        ImageDraw.Draw(clear).rectangle((place, 2, place + 8, 20 - place), fill=(255, 255, 255, 255))
        return clear

    remark = _remarks(_folder(tmp_path / "p", _two_classes(drawn)))["transparent"]
    assert remark.message == "24 images would be blank once transparency lies on white; laid on black instead"


def test_pages_with_their_sizes_are_told(tmp_path):
    pages = [
        (
            name.replace(".png", ".tif"),
            encoded(image.resize((8, 8)), "TIFF", save_all=True, append_images=[image]),
        )
        for name, image in _two_classes(lambda image, k: image)
    ]
    message = _remarks(_folder(tmp_path / "p", pages))["pages"].message
    assert (
        message == "24 of 24 files have several pages and page 1 is used; page 1 is 8 x 8, page 2 is 24 x 24"
    )


def _series(name, label_count=2, videos=5, frames=4):
    images = []
    for label in range(label_count):
        for video in range(videos):
            scene = _noise(1000 * label + video, (64, 64))
            for frame in range(frames):
                left = 3 * frame
                images.append(
                    (f"{'ab'[label]}/{name(label, video, frame)}", scene.crop((left, 8, left + 40, 48)))
                )
    return images


def _word(*parts: int) -> str:
    return "".join(random.Random(str(parts)).choices(string.ascii_lowercase, k=6))


@pytest.mark.parametrize(
    ("name", "example"),
    [
        (lambda label, video, frame: f"v{video:02d}_f{frame:02d}.png", "a/v00"),
        (lambda label, video, frame: f"{_word(label, video)}-{_word(label, video, frame)}.png", None),
        (lambda label, video, frame: f"{_word(label, video)} {frame}.png", None),
        (lambda label, video, frame: f"{_word(label, video)}{frame}.png", None),
        (lambda label, video, frame: f"{_word(label, video)}/{_word(frame)}.png", None),
        (lambda label, video, frame: f"{_word(label, video)}_2024_{frame}.png", None),
    ],
)
def test_series_are_found_by_name_and_pixels_with_the_rule_that_keeps_them_together(tmp_path, name, example):
    folder = _folder(tmp_path / "p", _series(name))
    remark = _remarks(folder)["series"]
    assert remark.severity == "warning" and "10 groups of about 4" in remark.message
    assert example is None or f"e.g. {example} (4 images)" in remark.message
    rule = remark.advice.partition("--group-regex '")[2].removesuffix("'")
    groups = {entry.group for entry in find_entries(folder, group_regex=rule).entries}
    assert len(groups) == 10
    assert "series" not in _remarks(folder, group_regex=rule)


def test_names_that_share_a_word_but_not_a_scene_are_no_series(tmp_path):
    images = [
        (f"{c}/{_word(n % 5)}_{n}.png", _noise(500 * k + n)) for k, c in enumerate("ab") for n in range(20)
    ]
    assert "series" not in _remarks(_folder(tmp_path / "p", images))


def test_images_alike_by_nature_are_divided_with_the_option(tmp_path):
    images = []
    for k, c in enumerate(("good", "scratch")):
        for n in range(8):
            part = _noise(1, (64, 64)).copy()
            red, green, blue = part.getpixel((30, 30))
            part.putpixel((30, 30), (red + n + 10 * k, green, blue))
            images.append((f"{c}/{n}.png", part))
    folder = _folder(tmp_path / "p", images)
    assert "pass --alike" in _remarks(folder)["no-split"].message
    assert "no-split" not in _remarks(folder, alike=True)


def test_a_class_that_is_called_like_a_split_is_told(tmp_path):
    home = _folder(tmp_path / "p", _two_classes(lambda image, k: image))
    (home / "Testing").mkdir()
    for path in sorted((home / "a").iterdir())[:2]:
        path.rename(home / "Testing" / path.name)
    assert _remarks(home)["split-name"].message.startswith("Testing is read as a class")
