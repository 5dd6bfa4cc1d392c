"""Dropped files and zips become images of a class, under limits; bombs and traversal are refused whole."""

from __future__ import annotations

import errno
import io
import struct
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.noise_folder import write_noise

from headstart.app.drops import Drop, DropLimits, incoming
from headstart.errors import ConfigError, DataError


@pytest.fixture
def images(tmp_path: Path) -> list[bytes]:
    root = write_noise(tmp_path / "given", {"x": 4})
    return [path.read_bytes() for path in sorted(root.rglob("*.png"))]


def zipped(files: dict[str, bytes], links: tuple[str, ...] = ()) -> io.BytesIO:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if name in links:
                info.external_attr = 0o120777 << 16
            archive.writestr(info, content)
    out.seek(0)
    return out


def stored(home: Path) -> list[str]:
    return sorted(path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file())


def test_files_join_the_class_that_was_named_each_content_once(tmp_path, images):
    drop = Drop(tmp_path / "home")
    drop.add("a.png", io.BytesIO(images[0]), "cat")
    drop.add("a.png", io.BytesIO(images[1]), "cat")
    drop.add("b.png", io.BytesIO(images[2]), " cat ")
    drop.add("a.png", io.BytesIO(images[0]), "cat")
    drop.add("notes.txt", io.BytesIO(b"no image"), "cat")
    assert drop.dropped.words() == "added: 3 in cat; left out: 1 no images by their content, 1 there already"
    assert len(stored(tmp_path / "home")) == 3


@pytest.mark.parametrize("name", ["../../evil.png", "/evil.png", "a\\..\\evil.png", ".hidden", "x" * 300])
def test_a_name_never_leads_out_of_the_class(tmp_path, images, name):
    drop = Drop(tmp_path / "home")
    drop.add(name, io.BytesIO(images[0]), "cat")
    (file,) = stored(tmp_path / "home")
    assert file.startswith("cat/") and len(file) < 110


@pytest.mark.parametrize("class_name", ["", "..", "a/b", "a\\b", ".hidden", "x" * 200, "a\0b"])
def test_a_class_that_can_be_no_folder_is_refused(tmp_path, images, class_name):
    with pytest.raises(ConfigError, match="a class is named by 1 to 100 printable characters"):
        Drop(tmp_path / "home").add("a.png", io.BytesIO(images[0]), class_name)
    assert not (tmp_path / "home").exists() or stored(tmp_path / "home") == []


def test_a_zip_of_class_folders_needs_no_class(tmp_path, images):
    files = {"photos/cat/1.png": images[0], "photos/dog/1.png": images[1], "__MACOSX/cat/._1.png": b"x"}
    files |= {"photos/dog/readme.txt": b"no image", "photos/dog/link.png": b"/etc/passwd"}
    drop = Drop(tmp_path / "home")
    drop.add("photos.zip", zipped(files, ("photos/dog/link.png",)), "")
    assert stored(tmp_path / "home") == ["cat/1.png", "dog/1.png"]
    assert drop.dropped.left_out == {"links, hidden or junk": 2, "no images by their content": 1}


def test_a_zip_of_loose_files_needs_a_class(tmp_path, images):
    with pytest.raises(ConfigError, match="has files outside folders; say which class they are of"):
        Drop(tmp_path / "home").add("photos.zip", zipped({"1.png": images[0]}), "")
    drop = Drop(tmp_path / "home")
    drop.add("photos.zip", zipped({"1.png": images[0]}), "cat")
    assert stored(tmp_path / "home") == ["cat/1.png"]


@pytest.mark.parametrize("name", ["../evil.png", "/etc/evil.png", "cat/../../evil.png", "C:\\evil.png"])
def test_a_zip_that_would_write_elsewhere_is_refused_whole(tmp_path, images, name):
    with pytest.raises(DataError, match="would lie outside its folder"):
        Drop(tmp_path / "home").add("bad.zip", zipped({"cat/1.png": images[0], name: images[1]}), "")
    assert stored(tmp_path / "home") == []


