"""The command that opens the app in a browser: app."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from headstart.errors import ConfigError

_NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


def app(
    folder: Annotated[
        Path | None,
        typer.Argument(help="Images to open: a folder with a sub-folder a class, a zip of one, or a table."),
    ] = None,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Open a few CIFAR-10 images and a small model that come with headstart."),
    ] = False,
    port: Annotated[int, typer.Option(help="Port to listen on; 0: any free one, which is printed.")] = 8765,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where advice, decisions and dropped images go, a folder for each (default: advice)."
        ),
    ] = None,
    allow: Annotated[
        list[Path] | None,
        typer.Option(help="A folder below which the page may open paths, beside this one. May be repeated."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; one that others can reach needs a token.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            envvar="HEADSTART_TOKEN", help="Asked for once in each browser (default with --host: a new one)."
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A further name under which it is reached. May be repeated.")
    ] = None,
) -> None:
    """Open the app: look at images, get advice, try the model, sort a folder, in a browser.

    What takes minutes runs in processes of its own, which go on when the app ends; the page shows the command
    that would do the same. Needs the extra `app`."""
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"the app needs {', '.join(missing)}: pip install 'headstart[app]'")
    from headstart.app.demo import open_demo
    from headstart.app.server import new_token, serve
    from headstart.app.workspace import Workspace
    from headstart.data.folders.owner import output_folder
    from headstart.runtime.progress import say
    from headstart.serve.listening import listen
    from headstart.serve.settings import Settings, is_loopback

    if token is None and not is_loopback(host):
        token = new_token()
        say(f"token for browsers and programs: {token}")
    settings = Settings(host=host, port=port, token=token, names=tuple(allow_host or ()))
    if out is None:  # where `headstart advise` puts it
        out = output_folder("advice", folder, None).parent if folder is not None else Path("advice")
    workspace = Workspace(out.resolve(), [Path.cwd(), *([folder] if folder else []), *(allow or [])])
    if demo and folder is not None:
        raise ConfigError(f"--demo opens images of its own, {folder} others; give one of the two")
    project = open_demo(workspace) if demo else workspace.open(folder) if folder is not None else None
    path = f"/p/{quote(project.name)}/images" if project is not None else "/"
    with listen(settings) as bound:
        serve(bound, workspace, settings, path, browser)
