"""The documentation as a site: it builds without a broken link, shows every picture, and can be searched from
disk, without a network."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
screenshots = importlib.import_module("screenshots")
pytest.importorskip("mkdocs", reason="the extra docs is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    return target


def test_every_picture_of_every_page_is_there_and_none_comes_from_elsewhere(site: Path) -> None:
    missing = []
    for page in site.rglob("*.html"):
        for source in re.findall(r'<(?:img|script)[^>]*\ssrc="([^"]+)"', page.read_text(encoding="utf-8")):
            path = unquote(source.partition("?")[0])
            if path.startswith("data:") or (page.name == "404.html" and path.startswith("/")):
                continue
            if not (page.parent / path).is_file():
                missing.append(f"{page.relative_to(site)}: {source}")
    assert missing == []


@pytest.mark.parametrize("page", ["index.html", "how-to/serve.html"])
def test_search_works_from_disk_without_a_network(site: Path, page: str) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed")
    if screenshots.chromium() is None:
        pytest.skip("no chromium found")
    with screenshots.browser() as launched:
        context = launched.new_context(offline=True)
        tab = context.new_page()
        tab.goto((site / page).as_uri())
        tab.click("input[name=query]")
        tab.type("input[name=query]", "EfficientNet")
        tab.wait_for_selector(".md-search-result__item", timeout=60_000)
        assert "matching document" in tab.inner_text(".md-search-result__meta")
        context.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_is_wider_than_its_window_and_every_picture_is_drawn(site: Path, width: int) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed")
    if screenshots.chromium() is None:
        pytest.skip("no chromium found")
    faults = []
    with screenshots.browser() as launched:
        tab = launched.new_page(viewport={"width": width, "height": 900})
        for page in sorted(site.rglob("*.html")):
            if page.name == "404.html":  # made for a server: its links begin at the root
                continue
            tab.goto(page.as_uri())
            wide, broken = tab.evaluate(
                "[document.documentElement.scrollWidth > innerWidth,"
                " [...document.images].filter((image) => image.complete && !image.naturalWidth).length]"
            )
            if wide or broken:
                faults.append((page.relative_to(site).as_posix(), wide, broken))
    assert faults == []
