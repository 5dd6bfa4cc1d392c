"""What stands before the routes: host names, origins, the token, and limits on number, size and time."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headstart.serve.metrics import Metrics
from headstart.serve.refusal import Refused, busy
from headstart.serve.settings import Settings

_HELD_BODIES = 4  # bodies of the largest size that all requests together may hold
_FREE_BODY_BYTES = 10_000  # of a request that needs no token, as one that brings it
_FORM_BYTES = 1_000_000  # of a request that brings no files
COOKIE = "headstart"  # of a browser that has given the token


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a guard knows of the routes behind it.

    free: paths without a token. always: of those, the ones answered however busy. paths: named by the
    metrics. uploads: how paths end that take files; bodies of others, which are held in memory, are small.
    content_security_policy: what a browser may load. login: where a browser without the token is
    sent; None: it is refused as a program is."""

    free: tuple[str, ...] = ()
    always: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    uploads: tuple[str, ...] = ("",)
    content_security_policy: str = "default-src 'none'; frame-ancestors 'none'"
    login: str | None = None

    def headers(self) -> list[tuple[str, str]]:
        """Of every answer, where it has none of that name."""
        return [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("content-security-policy", self.content_security_policy),
            ("referrer-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ]


class Guard:
    """An ASGI application before another: requests that break a limit are refused in one line."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics, rules: Rules) -> None:
        self._app, self._settings, self._metrics, self._rules = app, settings, metrics, rules
        self._requests = 0
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"] if scope["path"] in self._rules.paths else "other"
        begin = time.monotonic()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _completed(message["headers"], self._rules.headers())
                self._metrics.answered(path, message["status"], time.monotonic() - begin)
            await send(message)

        try:
            self._check(scope)
        except Refused as refused:
            await self._refusal(scope, refused)(scope, receive, answer)
            return
        body = _Body(self, receive, self._settings, self._limit(scope))
        self._requests += 1
        self._metrics.in_flight.set(self._requests)
        # HEAD is GET without the body, which the server leaves out; routes know GET alone.
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            await self._app(asked, body.receive, answer)
        finally:
            self._requests -= 1
            self._held_bytes -= body.bytes
            self._metrics.in_flight.set(self._requests)

    def _limit(self, scope: Scope) -> int:
        """Bytes of a request's body: few where no token is asked for, or no files are taken."""
        most = self._settings.max_body_bytes
        if scope["path"] in self._rules.free:
            return min(most, _FREE_BODY_BYTES)
        return most if scope["path"].endswith(self._rules.uploads) else min(most, _FORM_BYTES)

    def hold(self, count: int) -> None:
        """Counts bytes of a body. Raises: Refused where all bodies together are too large."""
        self._held_bytes += count
        if self._held_bytes > _HELD_BODIES * self._settings.max_body_bytes:
            raise busy("too many images are on their way; try again in a second")

    def _refusal(self, scope: Scope, refused: Refused) -> Response:
        """A refusal as its client understands it: a browser without the token is asked for it."""
        login = self._rules.login
        if refused.status == 401 and login and "text/html" in Headers(scope=scope).get("accept", ""):
            return RedirectResponse(login, 303)
        return refused.response()

    def _check(self, scope: Scope) -> None:
        headers, settings = Headers(scope=scope), self._settings
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not settings.accepts_host(_host_name(hosts[0])):
            raise Refused(400, "this server does not answer under that host name; see --allow-host")
        origin = headers.get("origin")
        if origin is not None and _place_of(origin) != hosts[0].lower():
            raise Refused(403, "pages of other sites may not send requests here")
        # A link that somebody follows may come from anywhere; a page may ask for nothing by itself.
        follows_link = scope["method"] in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site") == "cross-site" and not follows_link:
            raise Refused(403, "pages of other sites may not send requests here")
        if scope["path"] in self._rules.always:
            return
        is_free = scope["path"] in self._rules.free
        if settings.token is not None and not is_free and not carries(headers, settings.token):
            raise Refused(
                401,
                "this server needs its token: send the header Authorization: Bearer TOKEN",
                {"WWW-Authenticate": "Bearer"},
            )
        declared = headers.get("content-length", "0")
        limit = self._limit(scope)
        if int(declared if declared.isdigit() and len(declared) < 20 else 0) > limit:
            raise _too_large(limit)
        if scope["path"] != "/metrics" and self._requests >= settings.max_requests:
            raise busy(f"{self._requests:,} requests are being answered; try again in a second")


class _Body:
    """The body of one request as it arrives, under limits. bytes: so far."""

    def __init__(self, guard: Guard, receive: Receive, settings: Settings, limit: int) -> None:
        self._guard, self._receive, self._settings, self._limit = guard, receive, settings, limit
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
            if self.bytes > self._limit:
                raise _too_large(self._limit)
            self._complete = not message.get("more_body", False)
        return message


def _too_large(limit: int) -> Refused:
    return Refused(413, f"the request has more than {limit:,} bytes; send fewer or smaller images")


def _place_of(origin: str) -> str:
    """Host and port of an Origin header, lower case; "" where it is none."""
    try:
        return urlsplit(origin.lower()).netloc
    except ValueError:
        return ""


def _host_name(header: str) -> str:
    """The name in a Host header, lower case, without port and brackets."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def carries(headers: Headers, token: str) -> bool:
    """Whether a request carries the token: as a bearer's, or as the cookie that a browser got for it."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and is_same(given.strip(), token):
        return True
    cookies = cookie_parser(headers.get("cookie", ""))
    return is_same(cookies.get(COOKIE, ""), cookie_of(token))


def is_same(given: str, token: str) -> bool:
    """Whether a token is the right one, in a time that does not tell how much of it is."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def cookie_of(token: str) -> str:
    """The cookie of a browser that has given the token; the token cannot be read from it."""
    return hmac.new(token.encode(), b"headstart's cookie", "sha256").hexdigest()


def _completed(
    headers: Iterable[tuple[bytes, bytes]], more: Sequence[tuple[str, str]]
) -> list[tuple[bytes, bytes]]:
    given = list(headers)
    names = {name.lower() for name, _ in given}
    return given + [(name.encode(), value.encode()) for name, value in more if name.encode() not in names]
