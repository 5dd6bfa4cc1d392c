"""A folder of images becomes a dataset whose split follows from the pixels, or one line says why not."""

import numpy as np
import pytest
from PIL import Image

from headstart.data import load_dataset
from headstart.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path):
    """Two classes of ten different images each, PNG and JPEG."""
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(10):
            image = Image.new("RGB", (20, 30), (25 * i, 100 * label, 7))
            image.save(tmp_path / "pets" / name / f"{i}.{'png' if i % 2 else 'JPG'}", "PNG" if i % 2 else "JPEG")
    return tmp_path / "pets"


def test_sub_folders_are_classes_and_a_fifth_of_each_is_for_testing(folder):
    pets = load_dataset(folder, image_pixels=8)
    assert pets.name == "pets"
    assert pets.train.class_names == pets.test.class_names == ("cat", "dog")
    assert pets.train.images.shape == (16, 8, 8, 3) and pets.train.images.dtype == np.uint8
    assert pets.train.labels.tolist() == [0] * 8 + [1] * 8 and pets.train.labels.dtype == np.int64
    assert pets.test.labels.tolist() == [0, 0, 1, 1]


def test_default_size_is_32_pixels(folder):
    assert load_dataset(str(folder)).test.images.shape == (4, 32, 32, 3)


def test_renaming_files_changes_nothing(folder):
    before = load_dataset(folder)
    for path in list((folder / "cat").iterdir()):
        path.rename(path.with_name(f"{9 - int(path.stem)}_new{path.suffix}"))
    assert load_dataset(folder).fingerprint == before.fingerprint


def test_copies_of_an_image_stay_on_one_side(folder):
    for path in list((folder / "dog").iterdir()):
        for copy in range(3):
            (folder / "dog" / f"copy{copy}_{path.name}").write_bytes(path.read_bytes())
    pets = load_dataset(folder, image_pixels=8)
    sides = [{image.tobytes() for image, label in zip(part.images, part.labels, strict=True) if label == 1}
             for part in (pets.train, pets.test)]
    assert not sides[0] & sides[1]
    assert np.bincount(pets.train.labels).tolist() == [8, 32]


def test_many_copies_of_one_image_never_empty_a_side(folder):
    for path in (folder / "cat").iterdir():
        path.unlink()
    for i in range(9):
        Image.new("RGB", (8, 8), (0, 0, 0)).save(folder / "cat" / f"{i}.png")
    Image.new("RGB", (8, 8), (255, 0, 0)).save(folder / "cat" / "red.png")
    pets = load_dataset(folder)
    counts = sorted([int(np.sum(pets.train.labels == 0)), int(np.sum(pets.test.labels == 0))])
    assert counts == [1, 9]


def test_middle_of_a_wide_image_is_kept(folder):
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200  # the middle third
    for path in (folder / "cat").iterdir():
        path.unlink()
    Image.fromarray(wide).save(folder / "cat" / "a.png")
    Image.new("RGB", (8, 8)).save(folder / "cat" / "b.png")
    pets = load_dataset(folder, image_pixels=8)
    cats = [*pets.train.images[pets.train.labels == 0], *pets.test.images[pets.test.labels == 0]]
    assert sorted(int(cat.min()) for cat in cats) == [0, 200]


def test_transparency_lies_on_white(folder):
    for path in (folder / "cat").iterdir():
        path.unlink()
    Image.new("RGBA", (8, 8), (10, 20, 30, 0)).save(folder / "cat" / "a.png")
    Image.new("RGB", (8, 8)).save(folder / "cat" / "b.png")
    pets = load_dataset(folder, image_pixels=1)
    cats = [*pets.train.images[pets.train.labels == 0], *pets.test.images[pets.test.labels == 0]]
    assert sorted(cat.tolist() for cat in cats) == [[[[0, 0, 0]]], [[[255, 255, 255]]]]


def test_other_files_are_counted_not_hidden(folder, capsys):
    (folder / "cat" / "notes.txt").write_text("")
    (folder / "dog" / "film.gif").write_text("")
    assert len(load_dataset(folder).train) == 16
    assert capsys.readouterr().err == f"{folder}: 2 files ignored that are neither PNG nor JPEG\n"


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"x" * 50])
def test_unreadable_image_is_named(folder, content):
    (folder / "cat" / "bad.png").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.png cannot be read as an image") as error:
        load_dataset(folder)
    assert "\n" not in str(error.value)


def test_truncated_image_is_named(folder):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(folder / "cat" / "bad.png")
    content = (folder / "cat" / "bad.png").read_bytes()
    (folder / "cat" / "bad.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"bad\.png cannot be read as an image"):
        load_dataset(folder)


def test_sixteen_bit_image_is_refused(folder):
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(folder / "cat" / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png has more than 8 bits a channel"):
        load_dataset(folder)


def test_empty_class_is_named(folder):
    (folder / "emu").mkdir()
    with pytest.raises(DataError, match=r"emu has 0 different images; each class needs two at least"):
        load_dataset(folder)


def test_folder_without_classes_is_refused(tmp_path):
    with pytest.raises(DataError, match="has 0 sub-folders; a dataset needs one for each class, two at least"):
        load_dataset(tmp_path)


def test_ready_made_split_is_not_taken_for_classes(folder):
    (folder / "cat").rename(folder / "train")
    (folder / "dog").rename(folder / "test")
    with pytest.raises(DataError, match="holds folders train and test: a ready-made split is not read"):
        load_dataset(folder)


def test_size_below_one_pixel_is_refused(folder):
    with pytest.raises(ConfigError, match="image_pixels is 0; it must be at least 1"):
        load_dataset(folder, image_pixels=0)
