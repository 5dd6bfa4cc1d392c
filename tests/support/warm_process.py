"""Command lines as real processes that start at once: forked from a process that has loaded the libraries.

A start from nothing takes one to three seconds of a processor, of which the command itself is a hundredth.
What a test sees is the same: a process with its own arguments, folder, environment, output and exit code.
That they start from nothing, too, is held by tests/project/test_imports.py: what a command imports can be
imported first.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from PIL import Image

PRELOADED = (
    "headstart.cli.app",
    "headstart.cli.doctor",
    "headstart.advise.command",
    "headstart.data_quality.folder",
    "headstart.data_quality.page",
    "headstart.predict.export",
    "headstart.predict.files",
    "headstart.predict.gradcam",
    "headstart.methods.scratch",
    "headstart.models.keras_resnet50",
    "headstart.report.writers.bundle",
    "headstart.report.writers.page",
    "headstart.studies.plan",
    "headstart.studies.run",
    "headstart.tuning.search",
    "pandas",
    "scipy.optimize",
    "scipy.stats",
    "sklearn.metrics",
    "torch.fx.experimental.symbolic_shapes",
)


class WarmProcess:
    """Runs `headstart ARGUMENTS` in forked processes, one at a time, until it is closed."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None

    def run(
        self, arguments: Sequence[str], cwd: Path, environment: dict[str, str], timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """As subprocess.run(capture_output=True, text=True). Raises: subprocess.TimeoutExpired."""
        if self._server is None:
            self._server = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        server = self._server
        assert server.stdin is not None and server.stdout is not None
        with TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            request = {
                "arguments": list(arguments),
                "cwd": str(cwd),
                "environment": environment,
                "out": str(out),
                "err": str(err),
            }
            print(json.dumps(request), file=server.stdin, flush=True)
            if not select.select([server.stdout], [], [], timeout)[0]:
                self.close()
                raise subprocess.TimeoutExpired(["headstart", *arguments], timeout)
            return subprocess.CompletedProcess(
                ["headstart", *arguments],
                int(server.stdout.readline()),
                out.read_text(encoding="utf-8"),
                err.read_text(encoding="utf-8"),
            )

    def close(self) -> None:
        if self._server is not None:
            os.killpg(self._server.pid, signal.SIGKILL)  # it has a session of its own
            self._server.communicate()
            self._server = None

    def __enter__(self) -> WarmProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _serve() -> dict[str, object] | None:
    """Forks a process for every request and answers with its exit code; in the forked one, its request."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            return json.loads(line)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return None


def _become(request: dict[str, object]) -> None:
    """Takes over a request's streams, folder, environment and arguments."""
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, request["out"], os.O_WRONLY | os.O_CREAT),
        (2, request["err"], os.O_WRONLY | os.O_CREAT),
    ):
        opened = os.open(str(path), flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(str(request["cwd"]))
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[call-overload]
    sys.argv = ["headstart", *request["arguments"]]  # type: ignore[misc]


if __name__ == "__main__":
    for name in PRELOADED:
        importlib.import_module(name)
    Image.preinit()
    Image.init()
    gc.freeze()  # what a collection would visit, it would copy in every forked process
    request = _serve()
    if request is not None:
        _become(request)
        try:
            sys.modules["headstart.cli.app"].main()
        except SystemExit as end:
            # The interpreter's own end takes everything apart that was loaded: 0.3 s.
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(int(end.code or 0))
