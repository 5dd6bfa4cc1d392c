"""What is refused before a route is asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("fastapi")
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from headstart.serve.guard import COOKIE, Guard, Rules, cookie_of
from headstart.serve.metrics import Metrics
from headstart.serve.refusal import Refused
from headstart.serve.settings import Settings

TOKEN = "0123456789abcdef"
LOCAL = {"host": "localhost:8000"}


PROBES = ("/healthz", "/readyz")
RULES = Rules(free=(*PROBES, "/login"), always=PROBES, login="/login")


async def length_of_body(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers with the number of bytes that it has read."""
    try:
        answer: Any = PlainTextResponse(str(len(await Request(scope, receive).body())))
    except Refused as refused:
        answer = refused.response()
    await answer(scope, receive, send)


async def ask(
    guard: Guard,
    headers: dict[str, str],
    path: str = "/predict",
    parts: Sequence[bytes] = (b"abc",),
    pause: float = 0.0,
    method: str = "POST",
) -> tuple[int, dict[str, str], str]:
    """The status, headers and text of an answer to a body in parts; pause: seconds before each."""
    left, sent = list(parts), list[Message]()

    async def receive() -> Message:
        await asyncio.sleep(pause)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
    await guard(scope, receive, send)
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, sent[1]["body"].decode()


def answered(settings: Settings, headers: dict[str, str], **request: Any) -> tuple[int, dict[str, str], str]:
    return asyncio.run(ask(Guard(length_of_body, settings, Metrics(), RULES), headers, **request))


def test_a_request_within_the_limits_is_answered() -> None:
    status, headers, text = answered(Settings(), LOCAL)
    assert (status, text) == (200, "3")
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer 0123456789abcdeF", "Basic 0123456789abcdef", TOKEN, "Bearer é"]
)
def test_without_its_token_a_request_is_refused(given: str) -> None:
    settings = Settings(host="0.0.0.0", token=TOKEN)
    headers = LOCAL | ({"authorization": given} if given else {})
    status, found, text = answered(settings, headers)
    assert (status, found["www-authenticate"]) == (401, "Bearer")
    assert "Authorization: Bearer TOKEN" in json.loads(text)["error"]


def test_with_its_token_or_for_a_probe_it_is_answered() -> None:
    settings = Settings(host="0.0.0.0", token=TOKEN)
    assert answered(settings, LOCAL | {"authorization": f"bearer {TOKEN}"})[0] == 200
    assert answered(settings, LOCAL, path="/readyz")[0] == 200
    assert answered(settings, LOCAL, path="/metrics")[0] == 401


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "[::1", "192.168.0.7"])
def test_another_host_name_is_refused(host: str) -> None:
    status, _, text = answered(Settings(), {"host": host})
    assert (status, "does not answer under that host name" in text) == (
        (200, False) if host == "[::1" else (400, True)
    )


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:8000", 200),
        ("http://localhost:9", 403),
        ("http://evil.example", 403),
        ("null", 403),
        ("http://[zz]", 403),
        ("http://[", 403),
    ],
)
def test_only_its_own_pages_may_ask(origin: str, status: int) -> None:
    assert answered(Settings(), LOCAL | {"origin": origin})[0] == status


def test_a_page_of_another_site_may_ask_for_nothing_and_a_link_may_be_followed() -> None:
    other = LOCAL | {"sec-fetch-site": "cross-site"}
    assert answered(Settings(), other | {"sec-fetch-mode": "no-cors"}, method="GET")[0] == 403
    assert answered(Settings(), other | {"sec-fetch-mode": "navigate"}, method="GET")[0] == 200
    assert answered(Settings(), other | {"sec-fetch-mode": "navigate"})[0] == 403


def test_what_needs_no_token_takes_few_bytes() -> None:
    settings = Settings(host="0.0.0.0", token=TOKEN)
    assert answered(settings, LOCAL, path="/login", parts=[b"1" * 9_000, b"1" * 9_000])[0] == 413
    assert answered(settings, LOCAL | {"content-length": "10001"}, path="/login")[0] == 413


