"""An output folder says whose results it holds, and another's images never write into it."""

from __future__ import annotations

import pytest

from headstart.data.folders.owner import FILE, claim
from headstart.errors import ConfigError, DamagedError
from headstart.store.files import write_json


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
