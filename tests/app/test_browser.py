"""The app in a real browser: no console error, nothing serious from axe-core, readable on a phone and in the
dark, usable by keyboard; a reload and an end of the app lose nothing."""

from __future__ import annotations

import io
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.browser import CAMERA_FLAGS, CHROMIUM, FLAGS, serious_faults, watched
from tests.support.running_app import start_app
from tests.support.running_server import RunningServer

pytest.importorskip("fastapi")
pytest.importorskip("playwright", reason="playwright is not installed; pip install 'headstart[dev]'")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium found; on Debian: apt-get install chromium"
)
PAGES = ("images", "advice", "try", "sort", "take")
WAIT = 240_000  # milliseconds: for a model that is loaded on a busy machine


class Desk:
    """A running app, which can be killed and started again on its port. name: of its images."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder, self.arguments = folder, arguments
        self.app: RunningServer = start_app(*arguments, cwd=folder)

    def address(self, page: str) -> str:
        return f"{self.app.address}/p/photos/{page}"

    def kill_and_start(self) -> None:
        port = self.app.port
        self.end()
        self.app = start_app(*self.arguments, cwd=self.folder, port=port)

    def end(self) -> None:
        self.app.process.kill()
        self.app.process.communicate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *CAMERA_FLAGS])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def desk(photos: Path, advised: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The app on the small folder, with advice that was given before."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(advised, folder / "advice/photos")
    desk = Desk(folder, str(photos))
    yield desk
    desk.end()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_every_page_is_readable_and_without_faults(desk: Desk, browser: Any, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    errors = watched(page)
    for name in PAGES:
        page.goto(desk.address(name))
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, name
        assert serious_faults(page) == [], name
        assert page.locator("h1").count() == 1
    assert errors == []
    page.close()


def test_an_image_is_tried_and_the_answer_survives_an_end_of_the_app(
    desk: Desk, browser: Any, photos: Path
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    errors = watched(page)
    page.goto(desk.address("try"))
    page.set_input_files("input[type=file]", str(next(photos.rglob("*.png"))))
    page.click("text=Ask")
    page.wait_for_selector(".bars li", timeout=WAIT)
    shares = page.locator(".bars .num").all_text_contents()
    assert sum(float(share.split()[0]) for share in shares) == pytest.approx(100, abs=0.2)
    page.wait_for_selector(".nearest .grid img", timeout=WAIT)
    assert page.locator(".nearest .grid img").count() == 6
    while page.evaluate("[...document.images].some((image) => !image.complete)"):  # else: errors
        page.wait_for_timeout(50)
    desk.kill_and_start()
    page.reload()
    page.wait_for_selector(".bars li", timeout=WAIT)
    assert page.locator(".bars .num").all_text_contents() == shares
    assert serious_faults(page) == [] and errors == []
    page.close()


def test_a_folder_is_sorted_and_corrected_by_keyboard(desk: Desk, browser: Any, photos: Path) -> None:
    unlabelled = desk.folder / "unlabelled"
    unlabelled.mkdir()
    for number, path in enumerate(sorted(photos.rglob("*.png"))[:6]):
        shutil.copy(path, unlabelled / f"{number}.png")
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    errors = watched(page)
    page.goto(desk.address("sort"))
    page.fill("input[name=path]", "unlabelled")
    page.click("text=Sort it")
    page.wait_for_selector("text=6 images, least certain first", timeout=WAIT)
    page.wait_for_selector(".sorted .here", timeout=WAIT)  # from then on the keys are heard
    page.keyboard.press("1")
    page.wait_for_selector(".sorted .settled", timeout=WAIT)
    page.keyboard.press("2")
    _until_settled(page, 2)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("u")
    _until_settled(page, 1)
    page.reload()
    assert page.locator(".sorted .settled").count() == 1
    assert len(list((desk.folder / "advice/photos/added").rglob("*.png"))) == 1
    table = desk.app.ask("/p/photos/sorted.csv")[2].decode().splitlines()
    assert table[0] == "path,class,probability,decided" and len(table) == 7
    assert sum(line.endswith(",yes") for line in table) == 1
    assert serious_faults(page) == [] and errors == []
    page.close()


@pytest.mark.slow
def test_from_a_dropped_zip_to_an_exported_model(browser: Any, photos: Path, tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as content:
        for path in photos.rglob("*.png"):
            content.write(path, path.relative_to(photos.parent).as_posix())
    desk = Desk(tmp_path)
    try:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["camera"])
        page = context.new_page()
        errors = watched(page)
        page.goto(desk.app.address)
        page.fill("input[name=name]", "photos")
        page.click("text=Begin")
        zipped = {"name": "photos.zip", "mimeType": "application/zip", "buffer": archive.getvalue()}
        page.set_input_files("input[type=file]", zipped)
        page.click(".drop button")
        page.wait_for_selector("text=120 images in 3 classes", timeout=WAIT)
        page.check("input[value=no]")
        page.click("text=Keep the answer")
        page.goto(desk.address("advice"))
        page.fill("input[name=minutes]", "1")
        page.click("form button >> text=Start")
        page.wait_for_selector("text=Running")
        assert errors == []
        desk.kill_and_start()  # the job goes on
        page.reload()
        errors.clear()  # the browser tells of the connection that was cut
        other = context.new_page()  # a second tab sees the same
        other.goto(desk.address("advice"))
        other.wait_for_selector("text=The answer", timeout=2 * WAIT)
        page.reload()
        assert page.locator(".confusion tbody tr").count() == 3
        page.click(".confusion a >> nth=0")
        page.wait_for_selector("main .grid img")
        _try_the_camera(page, desk)
        page.goto(desk.address("take"))
        page.click("text=Export to ONNX")
        page.wait_for_selector("a >> text=model.onnx", timeout=2 * WAIT)
        _check_onnx(desk.folder / "advice/photos/model/model.onnx", photos)
        _sort_and_correct(page, desk, photos)
        assert errors == []
    finally:
        desk.end()


@pytest.mark.slow
def test_a_folder_of_100_000_images_opens_and_scrolls(browser: Any, photos: Path, tmp_path: Path) -> None:
    """Names of the same files; `pytest -s` prints the seconds until the first images are seen."""
    files = sorted(photos.rglob("*.png"))
    for label in range(10):
        home = tmp_path / "photos" / f"class {label}"
        home.mkdir(parents=True)
        for number in range(10_000):
            os.link(files[number % len(files)], home / f"{number:05d}.png")
    desk = Desk(tmp_path, "photos")
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    errors = watched(page)
    loaded = "[...document.querySelectorAll('.grid img')].filter(image => image.naturalWidth > 0).length"
    try:
        for visit in ("first", "second"):
            began = time.perf_counter()
            page.goto(desk.address("images"))
            opened = time.perf_counter() - began
            page.locator(".grid").scroll_into_view_if_needed()
            _until(lambda: page.evaluate(loaded) > 0)
            print(f"{visit} visit: {opened:.2f} s, {time.perf_counter() - began:.2f} s to the first image")
        assert page.locator("h1").text_content() == "100,000 images in 10 classes"
        began = time.perf_counter()
        for rows in range(2, 21):
            page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
            _until(lambda rows=rows: page.locator(".grid img").count() >= 60 * rows)
        print(f"scrolled to image 1,200 in {time.perf_counter() - began:.1f} s")
        _until(lambda: page.evaluate(loaded) > 60)
        page.click("nav.classes a >> text=class 7")
        page.wait_for_selector("nav.classes a[aria-current] >> text=class 7")
        assert errors == []
    finally:
        page.close()
        desk.end()


def _until(is_so: Callable[[], bool]) -> None:
    """Asks again and again; pages allow playwright no function of its own to wait for."""
    until = time.monotonic() + WAIT / 1000
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.05)


def _until_settled(page: Any, count: int) -> None:
    _until(lambda: page.locator(".sorted .settled").count() == count)


def _try_the_camera(page: Any, desk: Desk) -> None:
    page.goto(desk.address("try"))
    page.click("text=Use the camera")
    _until(lambda: page.evaluate("document.querySelector('video').videoWidth") > 0)
    page.click("text=Take the picture")
    page.wait_for_selector(".bars li", timeout=WAIT)
    page.wait_for_selector("text=Unfamiliar", timeout=WAIT)


def _check_onnx(path: Path, photos: Path) -> None:
    import numpy as np
    import onnxruntime
    from PIL import Image

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    side = given.shape[1]
    image = np.array(Image.open(next(photos.rglob("*.png"))).convert("RGB").resize((side, side)))
    (probabilities,) = session.run(None, {given.name: image[None]})
    assert probabilities.shape == (1, 3) and abs(float(probabilities.sum()) - 1) < 1e-4


def _sort_and_correct(page: Any, desk: Desk, photos: Path) -> None:
    """200 images, corrected by keyboard, a page after the other."""
    unlabelled = desk.folder / "unlabelled"
    unlabelled.mkdir()
    files = sorted(photos.rglob("*.png"))
    for number in range(200):
        shutil.copy(files[number % len(files)], unlabelled / f"{number:03d}.png")
    page.goto(desk.address("sort"))
    page.fill("input[name=path]", "unlabelled")
    page.click("text=Sort it")
    page.wait_for_selector("text=200 images, least certain first", timeout=2 * WAIT)
    done = 0
    while True:
        rows = page.locator(".sorted > li").count()
        for place in range(rows):
            page.keyboard.press("1")
            _until_settled(page, place + 1)
        done += rows
        following = page.locator(f"nav[aria-label=Pages] >> text=Page {done // rows + 1}")
        if done >= 200 or not following.count():
            break
        following.last.click()
        _until_settled(page, 0)
    assert done == 200
    page.goto(desk.address("sort"))
    page.wait_for_selector("text=200 looked at by you")
