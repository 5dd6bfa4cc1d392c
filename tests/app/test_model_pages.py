"""Pages that need a model, over HTTP: try, sort, take, the answer with its confusion matrix, studies."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image
from tests.support.running_app import running_app
from tests.support.running_server import RunningServer, form
from tests.support.synthetic_study import write_synthetic_study

from headstart import store

pytest.importorskip("fastapi")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BASE = "/p/photos"


@pytest.fixture(scope="module")
def folder(photos: Path, advised: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app")
    shutil.copytree(advised, folder / "advice/photos")
    shutil.copytree(photos, folder / "unlabelled")
    return folder


@pytest.fixture(scope="module")
def app(folder: Path, photos: Path) -> Iterator[RunningServer]:
    with running_app(str(photos), cwd=folder) as running:
        yield running


def text(app: RunningServer, path: str) -> str:
    status, _, content = app.ask(path, headers={"Accept": "text/html"})
    assert status == 200, content
    return content.decode()


def test_the_answer_is_in_the_words_of_advise(app, folder):
    page = text(app, f"{BASE}/advice")
    answer = json.loads((folder / "advice/photos/advice.json").read_text())
    assert answer["sentence"] in page
    cells = re.findall(r"/cell\?true=(\d)&amp;predicted=(\d)\" aria-label=\"(\d+) images", page)
    assert sum(int(count) for _, _, count in cells) == answer["test_images"]
    true, predicted, count = cells[0]
    cell = text(app, f"{BASE}/cell?true={true}&predicted={predicted}")
    assert cell.count("<img") == int(count) and "/image?image=" in cell
    place = re.search(r"/test-image/(\d+)", cell)[1]
    status, headers, _ = app.ask(f"{BASE}/test-image/{place}")
    assert (status, headers["content-type"]) == (200, "image/png")
    for wrong in ("cell?true=9&predicted=0", "cell?true=-1&predicted=0", "test-image/999999"):
        assert app.ask(f"{BASE}/{wrong}")[0] == 422


def test_a_report_is_shown_and_nothing_in_it_runs(app):
    _, headers, content = app.ask(f"{BASE}/report")
    assert "sandbox" in headers["content-security-policy"] and b"<h1" in content


def test_an_image_is_tried(app, folder, photos, tmp_path):
    path = sorted(photos.rglob("*.png"))[0]
    body, headers = form(("image", "x.png", path.read_bytes()))
    status, _, digest = app.ask(f"{BASE}/try", body, headers | {"HX-Request": "true"})
    assert status == 200 and len(digest) == 64
    answer = text(app, f"{BASE}/tried/{digest.decode()}/answer")
    assert "data:image/png;base64," in answer and answer.count("<meter") == 3
    until = time.monotonic() + 120
    while "Looking for" in (nearest := text(app, f"{BASE}/tried/{digest.decode()}/nearest")):
        assert time.monotonic() < until
    assert nearest.count("<img") == 6 and "Unfamiliar" not in nearest
    assert path.relative_to(photos).as_posix() in nearest or f"{path.parent.name}, 1.00" in nearest
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.tiff")
    body, headers = form(("image", "noise.tiff", (tmp_path / "noise.tiff").read_bytes()))
    strange = app.ask(f"{BASE}/try", body, headers | {"HX-Request": "true"})[2].decode()
    assert "Unfamiliar" in text(app, f"{BASE}/tried/{strange}/nearest")
    assert app.ask(f"{BASE}/tried/{strange}")[2].startswith(b"\xff\xd8")  # what every browser shows
    body, headers = form(("image", "x.txt", b"no image"))
    assert app.ask(f"{BASE}/try", body, headers)[0] == 422
    Image.new("1", (40_000, 40_000)).save(tmp_path / "large.png")  # 1,600 million pixels in 200 kB
    body, headers = form(("image", "large.png", (tmp_path / "large.png").read_bytes()))
    status, _, said = app.ask(f"{BASE}/try", body, headers)
    assert status == 422 and b"that image cannot be read" in said
    for wrong in ("0" * 64, "..", "x"):
        assert app.ask(f"{BASE}/tried/{wrong}/answer")[0] == 422
    status, _, _ = app.ask(f"{BASE}/tried/{strange}/add", urlencode({"label": "noise"}), FORM)
    assert status == 303 and len(list((folder / "advice/photos/added/noise").iterdir())) == 1


def test_a_folder_outside_the_opened_ones_is_not_sorted(app):
    for path in ("/etc", "..", "unlabelled/../../..", "none"):
        assert app.ask(f"{BASE}/sort", urlencode({"path": path}), FORM)[0] == 422


def test_what_is_taken_away_are_the_models_own_files(app, folder):
    page = text(app, f"{BASE}/take")
    assert f"headstart serve {folder}/advice/photos/model" in page
    _, headers, content = app.ask(f"{BASE}/take/model.safetensors")
    assert content == (folder / "advice/photos/model/model.safetensors").read_bytes()
    assert "attachment" in headers["content-disposition"]
    for wrong in ("model.onnx", "..%2fadvice.json", "app.json"):
        assert app.ask(f"{BASE}/take/{wrong}")[0] in (404, 422)


def test_studies_are_listed_with_their_reports(app, folder):
    study = write_synthetic_study(folder / "runs/synthetic", seeds=1, test_images=60)
    (study / "report.html").write_text("<h1>A report</h1>")
    page = text(app, "/studies")
    assert store.read_study(study).title in page and "trials finished" in page
    assert app.ask("/studies/synthetic/report")[0] == 200
    assert app.ask("/studies/none/report")[0] == 422
    assert b"<h1" in app.ask("/studies/published")[2]
