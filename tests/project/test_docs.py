"""The documentation: it builds without a warning and without the network, its links resolve, its examples and
commands run."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "docs" / "reference" / "modules.md"  # docstrings; its own test is in test_layout.py
PAGES = [
    ROOT / "CONTRIBUTING.md",
    *(
        path
        for path in sorted((ROOT / "docs").rglob("*.md"))
        if "results" not in path.parts and path != MODULES
    ),
]


def blocks(language: str) -> list[tuple[str, str]]:
    """Every fenced block of a language in the pages, with the page's name."""
    found = [
        (path.stem, block)
        for path in PAGES
        for block in re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.S)
    ]
    assert found, f"no {language} block in docs/"
    return found


# ---------------------------------------------------------------- the site


class _Page(HTMLParser):
    """What a built page loads, links to, and can be linked at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag in ("script", "img", "iframe", "source", "video", "audio") and "src" in given:
            self.loads.append(given["src"])
        if tag == "link" and given.get("rel") in (
            "stylesheet",
            "icon",
            "preconnect",
            "preload",
            "dns-prefetch",
        ):
            self.loads.append(given["href"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    pytest.importorskip("mkdocs")
    # A proxy that answers nothing: a build that asks the network for anything fails.
    nowhere = {
        name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    }
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | nowhere | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_of_the_navigation_is_built(site: Path) -> None:
    for page in (
        "index",
        "tour",
        "concepts",
        "how-to/own-images",
        "reference/cli",
        "reference/api",
        "decisions/index",
        "negative-results",
    ):
        assert (site / f"{page}.html").is_file()


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    for path in site.rglob("*.html"):
        loads = _Page(path.read_text(encoding="utf-8")).loads
        assert [url for url in loads if re.match(r"(https?:)?//", url)] == [], path.name
    for style in site.rglob("*.css"):
        assert (
            re.findall(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", style.read_text(encoding="utf-8")) == []
        ), style.name


def test_every_internal_link_of_the_site_resolves(site: Path) -> None:
    pages = {
        path: _Page(path.read_text(encoding="utf-8"))
        for path in site.rglob("*.html")
        if path.name != "404.html"
    }
    broken, checked = [], 0
    for path, page in pages.items():
        for link in page.links:
            if re.match(r"[a-z]+:", link):
                continue
            target, anchor = urldefrag(link)
            there = (path.parent / unquote(target)).resolve() if target else path
            checked += 1
            if not there.exists() or (there in pages and unquote(anchor) not in pages[there].anchors):
                broken.append(f"{path.relative_to(site)} -> {link}")
    assert checked > 200
    assert broken == []


def test_the_reference_has_every_command_and_option(site: Path) -> None:
    import typer.main

    from headstart.cli.app import app

    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from docs_hooks import commands
    finally:
        sys.path.pop(0)
    page = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    found = commands(typer.main.get_command(app), ("headstart",))
    assert {" ".join(words) for words, _ in found} >= {
        "headstart study",
        "headstart data fetch",
        "headstart report",
    }
    for words, command in found:
        assert f">{' '.join(words)}<" in page
        for option in (
            name for parameter in command.params for name in parameter.opts if name.startswith("--")
        ):
            assert option in page, f"{' '.join(words)} {option}"


# ---------------------------------------------------------------- what it says


def test_every_whole_study_file_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.studies.study_file import load_study

    monkeypatch.chdir(tmp_path)
    (tmp_path / "images.toml").write_text(description_of_images(), encoding="utf-8")
    whole = [
        (page, block)
        for page, block in blocks("toml")
        if re.search(r"^name = ", block, flags=re.M) and "dataset" in block
    ]
    assert len(whole) >= 2
    for page, block in whole:
        (tmp_path / f"{page}.toml").write_text(block, encoding="utf-8")
        study, _ = load_study(str(tmp_path / f"{page}.toml"))
        assert len(study.arms) == 2 and len(study.claims) == 1, page


def description_of_images() -> str:
    """The images.toml that the how-to shows."""
    (text,) = [
        block for page, block in blocks("toml") if page == "own-images" and block.startswith("path = ")
    ]
    return text


def test_the_shown_description_of_images_gives_their_size_and_groups(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.data import load_dataset
    from headstart.studies.study_file import load_study

    monkeypatch.chdir(tmp_path)
    for picture in photos.rglob("*.png"):  # four pictures of each thing
        number = int(picture.stem)
        target = (
            tmp_path
            / "photos"
            / picture.parent.name
            / f"{picture.parent.name[0]}{number // 4}_{number % 4}.png"
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, target)
    (tmp_path / "images.toml").write_text(description_of_images(), encoding="utf-8")
    (text,) = [block for page, block in blocks("toml") if page == "own-images" and "[[arms]]" in block]
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    data = load_dataset(load_study("mine.toml")[0].dataset)
    assert data.train.images.shape[1:] == data.test.images.shape[1:] == (128, 128, 3)
    assert data.train.groups is not None
    assert (
        np.unique(data.train.groups, return_counts=True)[1] == 4
    ).all()  # whole things, none of them with a part in test


def test_every_part_of_a_study_file_is_toml() -> None:
    for _, block in blocks("toml"):
        tomllib.loads(block)


def test_every_shown_python_block_compiles_and_names_what_there_is() -> None:
    import headstart

    for page, block in blocks("python"):
        compile(block, page, "exec")
        for name in set(re.findall(r"\bheadstart\.([a-z_]+)\(", block)):
            assert name in headstart.__all__, f"{page} calls headstart.{name}"


def test_every_command_named_in_a_sentence_is_one_that_the_command_line_takes() -> None:
    """Commands in blocks are run, by tests/test_readme.py; those in a sentence are parsed."""
    import typer.main

    from headstart.cli.app import app

    shown = [
        command
        for path in PAGES
        for command in re.findall(r"`headstart ([a-z][^`\n]*)`", path.read_text(encoding="utf-8"))
    ]
    assert len(shown) >= 3
    for text in shown:
        command, words = typer.main.get_command(app), text.split()
        while below := getattr(command, "commands", {}):
            assert words[0] in below, f"headstart {text}"
            command, words = below[words[0]], words[1:]
        words = ["1" if word == "N" else word for word in words]  # a number is meant
        command.make_context("headstart", words)  # raises a usage error where it is not understood


# ---------------------------------------------------------------- the public API's examples

API = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
DOCUMENTED = re.findall(r"^::: (headstart\.\S+)", API, flags=re.M)


def _object(path: str) -> object:
    module, _, name = path.rpartition(".")
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        return getattr(importlib.import_module(module), name)


def test_every_public_function_is_documented_with_an_example() -> None:
    import headstart

    documented = {path.rpartition(".")[2] for path in DOCUMENTED}
    for name in set(headstart.__all__) - {"plots"}:
        assert name in documented
        assert ">>>" in (getattr(headstart, name).__doc__ or ""), name


@pytest.fixture(scope="module")
def study_folder(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with mine.toml: the how-to's study on a few pictures, with the quick study's claims, and a
    short training."""
    home = tmp_path_factory.mktemp("examples")
    claims = (ROOT / "src/headstart/studies/cifar10-quick.toml").read_text(encoding="utf-8")
    (text,) = [block for page, block in blocks("toml") if page == "own-images" and "[[arms]]" in block]
    (home / "images.toml").write_text(f'path = "{photos}"\nimage_pixels = 32\n', encoding="utf-8")
    for shown, small in (
        ('"images.toml"', f'"{home / "images.toml"}"'),
        ("input_pixels = 128", "input_pixels = 32"),
        ("input_pixels = 64", "input_pixels = 32"),
        ('"30 epochs", batch_size = 50', '"2 steps", batch_size = 16'),
    ):
        assert shown in text
        text = text.replace(shown, small)
    claims = claims[claims.index("[[claims]]") :].replace('"lp-ft"', '"probe"')  # the how-to has two arms
    text = text[: text.index("[[claims]]")] + claims
    (home / "mine.toml").write_text(text, encoding="utf-8")
    return home


def test_the_examples_of_the_public_functions_run(
    study_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import headstart

    monkeypatch.chdir(study_folder)
    names = {"headstart": headstart, "np": np, "dataset": headstart.load_dataset("cifar10")}
    # run_study first: the others read the folder that it makes.
    order = sorted(DOCUMENTED, key=lambda path: "run_study" not in path)
    runner, tried = doctest.DocTestRunner(verbose=False), 0
    told: list[str] = []
    for path in order:
        for test in doctest.DocTestFinder(recurse=False).find(_object(path), path, globs=names):
            if test.examples:
                tried += runner.run(test, out=told.append, clear_globs=False).attempted
                names |= {"folder": test.globs["folder"]} if "folder" in test.globs else {}
    assert runner.summarize(verbose=False).failed == 0, "".join(told)
    assert tried >= 15
