"""The door for what is read back: ordinary files alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headstart import store
from headstart.errors import StoreError


@pytest.mark.parametrize("read", [store.read_bytes, store.read_json, store.read_npy])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, read) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="it is no ordinary file"):
        read(tmp_path / "pipe")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/"])
def test_devices_and_folders_are_refused(path: str) -> None:
    for read in (store.read_bytes, lambda given: store.read_npz(given, "put it back")):
        with pytest.raises(StoreError, match=r"no ordinary file|Is a directory"):
            read(Path(path))


def test_an_ordinary_file_is_read_by_its_name_or_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").symlink_to("a")
    assert store.read_bytes(tmp_path / "a") == store.read_bytes(tmp_path / "b") == b"content"


def test_the_digest_of_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="it is no ordinary file"):
        store.facts_of(tmp_path / "pipe")


@pytest.mark.parametrize("text", ['{"a": "\\ud800"}', '["\\uDC00x"]', '{"\\ud800": 1}'])
def test_half_of_a_surrogate_pair_is_no_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(StoreError, match="half of a surrogate pair"):
        store.read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('"\\ud83d\\ude00"')
    assert store.read_json(tmp_path / "a.json") == "\N{GRINNING FACE}"
