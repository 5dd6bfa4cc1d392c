"""predict, explain and export as a user meets them: files in folders, real processes, exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.errors import DataError
from headstart.predict.files import find_images, read_squares
from headstart.predict.predictor import load_predictor


@pytest.fixture
def album(photos: Path, tmp_path: Path) -> Path:
    """Pictures in folders, among other things: 4 readable ones, 2 damaged."""
    folder = tmp_path / "album"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / ".thumbnails").mkdir()
    picture = Image.open(photos / "airplane" / "000.png")
    picture.save(folder / "b.png")
    picture.save(folder / ".thumbnails" / "hidden.png")
    picture.resize((90, 60)).save(folder / "deep" / "wide.JPG", format="JPEG")
    picture.convert("L").save(folder / "deep" / "er" / "grey.png")
    Image.open(photos / "dog" / "003.png").save(folder / "deep" / "er" / "Ärger, „quoted“.png")
    (folder / "a-empty.png").write_bytes(b"")
    (folder / "deep" / "text.jpg").write_text("no picture")
    (folder / "notes.txt").write_text("kept out")
    (folder / "loop").symlink_to(folder)
    return folder


def _messages(errors: str) -> list[str]:
    """The lines of standard error without those that a slow machine adds: how long the reading took."""
    return [line for line in errors.splitlines() if not re.match(r"predict: \d+ (of \d+ )?images", line)]


ORDER = ["b.png", "deep/wide.JPG", "deep/er/grey.png", "deep/er/Ärger, „quoted“.png"]


def test_folders_are_searched_to_the_bottom_in_order(album: Path) -> None:
    found = find_images([album])
    names = [str(path.relative_to(album)) for path in found.images]
    assert names == [
        "a-empty.png",
        "b.png",
        "deep/text.jpg",
        "deep/wide.JPG",
        "deep/er/grey.png",
        "deep/er/Ärger, „quoted“.png",
    ]
    assert found.left_out.counts == {
        "hidden or junk": 1,
        "no images by their content": 1,
        "links back into a folder that is read already": 1,
    }
    named = [album / "notes.txt", album / "b.png"]
    assert find_images([*named, album / "b.png"]).images == named
    assert find_images([album, album / "b.png"]).images == found.images
    with pytest.raises(DataError, match="nothing is not there; give image files or folders"):
        find_images([album / "nothing"])
    with pytest.raises(DataError, match="no images in"):
        find_images(
            [album / ".thumbnails" / ".." / "loop" / "empty"]
            if (album / "empty").mkdir()
            else [album / "empty"]
        )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("https://example.org/x.jpg", "https://example.org/x.jpg is an address on the web; fetch the file"),
        ("-", "standard input is not read"),
        ("gone.png", "gone.png is not there; give image files or folders"),
        ("labels.csv", "labels.csv is a table; give the images that it names, or their folder"),
        ("photos.zip", "photos.zip is a zip; unpack it and give the folder"),
    ],
)
def test_what_is_no_image_is_named_and_the_others_are_read(
    album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("labels.csv", "photos.zip"):
        Path(name).touch()
    with pytest.raises(DataError, match=message):
        find_images([given])
    found = find_images([given, album / "b.png"])
    assert found.images == [album / "b.png"]
    ((path, error),) = found.missing
    assert message in str(error) and isinstance(path, Path)


def test_linked_folders_are_read_and_junk_is_not(album: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "__MACOSX").mkdir(parents=True)
    (home / "linked").symlink_to(album / "deep", target_is_directory=True)
    for name in ("._000.png", "__MACOSX/._000.png", "a.jpg~", "Thumbs.db"):
        (home / name).write_bytes(b"x")
    shutil.copy(album / "b.png", home / "without")
    found = find_images([home])
    assert [path.relative_to(home).as_posix() for path in found.images] == [
        "without",
        *(f"linked/{name}" for name in ("text.jpg", "wide.JPG", "er/grey.png", "er/Ärger, „quoted“.png")),
    ]


def test_pictures_are_cut_square_as_training_images_are(album: Path, photos: Path) -> None:
    from headstart.data import load_dataset

    unread: list[Path] = []
    paths = find_images([album]).images
    good, pixels = read_squares(paths, 32, lambda path, error: unread.append(path))
    assert [path.name for path in unread] == ["a-empty.png", "text.jpg"] and len(good) == 4
    assert pixels.shape == (4, 32, 32, 3) and pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[0], np.asarray(Image.open(photos / "airplane" / "000.png")))
    # the same files read as a dataset's are the same pixels
    files = sorted((photos / "dog").iterdir())
    mine = {image.tobytes() for image in read_squares(files, 24, lambda path, error: None)[1]}
    data = load_dataset(photos, image_pixels=24)
    theirs = {image.tobytes() for part in (data.train, data.test) for image in part.images[part.labels == 1]}
    assert mine == theirs


def test_predict_prints_a_row_a_picture_and_ends_with_3_where_some_are_unreadable(
    cold_headstart, models: Path, album: Path
) -> None:
    done = cold_headstart("predict", str(models), "--arm", "cnn", str(album), "--json", "--top", "2")
    assert done.returncode == 3
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [str(Path(row["path"]).relative_to(album)) for row in rows] == ORDER
    predictor = load_predictor(models, arm="cnn")
    want = predictor.probabilities(
        read_squares([album / name for name in ORDER], 32, lambda path, error: None)[1]
    )
    for row, probabilities in zip(rows, want, strict=True):
        best = np.argsort(-probabilities)[:2]
        assert [entry["class"] for entry in row["predictions"]] == [
            predictor.class_names[label] for label in best
        ]
        np.testing.assert_allclose(
            [entry["probability"] for entry in row["predictions"]], probabilities[best], atol=1e-5
        )
    lines = _messages(done.stderr)
    assert lines[0].startswith("left out: 1 hidden or junk (.thumbnails)")
    assert "1 no images by their content (notes.txt)" in lines[0]
    assert "a-empty.png cannot be read as an image (the file is empty)" in lines[1]
    assert "text.jpg cannot be read as an image (text, not an image)" in lines[2]
    assert (
        lines[3] == "headstart: 2 of 6 files could not be read (named above); the others are done"
        and len(lines) == 4
    )


def test_csv_and_text_hold_the_same_answers(headstart, models: Path, album: Path) -> None:
    picture = str(album / "deep" / "er" / "Ärger, „quoted“.png")
    table = headstart(
        "predict", str(models), "--arm", "probe", picture, "--csv", "--top", "9", "--batch-size", "1"
    )
    assert table.returncode == 0, table.stderr
    (row,) = csv.DictReader(io.StringIO(table.stdout))
    assert row["path"] == picture
    assert sorted(row[f"class_{place}"] for place in (1, 2, 3)) == ["airplane", "dog", "truck"]
    assert sum(float(row[f"probability_{place}"]) for place in (1, 2, 3)) == pytest.approx(1, abs=2e-6)
    text = headstart("predict", str(models), "--arm", "probe", picture)
    assert text.stdout == f"{picture}  {row['class_1']} {100 * float(row['probability_1']):.1f} %\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("predict", "MODELS", "x.png"), 2, "choose one with --arm"),
        (("predict", "nowhere", "x.png"), 6, "nowhere holds no model"),
        (("predict", "MODELS", "--arm", "cnn", "x.png"), 3, "x.png is not there"),
        (("predict", "MODELS", "x.png", "--json", "--csv"), 2, "two formats; give one"),
        (
            ("explain", "MODELS", "--arm", "cnn", "x.png"),
            3,
            "x.png cannot be read as an image (there is no such file)",
        ),
        (("explain", "MODELS", "--arm", "cnn", "."), 2, ". is a folder; give one image of it"),
        (
            ("export", "MODELS", "--arm", "cnn", "--format", "onx"),
            2,
            "unknown format 'onx' (did you mean 'onnx'?)",
        ),
    ],
)
def test_a_mistake_is_one_line(
    headstart, models: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = headstart(*(str(models) if part == "MODELS" else part for part in arguments))
    assert done.returncode == code, done.stderr
    assert message in done.stderr and done.stderr.count("\n") == 1


def test_an_explanation_never_replaces_another_file(tmp_path: Path, headstart, photos: Path) -> None:
    from headstart.cli.model import _free

    for taken in ("photo-explained.png", "photo-explained-2.png"):
        (tmp_path / taken).write_bytes(b"")
    assert _free(tmp_path / "photo-explained.png") == tmp_path / "photo-explained-3.png"
    assert _free(tmp_path / "other.png") == tmp_path / "other.png"
    image = str(photos / "dog" / "000.png")
    done = headstart("explain", "nowhere", image, "--out", image)
    assert done.returncode == 2 and "is the image itself; give another file" in done.stderr


def test_read_only_images_are_read_and_a_cache_that_cannot_be_written_is_named(
    headstart, photos: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "photos"
    shutil.copytree(photos, copy)
    for path in (*copy.rglob("*"), copy):
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = headstart("data", "check", str(copy), "--no-label-errors", "--out", str(tmp_path / "check"))
    assert done.returncode == 0, done.stderr
    (tmp_path / "file").write_text("")
    done = headstart(
        "data", "check", str(copy), "--no-label-errors", HEADSTART_CACHE=str(tmp_path / "file" / "cache")
    )
    assert done.returncode == 6 and str(tmp_path / "file") in done.stderr
    assert done.stderr.strip().count("\n") == 0


def test_a_reader_that_has_seen_enough_ends_it_without_a_word(models: Path, photos: Path) -> None:
    command = (
        f"{sys.executable} -m headstart.cli predict {models} --arm cnn --batch-size 1 {photos} | head -n 2"
    )
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.stdout.count("\n") == 2 and _messages(done.stderr) == [] and done.returncode == 0
