"""The app's process: a socket listens, a browser is opened, SIGTERM ends it; jobs go on."""

from __future__ import annotations

import secrets
import socket
import webbrowser
from dataclasses import replace

from headstart.app.application import application
from headstart.app.desk import Desk
from headstart.app.workspace import Workspace
from headstart.serve.listening import Moments, address_of, run
from headstart.serve.settings import Settings

MAX_BODY_BYTES = 2_000_000_000  # of dropped files; they are kept on disk while they arrive
UPLOAD_SECONDS = 900.0
_GRACE_SECONDS = 2.0  # for what is being answered


def new_token() -> str:
    """A token for an app that other machines can reach."""
    return secrets.token_urlsafe(24)


def serve(bound: socket.socket, workspace: Workspace, settings: Settings, path: str, browse: bool) -> None:
    """Answers until SIGTERM or Ctrl-C. path: of the first page. browse: open it in a browser.

    Prints the address on standard output when it listens."""
    settings = replace(settings, max_body_bytes=MAX_BODY_BYTES, timeout_seconds=UPLOAD_SECONDS)
    desk = Desk(workspace, settings)
    address = address_of(bound) + path

    async def started() -> None:
        print(f"headstart app: {address}", flush=True)
        if browse:
            webbrowser.open(address)

    moments = Moments(listening=started, ended=desk.close, told_to_end=desk.ending.set)
    run(application(desk), bound, moments, _GRACE_SECONDS)
