"""An output folder says whose results it holds, and another's images never write into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.data.folders.owner import FILE, claim, output_folder
from headstart.errors import ConfigError, DamagedError
from headstart.store.files import write_json


def test_results_never_lie_among_the_images(tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    (photos / "cat").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert output_folder("advice", Path("photos"), None) == Path("advice/photos")
    for here, images in ((photos, "."), (photos / "cat", ".."), (photos, "../photos")):
        monkeypatch.chdir(here)
        assert output_folder("advice", Path(images), None) == tmp_path / "advice/photos"
        with pytest.raises(
            ConfigError, match=r"^mine lies in .*: what is written there .* elsewhere with --out"
        ):
            output_folder("advice", Path(images), Path("mine"))
        assert output_folder("advice", Path(images), tmp_path / "mine") == tmp_path / "mine"
    (photos / "labels.csv").write_text("path,label\n")
    monkeypatch.chdir(photos)
    assert output_folder("checks", Path("labels.csv"), None) == Path("checks/labels.csv")


def test_a_folder_is_claimed_once_and_again_by_its_own_images_only(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "photos").mkdir(parents=True)
    claim(tmp_path / "out", tmp_path / "a" / "photos", "headstart advise")
    claim(tmp_path / "out", tmp_path / "a" / "photos", "headstart advise")
    with pytest.raises(
        ConfigError,
        match=r"out holds results of .*a/photos, not of .*b/photos; choose "
        r"another",
    ):
        claim(tmp_path / "out", tmp_path / "b" / "photos", "headstart advise")


@pytest.mark.parametrize("images", ["x" * 100_000, 7, None, ["a"]])
def test_a_damaged_owner_is_a_short_line(tmp_path, images):
    write_json(tmp_path / "out" / FILE, {"images": images})
    with pytest.raises(DamagedError, match="images: ") as error:
        claim(tmp_path / "out", tmp_path / "photos", "headstart advise")
    assert len(str(error.value)) < 1000