def test_a_bomb_is_refused_before_and_while_it_is_unpacked(tmp_path, images):
    bomb = zipped({"cat/1.png": images[0] + bytes(20_000_000)})
    with pytest.raises(DataError, match=r"unpacks to 20,00.* bytes, which is refused"):
        Drop(tmp_path / "home").add("bomb.zip", bomb, "")
    limits = DropLimits(image_bytes=1000, expansion=10**9)
    with pytest.raises(DataError, match="unpacks to more than 1,000 bytes"):
        Drop(tmp_path / "home", limits).add("bomb.zip", bomb, "")
    with pytest.raises(DataError, match="has 2 files; at most 1 are taken"):
        two = zipped({"cat/1.png": images[0], "cat/2.png": images[1]})
        Drop(tmp_path / "home", DropLimits(images=1)).add("many.zip", two, "")
    assert stored(tmp_path / "home") == []


def test_a_file_without_a_name_in_a_zip_is_left_out(tmp_path, images):
    drop = Drop(tmp_path / "home")
    drop.add("photos.zip", zipped({"cat/1.png": images[0], ".": images[1]}), "")
    assert drop.dropped.joined == {"cat": 1} and drop.dropped.left_out == {"links, hidden or junk": 1}


def _damaged(method: int) -> bytes:
    """A zip whose one file does not unpack."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("cat/1.png", b"some bytes " * 100)
    content = bytearray(out.getvalue())
    content[45:75] = bytes(range(30))
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        b"PK\3\4 damaged",
        b"PK\5\6" + bytes(10),
        *map(_damaged, (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)),
    ],
)
def test_a_damaged_zip_is_one_line(tmp_path, content):
    with pytest.raises(DataError, match=r"the zip bad\.zip cannot be read"):
        Drop(tmp_path / "home").add("bad.zip", io.BytesIO(content), "")


def test_two_images_of_one_name_that_come_at_once_stay_two(tmp_path, images, monkeypatch):
    def slow_exists(path: Path) -> bool:
        there = path.is_file()
        time.sleep(0.02)
        return there

    monkeypatch.setattr(Path, "exists", slow_exists)
    drops = [Drop(tmp_path / "home") for _ in images]
    with ThreadPoolExecutor(len(images)) as tabs:
        list(tabs.map(lambda drop, image: drop.add("a.png", io.BytesIO(image), "cat"), drops, images))
    assert sum(drop.dropped.joined["cat"] for drop in drops) == 4
    assert {(tmp_path / "home" / name).read_bytes() for name in stored(tmp_path / "home")} == {*images}


def test_entries_that_share_their_bytes_are_a_bomb(tmp_path, images):
    content = zipped({"cat/1.png": images[0] + bytes(100_000)}).getvalue()
    start, end = content.rfind(b"PK\1\2"), content.rfind(b"PK\5\6")
    table, count = content[start:end] * 200, 200
    tail = struct.pack("<HHII", count, count, len(table), start) + content[end + 20 :]
    bomb = io.BytesIO(content[:start] + table + content[end : end + 8] + tail)
    with pytest.raises(DataError, match=r"unpacks to 20,.* bytes, which is refused"):
        Drop(tmp_path / "home").add("bomb.zip", bomb, "")


def test_what_a_killed_app_left_goes_and_what_another_unpacks_stays(tmp_path, images):
    home = tmp_path / "home"
    (home / ".incoming-killed").mkdir(parents=True)
    (home / ".incoming-killed/0").write_bytes(images[0])
    with incoming(home) as other:
        (other / "0").write_bytes(images[1])
        Drop(home).add("a.png", io.BytesIO(images[2]), "cat")
        assert [path.name for path in home.glob(".incoming-*")] == [other.name]
        assert (other / "0").exists()
    assert stored(home) == ["cat/a.png"]


def test_a_full_disk_is_not_the_zips_fault(tmp_path, images, monkeypatch):
    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("headstart.app.drops._copied", full)
    with pytest.raises(OSError, match="No space left"):
        Drop(tmp_path / "home").add("photos.zip", zipped({"cat/1.png": images[0]}), "")
    assert list((tmp_path / "home").iterdir()) == []


def test_the_folder_of_a_zip_that_can_be_no_class_is_named(tmp_path, images):
    content = zipped({"dog/1.png": images[0], "cat./1.png": images[1]})
    with pytest.raises(ConfigError, match=r"^'cat\.' names no class: a class is named by 1 to 100 "):
        Drop(tmp_path / "home").add("photos.zip", content, "")
