"""What `headstart app --demo` opens needs nothing that is not in the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.support.running_app import running_app
from tests.support.running_server import form

pytest.importorskip("fastapi")


def test_the_demonstration_tells_images_apart_without_any_cache(tmp_path: Path) -> None:
    with running_app("--demo", cwd=tmp_path, HEADSTART_CACHE=str(tmp_path / "cache")) as app:
        page = app.ask("/p/cifar10-demo/images", headers={"Accept": "text/html"})[2].decode()
        assert "80 images in 10 classes" in page
        files = sorted((tmp_path / "advice/cifar10-demo/images").rglob("*.png"))
        right = 0
        for path in files[::8]:
            body, headers = form(("image", path.name, path.read_bytes()))
            digest = app.ask("/p/cifar10-demo/try", body, headers | {"HX-Request": "true"})[2].decode()
            said = app.ask(f"/p/cifar10-demo/tried/{digest}/answer")[2].decode()
            best = re.search(r'class="of">([^<]+)<', said)
            right += best is not None and best[1] == path.parent.name
        assert right >= 6
        nearest = app.ask(f"/p/cifar10-demo/tried/{digest}/nearest")[2].decode()
        assert "of your own images" in nearest


def test_a_demonstration_whose_app_was_killed_is_completed(tmp_path: Path) -> None:
    from headstart.app.demo import open_demo
    from headstart.app.workspace import Workspace

    Workspace(tmp_path, [tmp_path]).create("cifar10-demo")
    for _ in range(2):
        project = open_demo(Workspace(tmp_path, [tmp_path]))
        assert len(project.listing()) == 80 and (project.folder / "model/model.safetensors").exists()
