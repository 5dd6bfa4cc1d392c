"""Where a browser is sent after a form."""

from __future__ import annotations

import asyncio
import errno
import io
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tests.support.noise_folder import write_noise

pytest.importorskip("fastapi")
from starlette.datastructures import UploadFile
from starlette.requests import Request

from headstart.app import advice_pages
from headstart.app.application import application
from headstart.app.desk import Desk
from headstart.app.images_pages import _store
from headstart.app.pages import go_to, render
from headstart.app.project import Project
from headstart.app.workspace import Workspace
from headstart.errors import ConfigError, DataError
from headstart.serve.settings import Settings


@pytest.mark.parametrize(
    ("name", "query", "location"),
    [
        ("photos", {}, "/p/photos/images"),
        ("My%20Photos", {}, "/p/My%2520Photos/images"),
        ('50% ?#;"', {"message": "a&b"}, "/p/50%25%20%3F%23%3B%22/images?message=a%26b"),
        ("ü", {"tried": "ab", "message": ""}, "/p/%C3%BC/images?tried=ab"),
    ],
)
def test_a_name_stays_itself_in_an_address(name: str, query: dict[str, str], location: str) -> None:
    answer = go_to(f"/p/{name}/images", **query)
    assert (answer.status_code, answer.headers["location"]) == (303, location)


def test_files_without_a_class_are_refused_before_any_is_stored(tmp_path: Path) -> None:
    image = (write_noise(tmp_path / "given", {"x": 1}) / "x/0.png").read_bytes()
    files = [UploadFile(io.BytesIO(image), filename=name) for name in ("a.zip", "b.png")]
    project = Project(tmp_path / "photos")
    with pytest.raises(ConfigError, match=r"say which class b\.png is of"):
        _store(project, files, " ")
    assert not project.added.exists()


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (errno.ENOSPC, b"cannot write /x: No space left on device; free space or choose another folder"),
        (errno.ENOENT, b"/x cannot be used (No such file or directory); reload the page"),
        (errno.EACCES, b"/x cannot be used (Permission denied); reload the page"),
    ],
)
def test_the_disk_is_blamed_for_its_own_faults_alone(tmp_path: Path, number: int, line: bytes) -> None:
    app = application(Desk(Workspace(tmp_path / "advice", [tmp_path]), Settings()))
    answer = app._app.exception_handlers[OSError](  # type: ignore[attr-defined]
        Request({"type": "http", "headers": []}), OSError(number, os.strerror(number), "/x")
    )
    assert line in asyncio.run(answer).body


def test_the_nearest_images_are_shown_by_their_names_while_decisions_change_their_places() -> None:
    images = [{"place": 7, "name": name, "label": "cat", "similarity": 0.5} for name in ("cat/ü 1.png", None)]
    found = {"images": images, "compared": 2, "held_out": 1, "unfamiliar": False}
    text = render("nearest.html", name="photos", digest="", found=found, why_not="")
    assert '<img src="/p/photos/thumbnail?image=cat%2F%C3%BC+1.png" alt="cat/ü 1.png"' in text
    assert '<img src="/p/photos/train-image/7" alt="cat"' in text


def test_a_held_out_image_that_is_known_no_more_is_not_a_training_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = SimpleNamespace(images=np.zeros((1, 2, 2, 3), np.uint8))
    monkeypatch.setattr(advice_pages, "read_images", lambda _: SimpleNamespace(train=train))
    project = Project(tmp_path)
    assert advice_pages.seen_image(project, "train", 0).media_type == "image/png"
    with pytest.raises(DataError, match="the images are others since the advice"):
        advice_pages.seen_image(project, "test", 0)
