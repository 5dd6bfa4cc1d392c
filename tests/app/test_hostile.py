"""Requests that nobody means well with: whatever is sent to any address of the app, the answer is none of 5xx
but 503, the process goes on, and its memory stays."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import psutil
import pytest
from tests.support.noise_folder import write_noise
from tests.support.running_app import running_app
from tests.support.running_server import RunningServer, form

pytest.importorskip("fastapi")
TEXTS = (
    "",
    "photos",
    "cat",
    "cat/0.png",
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "%00",
    "\0",
    "a\r\nb: c",
    "\ud7ff\u202e\ufeff",
    "<script>alert(1)</script>",
    "{{ 7 * 7 }}",
    "'; DROP TABLE x; --",
    "x" * 5000,
    "-1",
    "99999999999999999999",
    "NaN",
    "1e400",
    "(a+)+$",
    "[",
    "exclude",
    "relabel",
    "none",
    "yes",
    "true",
)
BODIES = (
    b"",
    b"\0" * 100,
    b"PK\3\4" + b"\xff" * 200,
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0" * 50,
    b"{",
    b"[" * 3000,
)
LEFT_ALONE = (
    "/p/{name}/check",
    "/p/{name}/advice",
    "/p/{name}/export",
    "/p/{name}/live/{kind}",
)  # start jobs; stream


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("hostile")
    write_noise(folder / "photos", {"cat": 5, "dog": 5})
    with running_app("photos", cwd=folder, HEADSTART_CACHE=str(folder / "cache")) as running:
        yield running


def addresses(app: RunningServer) -> list[tuple[str, str, list[str]]]:
    """Method, path and names of the query's parameters of all routes."""
    paths = json.loads(app.ask("/openapi.json")[2])["paths"]
    return [
        (
            method.upper(),
            path,
            [each["name"] for each in route.get("parameters", ()) if each["in"] == "query"],
        )
        for path, methods in paths.items()
        for method, route in methods.items()
        if not (path in LEFT_ALONE and (method == "post" or "live" in path))
    ]


def strike(
    app: RunningServer, rng: random.Random, routes: list[tuple[str, str, list[str]]]
) -> tuple[int, str]:
    """One request made of what nobody expects; its status and what it was."""
    method, path, names = rng.choice(routes)
    filled = path
    for part in ("name", "kind", "digest", "place", "row", "file", "part"):
        good = {"name": "photos", "digest": "0" * 64, "part": "train", "place": "0", "row": "0"}.get(part)
        value = good if good and rng.random() < 0.7 else rng.choice(TEXTS)
        filled = filled.replace(f"{{{part}}}", quote(value, safe=""))
    query = {name: rng.choice(TEXTS) for name in names if rng.random() < 0.9}
    if query:
        filled += f"?{urlencode(query)}"
    body, headers = _body(rng) if method == "POST" else (None, {})
    if rng.random() < 0.3:
        headers = headers | {"HX-Request": "true"}
    if rng.random() < 0.3:
        headers = headers | {"Accept": "text/html"}
    status, _, _ = app.ask(filled, body, headers, method)
    return status, f"{method} {filled[:300]} {body!r:.200}"


def _body(rng: random.Random) -> tuple[Any, dict[str, str]]:
    fields = (
        "image",
        "decision",
        "label",
        "place",
        "rule",
        "together",
        "path",
        "name",
        "minutes",
        "class",
        "token",
    )
    kind = rng.choice(("form", "parts", "raw"))
    if kind == "form":
        values = {name: rng.choice(TEXTS) for name in fields if name not in ("minutes",)}
        return urlencode(values), {"Content-Type": "application/x-www-form-urlencoded"}
    if kind == "parts":
        files = rng.choice(("files", "image", "class", "x"))
        name = rng.choice(TEXTS).replace('"', "").replace("\r\n", " ").encode("ascii", "ignore").decode()
        return form((files, name, rng.choice(BODIES)), ("class", None, rng.choice(TEXTS).encode()))
    return rng.choice(BODIES), {
        "Content-Type": rng.choice(("application/json", "multipart/form-data", "", "x" * 500))
    }


def strikes(app: RunningServer, count: int, seed: int) -> None:
    rng, routes = random.Random(seed), addresses(app)
    assert len(routes) > 25
    for _ in range(count):
        status, what = strike(app, rng, routes)
        assert status < 500 or status == 503, what
    assert app.ask("/healthz")[0] == 200


def test_nothing_that_is_sent_fails_the_app(app: RunningServer) -> None:
    strikes(app, 250, seed=1)


@pytest.mark.slow
def test_20_000_hostile_requests_leave_its_memory_as_it_was(app: RunningServer) -> None:
    strikes(app, 3000, seed=2)
    process = psutil.Process(app.process.pid)
    before = process.memory_info().rss
    strikes(app, 20_000, seed=3)
    assert process.memory_info().rss - before <= 20_000_000
