"""Images are decoded once; what changed, and only that, is decoded again; an interruption loses nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart import store
from headstart.data import load_dataset
from headstart.data.folders import Limits, contents, decode_image, decode_source, find_entries, rows, square
from headstart.data.folders.cache import reading_from
from headstart.data.folders.contents import states_of
from headstart.store.hashes import look_at
from headstart.store.sealed import SEAL
from headstart.types import Reading


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def images():
    return np.array(load_dataset("cifar10").train.images[:30])


@pytest.fixture
def folder(tmp_path, images) -> Path:
    """Two classes of 15 real images, one file of each unreadable."""
    for number, image in enumerate(images):
        file = tmp_path / "pets" / ("cat", "dog")[number % 2] / f"{number:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name / "zz_bad.png").write_bytes(f"no image of a {name}".encode())
    return tmp_path / "pets"


def _decode(folder: Path, pixels: int = 32):
    return decode_source(find_entries(folder), pixels)


def test_rows_are_the_squares_of_the_files_in_the_order_of_their_names(folder):
    found = _decode(folder, 20)
    assert (
        isinstance(found.images, np.memmap)
        and found.images.shape == (32, 20, 20, 3)
        and found.small.shape == (32, 32, 32, 3)
    )
    assert [fact.name for fact in found.facts] == sorted(fact.name for fact in found.facts)
    for place, (entry, fact) in enumerate(zip(found.source.entries, found.facts, strict=True)):
        if entry.name.endswith("bad.png"):
            assert fact.reason == "text, not an image" and not found.images[place].any()
        else:
            assert np.array_equal(found.images[place], square(decode_image(entry.path), 20))
            assert np.array_equal(found.small[place], decode_image(entry.path))  # it is 32 x 32 itself
            assert (fact.width, fact.height, fact.format, fact.reason) == (32, 32, "PNG", None)
    assert len(found.readable) == 30 and len(found.bad) == 2
    with pytest.raises(ValueError, match="read-only"):
        found.images[0] = 0


def test_the_second_time_nothing_is_decoded(folder):
    first = _decode(folder)
    second = _decode(folder)
    assert (first.decoded_now, second.decoded_now) == (32, 0)
    assert (
        first.key == second.key
        and first.facts == second.facts
        and np.array_equal(first.images, second.images)
    )


def test_only_changed_and_new_files_are_decoded_again(folder, images, cache):
    before = _decode(folder)
    old = np.array(before.images)
    Image.fromarray(images[0][::-1]).save(folder / "cat" / "02.png")  # changed
    os.utime(folder / "cat" / "04.png", ns=(1, 1))  # touched, not changed
    (folder / "cat" / "06.png").rename(folder / "cat" / "6.png")  # renamed, not changed
    Image.fromarray(images[1][::-1]).save(folder / "cat" / "005.png")  # new: all rows after it move by one
    (folder / "dog" / "01.png").unlink()
    after = _decode(folder)
    assert after.decoded_now == 2 and after.key != before.key
    for place, entry in enumerate(after.source.entries):
        if not entry.name.endswith("bad.png"):
            assert np.array_equal(after.images[place], decode_image(entry.path)), entry.name
    assert np.array_equal(old, before.images)  # a reader of the old state keeps it
    assert len([path for path in (cache / "pictures").glob("*/*") if path.is_dir()]) == 1


def test_an_interrupted_run_keeps_its_rows(folder, monkeypatch):
    monkeypatch.setattr(rows, "BATCH", 8)
    real, calls = rows.decode_one, []

    def interrupted(place, *rest):
        calls.append(place)
        if place == 20:
            raise KeyboardInterrupt
        return real(place, *rest)

    monkeypatch.setattr(rows, "decode_one", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _decode(folder)
    monkeypatch.setattr(rows, "decode_one", real)
    found = _decode(folder)
    assert found.decoded_now == 16  # two batches of eight had been kept
    for place in found.readable:
        assert np.array_equal(found.images[place], decode_image(found.source.entries[place].path))


def test_a_record_cut_off_in_its_last_line_is_used_up_to_it(folder, cache):
    _decode(folder)
    (state,) = (path.parent for path in (cache / "pictures").glob("*/*/meta.json"))
    (state / "meta.json").unlink()
    lines = (state / "facts.jsonl").read_bytes()
    (state / "facts.jsonl").write_bytes(lines[:-40])
    assert _decode(folder).decoded_now == 1
    assert _decode(folder).decoded_now == 0


@pytest.mark.parametrize("name", ["squares.u8", "small.u8", "facts.jsonl"])
def test_a_state_that_lost_something_is_made_again(folder, cache, name):
    _decode(folder)
    (state,) = (path.parent for path in (cache / "pictures").glob("*/*/meta.json"))
    (state / name).unlink()
    found = _decode(folder)
    assert found.decoded_now == 32
    assert all(
        np.array_equal(found.images[place], decode_image(found.source.entries[place].path))
        for place in found.readable
    )


def test_equal_pictures_have_equal_digests_whatever_their_files(folder, images):
    Image.fromarray(images[0]).save(folder / "dog" / "copy.bmp")
    found = _decode(folder)
    digest = {fact.name: fact.digest for fact in found.facts}
    assert digest["dog/copy.bmp"] == digest["cat/00.png"] != digest["cat/02.png"]


def test_another_size_and_other_limits_have_their_own_rows(folder):
    small = _decode(folder, 8)
    assert _decode(folder, 16).decoded_now == 32 and _decode(folder, 8).decoded_now == 0
    strict = decode_source(find_entries(folder), 8, Limits(max_pixels=1000))
    assert strict.decoded_now == 32 and len(strict.bad) == 32
    assert np.array_equal(small.small[small.readable], _decode(folder, 16).small[small.readable])


def test_a_file_that_goes_missing_is_a_fact(folder):
    source = find_entries(folder)
    shutil.rmtree(folder / "dog")
    found = decode_source(source, 8)
    assert {fact.reason for fact in found.bad} == {"text, not an image", "there is no such file"}
    assert len(found.readable) == 15


def test_a_picture_counts_until_its_pixels_are_let_go(folder, monkeypatch):
    free, real = [], rows.row_of
    gate = rows.Gate(2000)
    monkeypatch.setattr(rows, "row_of", lambda *given: (free.append(gate._free), real(*given))[1])
    entry = find_entries(folder).entries[0]
    (state,) = states_of([entry], {}, "pets", 10**6)
    rows.decode_one(0, entry, state, rows.Job(image_pixels=8, limits=Limits(), reading=Reading()), gate)
    assert free == [2000 - 32 * 32] and gate._free == 2000


def test_large_pictures_wait_for_each_other():
    gate = rows.Gate(100)
    with gate.hold(60), gate.hold(40):
        assert gate._free == 0
    with gate.hold(10**9):  # larger than the whole: alone, not never
        assert gate._free == 0
    assert gate._free == 100


def test_another_picture_of_the_same_name_size_and_time_is_seen(folder, images):
    before = _decode(folder)
    path = folder / "cat" / "00.png"
    stat = path.stat()
    content = bytearray(path.read_bytes())
    Image.fromarray(255 - images[0]).save(path)
    other = path.read_bytes()
    size = max(len(content), len(other))
    for text, name in ((bytes(content), "00.png"), (other, "00.png")):
        path.write_bytes(text.ljust(size, b"\0"))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        found = _decode(folder)
        place = [entry.name for entry in found.source.entries].index(f"cat/{name}")
        assert np.array_equal(found.images[place], decode_image(path))
    assert found.decoded_now == 1 and found.key != before.key


def test_files_that_nothing_touched_are_not_read_again(folder, monkeypatch):
    first = _decode(folder)
    monkeypatch.setattr(contents, "_hash", lambda entry: pytest.fail(f"{entry.name} is read again"))
    assert _decode(folder).key == first.key


def test_a_touched_file_is_hashed_once(folder, monkeypatch):
    _decode(folder)
    os.utime(folder / "cat" / "04.png", ns=(1, 1))
    assert _decode(folder).decoded_now == 0
    monkeypatch.setattr(contents, "_hash", lambda entry: pytest.fail(f"{entry.name} is read again"))
    assert _decode(folder).decoded_now == 0


def test_a_folder_that_was_moved_over_another_is_seen(folder, tmp_path):
    """As two archives unpacked into one place: equal names, sizes and times, other pictures."""
    for name in ("cat", "dog"):
        for path in (folder / name).iterdir():
            path.write_bytes(path.read_bytes().ljust(9000, b"\0"))
            os.utime(path, (1_700_000_000, 1_700_000_000))
    before = _decode(folder)
    (folder / "cat").rename(tmp_path / "away")
    (folder / "dog").rename(folder / "cat")
    (tmp_path / "away").rename(folder / "dog")
    for name, odd in (("cat", 1), ("dog", 0)):  # the names of the files as they were
        for number, path in enumerate(sorted((folder / name).glob("[0-9]*"))):
            path.rename(folder / name / f"{2 * number + 1 - odd:02d}.png")
    after = _decode(folder)
    assert [e.name for e in after.source.entries] == [e.name for e in before.source.entries]
    assert after.key != before.key
    for place in after.readable:
        assert np.array_equal(after.images[place], decode_image(after.source.entries[place].path))


def test_only_the_damaged_chunk_is_decoded_again(folder, cache, monkeypatch, capsys):
    monkeypatch.setattr("headstart.data.folders.cache._CHUNK_BYTES", 4 * 32 * 32 * 3)
    before = np.array(_decode(folder).images)
    (path,) = (cache / "pictures").glob("*/*/squares.u8")
    with path.open("r+b") as file:
        file.seek(9 * 32 * 32 * 3)
        file.write(b"damaged")
    found = _decode(folder)
    assert found.decoded_now == 4  # rows 8 to 11
    assert np.array_equal(found.images, before)
    assert "is damaged: 4 of its images are decoded again" in capsys.readouterr().err
    assert _decode(folder).decoded_now == 0


def test_a_cache_with_one_hash_a_file_is_read_and_compared(folder, cache):
    _decode(folder)
    (meta,) = (cache / "pictures").glob("*/*/meta.json")
    stored = store.read_json(meta)
    names = ("squares.u8", "small.u8")
    stored["files"] = {name: look_at(meta.parent / name).model_dump() for name in names}
    store.write_sealed(meta, {name: value for name, value in stored.items() if name != SEAL})
    assert _decode(folder).decoded_now == 0
    (meta.parent / "small.u8").write_bytes(bytes((meta.parent / "small.u8").stat().st_size))
    assert _decode(folder).decoded_now == 32


@pytest.mark.parametrize(
    "stored",
    [
        *([], 7, "text", None),
        {"fit": "magic"},
        {"integer_range": [1]},
        {"float_range": [1.0, "nan"]},
        {"integer_range": [9, 3]},
        {"float_range": [0, 1e400]},
    ],
)
def test_what_is_no_reading_is_refused(stored: object) -> None:
    with pytest.raises(ValueError):
        reading_from(stored)


def test_a_reading_is_read_back_as_it_was_written() -> None:
    assert reading_from({"fit": "pad", "integer_range": [0, 4095]}) == Reading(
        fit="pad", integer_range=(0.0, 4095.0)
    )
