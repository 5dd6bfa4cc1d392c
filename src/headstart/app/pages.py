"""Pages from templates: every value in them is data, never markup."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from headstart.app.project import Project
from headstart.errors import BusyError, HeadstartError
from headstart.runtime.progress import clock
from headstart.runtime.show import printable
from headstart.serve.refusal import Refused
from headstart.version import __version__

_FOLDER = Path(__file__).parent
STATIC = _FOLDER / "static"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src blob:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# A report is a document: nothing in it runs, whatever it says of itself.
DOCUMENT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data: 'self'; font-src data:; sandbox "
    "allow-top-navigation-by-user-activation; frame-ancestors 'none'"
)
TABS = (
    ("images", "Images"),
    ("advice", "Advice"),
    ("try", "Try it"),
    ("sort", "Sort a folder"),
    ("take", "Take it away"),
)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "count": lambda number: f"{number:,}",
        "percent": lambda share: f"{100 * share:.1f} %",
        "clock": clock,
        "printable": printable,
        "part": lambda text: quote(text, safe=""),
        "query": urlencode,
    }
    environment.globals.update(version=__version__, tabs=TABS)
    return environment


_TEMPLATES = _environment()


def render(template: str, **values: Any) -> str:
    """A template as text."""
    return _TEMPLATES.get_template(template).render(**values)


def page(template: str, project: Project | None = None, status: int = 200, **values: Any) -> Response:
    """A whole page; tab: which of the project's it is."""
    values = {"project": project, "tab": "", "message": ""} | values
    return HTMLResponse(render(template, **values), status)


def is_fragment(request: Request) -> bool:
    """Whether a script of the page asked, which puts the answer into it."""
    return "hx-request" in request.headers


def go_to(path: str, message: str = "", **query: str) -> Response:
    """Sends a browser to another page of the app, which shows the message. query: what else it is asked."""
    values = query | ({"message": message} if message else {})
    return RedirectResponse(quote(path) + (f"?{urlencode(values)}" if values else ""), 303)


def failure(request: Request, line: str, status: int) -> Response:
    """An error in one line: for a script, in the place for messages; for a browser, a page; else JSON."""
    if is_fragment(request):
        headers = {"HX-Retarget": "#message", "HX-Reswap": "innerHTML"}
        return HTMLResponse(render("message.html", error=line), status, headers)
    if "text/html" in request.headers.get("accept", ""):
        return page("failure.html", status=status, error=line)
    return Refused(status, line).response()


def status_of(error: HeadstartError) -> int:
    """The status of HTTP for an error that a user can mend."""
    return 409 if isinstance(error, BusyError) else 422
