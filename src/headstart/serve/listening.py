"""A socket that listens, and the process that answers on it: SIGTERM lets what has come be answered."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from headstart.errors import BusyError, ConfigError
from headstart.serve.refusal import Refused
from headstart.serve.settings import Settings

_HEADER_SECONDS = 10.0  # for a request's head to arrive
_STALLED_SECONDS = 60.0  # for a client to take the part of an answer that was sent to it last
_BACKLOG = 128
_OF_NO_HTTP = {
    "content-type": "application/json",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "connection": "close",
}


@dataclass(frozen=True, kw_only=True)
class Moments:
    """What is called when a server listens, is told to end, and has answered what had come."""

    listening: Callable[[], Awaitable[None]]
    ended: Callable[[], Awaitable[None]]
    told_to_end: Callable[[], None] = lambda: None


def listen(settings: Settings) -> socket.socket:
    """A socket bound to the address, not yet listening.

    Raises: BusyError where the port is taken; ConfigError where the address is none of this machine."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(f"host {settings.host} cannot be found ({error.strerror}); see --host") from error
    bound = socket.socket(family, kind)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit it. asyncio sets it only where a socket names its protocol, and without it the end
    # of an answer waits 40 ms for the client's delayed acknowledgement of its head.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        bound.bind(address)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise BusyError(
                f"port {settings.port} of {settings.host} is taken; choose another with --port"
            ) from error
        raise ConfigError(
            f"{settings.host} port {settings.port} cannot be used ({error.strerror}); see --host and --port"
        ) from error
    return bound


def run(
    app: ASGIApp,
    bound: socket.socket,
    moments: Moments,
    grace_seconds: float,
) -> None:
    """Answers until SIGTERM or Ctrl-C, then for at most grace_seconds what has come; slow clients are cut
    off."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn raises it once more at its end
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR)  # a client's mistakes are its own
    config = uvicorn.Config(
        app,
        http=_Protocol,
        loop="asyncio",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=int(grace_seconds),
    )
    _Server(config, moments).run([bound])


def address_of(bound: socket.socket) -> str:
    """The address of a bound socket, as a browser takes it."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, moments: Moments) -> None:
        super().__init__(config)
        self._moments = moments

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await self._moments.listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._moments.told_to_end()
        await super().shutdown(sockets)
        await self._moments.ended()


class _Protocol(H11Protocol):
    """Closes connections whose request's head does not arrive in time, or whose client does not take its
    answer, which uvicorn would keep; and answers what is no HTTP as all else is answered."""

    _waiting: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        elif self._waiting is None:
            self._wait()

    def send_400_response(self, _msg: str) -> None:
        """{"error": line} for what is no HTTP; nothing where the answer was sent before all had come."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            content = Refused(400, "this is no request of HTTP/1.1 that can be read").response().body
            headers = {**_OF_NO_HTTP, "content-length": str(len(content))}
            head = h11.Response(status_code=400, headers=[*headers.items()], reason=b"Bad Request")
            for event in (head, h11.Data(data=bytes(content)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self._unstall()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(_STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._unstall()
        super().resume_writing()

    def _unstall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(_HEADER_SECONDS, self._close_idle)

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _close_idle(self) -> None:
        self._waiting = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
