"""The app over HTTP: pages, forms and events of a real process; nothing outside the opened folders."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from tests.support.noise_folder import write_noise
from tests.support.running_app import running_app
from tests.support.running_server import RunningServer, form

pytest.importorskip("fastapi")
PAGE = (Path(__file__).parents[2] / "docs/how-to/app.md").read_text(encoding="utf-8")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SCRIPT = FORM | {"HX-Request": "true"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app")
    photos = write_noise(folder / "photos", {"cat": 70, "<b>dog</b>": 20})
    (photos / "cat/0.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (folder / "outside.png").write_bytes((photos / "cat/1.png").read_bytes())
    (photos / "cat/link.png").symlink_to("/etc/hostname")
    return folder


@pytest.fixture(scope="module")
def app(folder: Path) -> Iterator[RunningServer]:
    with running_app("photos", cwd=folder, HEADSTART_CACHE=str(folder / "cache")) as running:
        yield running


def text(app: RunningServer, path: str, **headers: str) -> str:
    status, _, content = app.ask(path, headers={"Accept": "text/html", **headers})
    assert status == 200, content
    return content.decode()


def posted(
    app: RunningServer, address: str, headers: dict[str, str] = FORM, **fields: str
) -> tuple[int, str]:
    status, _, content = app.ask(address, urlencode(fields), headers)
    return status, content.decode()


def test_the_page_shows_classes_as_data_and_the_command_that_does_the_same(app, folder):
    page = text(app, "/p/photos/images")
    assert "<h1>90 images in 2 classes</h1>" in page
    assert "&lt;b&gt;dog&lt;/b&gt;" in page and "<b>dog</b>" not in page
    assert f"headstart data check {folder}/photos --out {folder}/advice/photos/check" in page
    assert page.count("<img") == 20  # the first class


def test_a_large_class_comes_page_by_page(app):
    first = text(app, "/p/photos/grid?of_class=cat", **{"HX-Request": "true"})
    assert first.count("<img") == 60 and "number=1" in first
    second = text(app, "/p/photos/grid?of_class=cat&number=1")
    assert second.count("<img") == 10 and "More images" not in second


def test_thumbnails_are_made_once_and_unreadable_files_have_one_too(app, folder):
    status, headers, content = app.ask("/p/photos/thumbnail?image=cat/1.png")
    assert (status, headers["content-type"], content[:2]) == (200, "image/jpeg", b"\xff\xd8")
    files = list((folder / "cache/thumbnails").rglob("*.jpg"))
    assert len(files) == 1
    app.ask("/p/photos/thumbnail?image=cat/1.png")
    assert list((folder / "cache/thumbnails").rglob("*.jpg")) == files
    assert app.ask("/p/photos/thumbnail?image=cat/0.png")[1]["content-type"] == "image/svg+xml"


@pytest.mark.parametrize(
    "name",
    ["../outside.png", "/etc/hostname", "cat/../../outside.png", "%2e%2e/outside.png", "cat/link.png"],
)
def test_a_path_outside_is_no_image(app, name):
    assert app.ask(f"/p/photos/thumbnail?image={name}")[0] == 422
    assert app.ask("/p/..%2f..%2fetc/images")[0] in (404, 422)


def test_pages_allow_no_inline_script_and_nothing_from_elsewhere(app):
    _, headers, content = app.ask("/p/photos/images", headers={"Accept": "text/html"})
    assert "script-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    page = content.decode()
    assert re.findall(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|javascript:|https?://", page) == []


def test_requests_of_other_sites_and_names_are_refused(app):
    for headers in (
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        status, _, _ = app.ask("/p/photos/undo", "", FORM | headers)
        assert status in (400, 403), headers


def test_a_decision_is_noted_shown_and_taken_back(app, folder):
    status, _ = posted(app, "/p/photos/decide", image="cat/1.png", decision="exclude")
    assert status == 200
    rows = (folder / "advice/photos/decisions.csv").read_text().splitlines()
    assert rows[1].endswith(",exclude,,cat/1.png")
    assert "left out" in text(app, "/p/photos/images?of_class=cat")
    assert posted(app, "/p/photos/undo")[0] == 303
    assert (folder / "advice/photos/decisions.csv").read_text().splitlines()[1:] == []


@pytest.mark.parametrize(
    "fields",
    [
        {"image": "cat/1.png", "decision": "delete"},
        {"image": "cat/none.png", "decision": "keep"},
        {"image": "cat/1.png", "decision": "relabel", "label": "../../x"},
        {"decision": "keep"},
    ],
)
def test_a_decision_that_makes_no_sense_is_one_line(app, fields):
    status, content = posted(app, "/p/photos/decide", **fields)
    assert status in (400, 422) and content.startswith('{"error":"')
    status, content = posted(app, "/p/photos/decide", SCRIPT, **fields)
    assert status in (400, 422) and 'role="alert"' in content


def test_files_are_dropped_into_a_class(app, folder):
    content = (folder / "outside.png").read_bytes()
    body, headers = form(("class", None, b"bird"), ("files", "new.png", content), ("files", "x.txt", b"no"))
    status, _, answer = app.ask("/p/photos/drop", body, headers | {"HX-Request": "true"})
    assert (status, answer) == (200, b"added: 1 in bird; left out: 1 no images by their content")
    assert (folder / "advice/photos/added/bird/new.png").read_bytes() == content
    assert "91 images in 3 classes" in text(app, "/p/photos/images")
    body, headers = form(("class", None, b""), ("files", "new.png", content))
    assert app.ask("/p/photos/drop", body, headers)[0] == 422


def test_the_check_runs_as_a_job_whose_progress_is_sent(app, folder):
    status, _ = posted(app, "/p/photos/together", together="no")
    assert status == 303
    command = (folder / "advice/photos/app.json").read_text()
    assert '"together": false' in command
    assert app.ask("/p/photos/live/none")[0] == 404


def test_a_project_of_dropped_images_begins_empty(app, folder):
    assert posted(app, "/create", name="leaves")[0] == 303
    assert "No images yet" in text(app, "/p/leaves/images")
    assert posted(app, "/create", name="leaves")[0] == 422
    assert posted(app, "/create", name="../x")[0] == 422
    assert app.ask("/open", urlencode({"path": "/etc"}), FORM)[0] == 422
    page = text(app, "/")
    assert "/p/leaves/images" in page and "/p/photos/images" in page


def test_an_app_that_others_reach_asks_for_its_token(folder):
    token = "t" * 20
    address = ("--host", "0.0.0.0", "--token", token)
    with running_app(*address, cwd=folder, HEADSTART_CACHE=str(folder / "cache")) as app:
        page = {"Accept": "text/html"}
        assert app.ask("/", headers=page)[1]["location"] == "/login"
        assert app.ask("/")[0] == 401
        assert posted(app, "/login", token="wrong")[0] == 401
        status, headers, _ = app.ask("/login", urlencode({"token": token}), FORM)
        cookie = headers["set-cookie"]
        assert status == 303 and "HttpOnly" in cookie and "SameSite=strict" in cookie and token not in cookie
        assert app.ask("/", headers=page | {"Cookie": cookie.split(";")[0]})[0] == 200
        assert app.ask("/", headers={"Authorization": f"Bearer {token}"})[0] == 200
        started = time.monotonic()
        app.process.terminate()
        assert app.process.wait(30) == 0
        assert time.monotonic() - started < 20


def test_an_app_that_is_told_to_end_ends_while_pages_follow_a_job(folder):
    with running_app("photos", cwd=folder, HEADSTART_CACHE=str(folder / "cache")) as app:
        assert posted(app, "/p/photos/check")[0] == 303
        with urlopen(f"{app.address}/p/photos/live/check", timeout=60) as followed:
            assert followed.readline() == b"retry: 1000\n"
            app.process.terminate()
            assert b"end" not in followed.read().split(b"event: ")  # the page asks again when there is an app
        assert app.process.wait(30) == 0
        assert app.process.stderr is not None and not app.process.stderr.read()


@pytest.mark.parametrize("command", re.findall(r"^headstart (app.*)$", PAGE, flags=re.M))
def test_every_shown_app_is_one_that_the_command_line_takes(command: str) -> None:
    import typer.main

    from headstart.cli.app import app

    name, *words = command.split()
    typer.main.get_command(app).commands[name].make_context(name, words)  # type: ignore[attr-defined]


def test_an_image_is_tried_without_a_script(app, folder):
    body, headers = form(("image", "x.png", (folder / "photos/cat/1.png").read_bytes()))
    status, answered, _ = app.ask("/p/photos/try", body, headers)
    assert status == 303 and re.fullmatch(r"/p/photos/try\?tried=[0-9a-f]{64}", answered["location"])
    assert app.ask(answered["location"])[0] == 200
    status, _, content = app.ask("/p/photos/try", *form(("image", None, b"text")))
    assert status == 400 and b"no image was chosen" in content


def test_a_form_that_is_too_large_is_told_so(app):
    status, _, content = app.ask("/login", iter([b"token=" + b"x" * 20_000]), FORM)
    assert status == 413 and b"more than 10,000 bytes" in content
