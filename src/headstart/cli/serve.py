"""The command that answers over HTTP: serve."""

from __future__ import annotations

import importlib.util
from typing import Annotated

import typer

from headstart.errors import ConfigError, unknown_name

_NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Folders of models, each as MODEL or NAME=MODEL: a finished trial's, a saved model's, or a "
            "study's with --arm.",
        ),
    ],
    arm: Annotated[
        list[str] | None, typer.Option("--arm", help="Which arm of a study's folder. May be repeated.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; one that others can reach needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0: any free one, which is printed.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(envvar="HEADSTART_TOKEN", help="That requests must carry: Authorization: Bearer TOKEN."),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A further name under which it is reached. May be repeated.")
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            help="What computes: predict (as that command), onnx, or int8 (ResNets). Another than predict is "
            "compared with it at the start."
        ),
    ] = "predict",
    max_batch: Annotated[int, typer.Option(help="Images that pass through the network at a time.")] = 32,
    max_wait_ms: Annotated[
        float, typer.Option(help="How long an image waits, at most, for others that are on their way.")
    ] = 5.0,
    max_requests: Annotated[
        int, typer.Option(help="Requests handled at once; a further one is answered 503.")
    ] = 64,
    max_body_mb: Annotated[int, typer.Option(help="Megabytes of one request.")] = 32,
    max_images: Annotated[int, typer.Option(help="Images of one request.")] = 32,
    max_megapixels: Annotated[int, typer.Option(help="Of one image; a larger one is not decoded.")] = 50,
    timeout: Annotated[
        float, typer.Option(help="Seconds for a request to arrive and to be answered.")
    ] = 30.0,
) -> None:
    """Answer over HTTP what images show, by trained models.

    POST /predict and /explain, GET /models, /healthz, /readyz, /metrics and /openapi.json. SIGTERM and Ctrl-C
    let requests that have come be answered; the exit code is then 0. Needs the extra `app`."""
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"serving needs {', '.join(missing)}: pip install 'headstart[app]'")
    from headstart.runtime.progress import say
    from headstart.serve.backends import BACKENDS
    from headstart.serve.listening import listen
    from headstart.serve.served import load_models
    from headstart.serve.server import serve as answer
    from headstart.serve.settings import Settings

    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    settings = Settings(
        host=host,
        port=port,
        token=token,
        names=tuple(allow_host or ()),
        max_batch=max_batch,
        max_wait_ms=max_wait_ms,
        max_requests=max_requests,
        max_body_bytes=max_body_mb * 1_000_000,
        max_images=max_images,
        max_pixels=max_megapixels * 1_000_000,
        timeout_seconds=timeout,
    )
    with listen(settings) as bound:
        loaded = load_models(models, arm or (), backend)
        for name, model in loaded.items():
            if model.agreement is not None:
                say(model.agreement.words(name))
        answer(bound, loaded, settings)
