"""The routes of the app behind their guard."""

from __future__ import annotations

import logging
import os
from typing import Annotated

from fastapi import FastAPI, Form, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from headstart import store
from headstart.app import (
    advice_pages,
    images_pages,
    live,
    sort_pages,
    start_pages,
    studies_pages,
    take_pages,
    try_pages,
)
from headstart.app.desk import Desk
from headstart.app.pages import CONTENT_SECURITY_POLICY, STATIC, failure, page, status_of
from headstart.errors import HeadstartError
from headstart.serve.bodies import one_line
from headstart.serve.guard import COOKIE, Guard, Rules, cookie_of, is_same
from headstart.serve.metrics import Metrics
from headstart.serve.refusal import Refused
from headstart.serve.settings import Settings
from headstart.version import __version__

_LOG = logging.getLogger("headstart.app")
_FREE = ("/login", "/static/app.css", "/static/icon.svg", "/healthz")
_RULES = Rules(
    free=_FREE,
    always=("/healthz",),
    uploads=("/drop", "/try"),
    content_security_policy=CONTENT_SECURITY_POLICY,
    login="/login",
)


def application(desk: Desk) -> ASGIApp:
    """The app's routes behind its guard."""
    app = FastAPI(title="headstart app", version=__version__, docs_url=None, redoc_url=None)
    _add_errors(app)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.state.desk = desk
    for pages in (
        start_pages,
        images_pages,
        advice_pages,
        try_pages,
        sort_pages,
        take_pages,
        studies_pages,
        live,
    ):
        app.include_router(pages.router)
    _add_login(app, desk.settings)

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    return Guard(app, desk.settings, Metrics(), _RULES)


def _add_login(app: FastAPI, settings: Settings) -> None:
    @app.get("/login")
    async def login() -> Response:
        return page("login.html")

    @app.post("/login")
    async def log_in(token: Annotated[str, Form()]) -> Response:
        if settings.token is None or not is_same(token.strip(), settings.token):
            return page("login.html", status=401, message="that is not the token; the terminal shows it")
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, cookie_of(settings.token), httponly=True, samesite="strict")
        return answer


def _add_errors(app: FastAPI) -> None:
    """Every error is one line: on a page for a browser, else {"error": line}."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        answer = failure(request, error.line, error.status)
        answer.headers.update(error.headers)
        return answer

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return failure(request, one_line(error.errors(), "the request"), 400)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        line = {404: "there is nothing at this address", 405: "this address is not asked so"}
        return failure(request, line.get(error.status_code, str(error.detail)), error.status_code)

    @app.exception_handler(HeadstartError)
    async def mistaken(request: Request, error: HeadstartError) -> Response:
        return failure(request, str(error), status_of(error))

    @app.exception_handler(OSError)
    async def of_the_disk(request: Request, error: OSError) -> Response:
        path = error.filename or "the disk"
        if store.is_disk_error(error):
            line = str(store.disk_error(error, path))
        else:  # one that has gone meanwhile, or may not be read or written
            line = f"{os.fsdecode(path)} cannot be used ({error.strerror}); reload the page"
        return failure(request, line, 422)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        _LOG.error("a request failed", exc_info=error)
        return failure(request, "the app failed at this request; the terminal says where", 500)
