"""The server's process: its models answer on a socket until it is told to end."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from headstart.runtime.progress import say
from headstart.runtime.show import shown
from headstart.serve.application import Service, application
from headstart.serve.listening import Moments, address_of, run
from headstart.serve.served import ServedModel
from headstart.serve.settings import Settings


def serve(bound: socket.socket, models: Mapping[str, ServedModel], settings: Settings) -> None:
    """Answers until SIGTERM or Ctrl-C; what has come by then is answered first.

    Prints the address on standard output when it listens."""
    service = Service(models, settings)

    async def started() -> None:
        await service.decoder.start()
        print(f"serving {', '.join(map(shown, models))} at {address_of(bound)}", flush=True)

    try:
        run(
            application(service),
            bound,
            Moments(listening=started, ended=service.decoder.close),
            2 * settings.timeout_seconds + 1,
        )
    finally:
        service.close()
    say("stopped; every request that had come is answered")
