"""Why a request is not answered as it was meant: a status of HTTP and one line."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from headstart.runtime.show import shown

_RETRY_SECONDS = "1"
_LONGEST_NAME = 80


class Refused(HTTPException):  # FastAPI takes any other error while it reads a form for a damaged form
    """A request that is refused: `status` of HTTP, `line` that says why and what to do, extra `headers`."""

    headers: dict[str, str]

    def __init__(self, status: int, line: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, line, dict(headers or {}))
        self.status, self.line = status, line

    def __str__(self) -> str:
        return self.line

    def response(self) -> JSONResponse:
        """{"error": line}, in JSON."""
        return JSONResponse({"error": shown(self.line)}, self.status, self.headers)


def busy(line: str) -> Refused:
    """503 with the seconds after which the client may try again."""
    return Refused(503, line, {"Retry-After": _RETRY_SECONDS})


def short(name: str) -> str:
    """A name from a request, for a line: quoted, without control characters, cut where it is long."""
    text = shown(name)
    return repr(text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}...")