def test_a_body_that_grows_too_large_is_refused() -> None:
    status, _, text = answered(Settings(max_body_bytes=10), LOCAL, parts=[b"12345", b"123456", b"1"])
    assert status == 413 and "more than 10 bytes" in text


def test_all_bodies_together_have_a_limit() -> None:
    async def several() -> list[tuple[int, dict[str, str], str]]:
        guard = Guard(length_of_body, Settings(max_body_bytes=10), Metrics(), RULES)
        asked = (ask(guard, LOCAL, parts=[b"1234", b"1234", b"1"], pause=0.01) for _ in range(6))
        together = await asyncio.gather(*asked)
        return [*together, await ask(guard, LOCAL, parts=[b"12345"])]

    *together, after = asyncio.run(several())
    statuses = [status for status, _, _ in together]
    assert 503 in statuses and 200 in statuses
    assert all(headers["retry-after"] == "1" for status, headers, _ in together if status == 503)
    assert after[0] == 200  # what was held is given back


def test_a_body_that_comes_too_slowly_is_refused() -> None:
    settings = Settings(timeout_seconds=0.05)
    status, _, text = answered(settings, LOCAL, parts=[b"1"] * 100, pause=0.02)
    assert status == 408 and "did not arrive within 0.05 s" in text


def test_too_many_requests_are_told_when_to_come_again() -> None:
    async def two() -> list[Any]:
        guard = Guard(length_of_body, Settings(max_requests=1), Metrics(), RULES)
        probe = ask(guard, LOCAL, path="/healthz")
        return await asyncio.gather(ask(guard, LOCAL, pause=0.05), ask(guard, LOCAL), probe)

    first, second, probe = asyncio.run(two())
    assert (first[0], second[0], probe[0]) == (200, 503, 200)
    assert second[1]["retry-after"] == "1" and "1 requests are being answered" in second[2]


def test_a_browser_gives_the_token_once_and_carries_a_cookie() -> None:
    settings = Settings(host="0.0.0.0", token=TOKEN)
    cookie = {"cookie": f"other=1; {COOKIE}={cookie_of(TOKEN)}"}
    assert answered(settings, LOCAL | cookie)[0] == 200
    assert TOKEN not in cookie_of(TOKEN)
    for wrong in (TOKEN, "", cookie_of(TOKEN)[:-1]):
        assert answered(settings, LOCAL | {"cookie": f"{COOKIE}={wrong}"})[0] == 401
    status, headers, _ = answered(settings, LOCAL | {"accept": "text/html"})
    assert (status, headers["location"]) == (303, "/login")
    assert answered(settings, LOCAL, path="/login")[0] == 200


def test_a_form_of_another_site_is_refused_where_the_browser_says_so_without_an_origin() -> None:
    assert answered(Settings(), LOCAL | {"sec-fetch-site": "cross-site"})[0] == 403
    assert answered(Settings(), LOCAL | {"sec-fetch-site": "same-origin"})[0] == 200


def test_head_is_answered_as_get_is() -> None:
    async def method(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(scope["method"])(scope, receive, send)

    guard = Guard(method, Settings(), Metrics(), RULES)
    assert [asyncio.run(ask(guard, LOCAL, method=name))[2] for name in ("HEAD", "GET", "POST")] == [
        "GET",
        "GET",
        "POST",
    ]


def test_bodies_are_small_where_no_files_are_taken() -> None:
    guard = Guard(length_of_body, Settings(), Metrics(), Rules(uploads=("/drop",)))
    parts = [b"1" * 600_000] * 2
    statuses = [asyncio.run(ask(guard, LOCAL, path=path, parts=parts))[0] for path in ("/p/x/drop", "/open")]
    assert statuses == [200, 413]
    declared = LOCAL | {"content-length": "1000001"}
    assert asyncio.run(ask(guard, declared, path="/open"))[0] == 413
