"""Thumbnails: of files with any name, also where the cache takes nothing."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from PIL import Image
from tests.support.noise_folder import write_noise

from headstart.app.listing import Listed
from headstart.app.thumbnails import Thumbnails


@pytest.mark.parametrize("cache", ["cache", "a file/cache"])
@pytest.mark.parametrize("name", ["caf\udce9.png", 'a\nb;%2F"<b>.png'])
def test_every_name_has_a_thumbnail_whether_or_not_it_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, cache: str
) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / cache))
    path = (write_noise(tmp_path / "photos", {"cat": 1}) / "cat/0.png").rename(tmp_path / "photos/cat" / name)

    async def made() -> bytes:
        thumbnails = Thumbnails()
        try:
            return await thumbnails.content(Listed("x", str(path), "cat", str(tmp_path)), 160)
        finally:
            await thumbnails.children.close()

    assert Image.open(io.BytesIO(asyncio.run(made()))).size == (16, 16)
    assert len(list(tmp_path.rglob("*.jpg"))) == (cache == "cache")
