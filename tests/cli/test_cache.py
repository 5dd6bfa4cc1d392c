"""The command about the cache: what lies there, and clearing a part of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headstart.cli.cache import cache
from headstart.errors import ConfigError


def test_the_cache_is_shown_and_cleared(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    state = tmp_path / "pictures" / "ab" / "cd"
    state.mkdir(parents=True)
    (state / "squares.u8").write_bytes(bytes(3_000_000))
    (state / "meta.json").write_text(json.dumps({"root": "/home/me/[photos]"}))
    cache()
    shown = capsys.readouterr().out
    assert "of /home/me/[photos]" in shown and "3 MB" in shown
    cache(clear="pictures")
    assert not (tmp_path / "pictures").exists()
    assert capsys.readouterr().out == f"cleared {tmp_path / 'pictures'}: 3 MB\n"
    cache(clear="pictures")
    with pytest.raises(ConfigError, match="unknown part of the cache 'photos'"):
        cache(clear="photos")


@pytest.mark.parametrize("content", ["[]", "7", "[" * 100_000, "{", '{"root": [[[[]]]]}'])
def test_a_damaged_description_does_not_stop_the_listing(tmp_path, monkeypatch, capsys, content) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    state = tmp_path / "pictures" / "ab" / "cd"
    state.mkdir(parents=True)
    (state / "meta.json").write_text(content)
    cache()
    assert "decoded images" in capsys.readouterr().out
