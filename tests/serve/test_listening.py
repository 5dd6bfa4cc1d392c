"""Connections: what is no HTTP is answered in one line, and a client that takes no answer is cut off."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

pytest.importorskip("fastapi")
import uvicorn
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from headstart.serve import listening

LARGE = 30_000_000


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that reads no body. Its answer is large where the path says so."""
    await Response(bytes(LARGE if scope["path"] == "/large" else 1))(scope, receive, send)


def conversation(*parts: bytes, pause: float = 0.0) -> tuple[bytes, list[Any]]:
    """What a client gets that sends some parts, each after the answer to the one before has begun, and waits
    before it reads on; and what fails in the server's loop."""
    failures: list[Any] = []

    async def talk() -> bytes:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context))
        config = uvicorn.Config(answer, http=listening._Protocol, lifespan="off", log_level="error")
        config.load()
        server = await loop.create_server(
            lambda: listening._Protocol(config, ServerState(), {}), "127.0.0.1", 0
        )
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            received = b""
            for part in parts:
                writer.write(part)
                received += await reader.read(1)
            await asyncio.sleep(pause)
            try:
                while content := await reader.read(1 << 20):
                    received += content
            except ConnectionResetError:
                pass
            writer.close()
            return received

    return asyncio.run(talk()), failures


def test_what_is_no_http_is_refused_in_one_line() -> None:
    received, failures = conversation(b"\0\1\r\n\r\n")
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n") and b"nosniff" in head
    assert json.loads(body) == {"error": "this is no request of HTTP/1.1 that can be read"}
    assert failures == []


def test_a_body_that_is_damaged_after_its_answer_ends_the_connection_and_nothing_else() -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    received, failures = conversation(head, b"zz\r\n")
    assert received.startswith(b"HTTP/1.1 200 OK\r\n") and received.count(b"HTTP/1.1") == 1
    assert failures == []


@pytest.mark.parametrize(("seconds", "whole"), [(0.05, False), (60.0, True)])
def test_a_client_that_takes_no_answer_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, seconds: float, whole: bool
) -> None:
    monkeypatch.setattr(listening, "_STALLED_SECONDS", seconds)
    request = b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    received, failures = conversation(request, pause=0.3)
    assert (len(received) > LARGE) is whole and failures == []
