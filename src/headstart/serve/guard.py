"""What stands before the routes: host names, origins, the token, and limits on number, size and time."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headstart.serve.metrics import Metrics
from headstart.serve.refusal import Refused, busy
from headstart.serve.settings import Settings

PROBES = ("/healthz", "/readyz")  # asked by machines without a token, and answered however busy
_PATHS = (*PROBES, "/predict", "/explain", "/models", "/metrics", "/openapi.json")
_HELD_BODIES = 4  # bodies of the largest size that all requests together may hold
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Guard:
    """An ASGI application before another: requests that break a limit are refused in one line."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._requests = 0
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"] if scope["path"] in _PATHS else "other"
        begin = time.monotonic()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_encoded(_HEADERS)]
                self._metrics.answered(path, message["status"], time.monotonic() - begin)
            await send(message)

        try:
            self._check(scope)
        except Refused as refused:
            await refused.response()(scope, receive, answer)
            return
        body = _Body(self, receive, self._settings)
        self._requests += 1
        self._metrics.in_flight.set(self._requests)
        try:
            await self._app(scope, body.receive, answer)
        finally:
            self._requests -= 1
            self._held_bytes -= body.bytes
            self._metrics.in_flight.set(self._requests)

    def hold(self, count: int) -> None:
        """Counts bytes of a body. Raises: Refused where all bodies together are too large."""
        self._held_bytes += count
        if self._held_bytes > _HELD_BODIES * self._settings.max_body_bytes:
            raise busy("too many images are on their way; try again in a second")

    def _check(self, scope: Scope) -> None:
        headers, settings = Headers(scope=scope), self._settings
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not settings.accepts_host(_host_name(hosts[0])):
            raise Refused(400, "this server does not answer under that host name; see --allow-host")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin.lower()).netloc != hosts[0].lower():
            raise Refused(403, "pages of other sites may not send requests here")
        if scope["path"] in PROBES:
            return
        if settings.token is not None and not _carries(headers, settings.token):
            raise Refused(
                401,
                "this server needs its token: send the header Authorization: Bearer TOKEN",
                {"WWW-Authenticate": "Bearer"},
            )
        declared = headers.get("content-length", "0")
        if int(declared if declared.isdigit() and len(declared) < 20 else 0) > settings.max_body_bytes:
            raise _too_large(settings)
        if scope["path"] != "/metrics" and self._requests >= settings.max_requests:
            raise busy(f"{self._requests:,} requests are being answered; try again in a second")


class _Body:
    """The body of one request as it arrives, under limits. bytes: so far."""

    def __init__(self, guard: Guard, receive: Receive, settings: Settings) -> None:
        self._guard, self._receive, self._settings = guard, receive, settings
        self._until = time.monotonic() + settings.timeout_seconds
        self._complete = False
        self.bytes = 0

    async def receive(self) -> Message:
        if self._complete:  # only a client that has gone is still to be told of
            return await self._receive()
        try:
            left = self._until - time.monotonic()
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except TimeoutError:
            raise Refused(
                408, f"the request did not arrive within {self._settings.timeout_seconds:g} s"
            ) from None
        if message["type"] == "http.request":
            count = len(message.get("body", b""))
            self.bytes += count
            self._guard.hold(count)
            if self.bytes > self._settings.max_body_bytes:
                raise _too_large(self._settings)
            self._complete = not message.get("more_body", False)
        return message


def _too_large(settings: Settings) -> Refused:
    return Refused(
        413, f"the request has more than {settings.max_body_bytes:,} bytes; send fewer or smaller images"
    )


def _host_name(header: str) -> str:
    """The name in a Host header, lower case, without port and brackets."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def _carries(headers: Headers, token: str) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
    return same and scheme.lower() == "bearer"


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]
