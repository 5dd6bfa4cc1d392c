"""`headstart serve` as a real process on a free port, and requests to it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class RunningServer:
    """A server's process. port: on which it listens."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """The status, the headers and the content of one answer; body: also an iterable, sent in chunks."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, body, dict(headers or {}))
            answer = connection.getresponse()
            return (
                answer.status,
                {name.lower(): value for name, value in answer.getheaders()},
                answer.read(),
            )
        finally:
            connection.close()

    def json(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        """The status and the JSON of one answer."""
        status, _, content = self.ask(path, body, headers)
        return status, json.loads(content)


@contextmanager
def running_server(*arguments: str, cwd: Path, **environment: str) -> Iterator[RunningServer]:
    """The server, answering until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "headstart.cli", "serve", *arguments, "--port", "0"],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        assert line.startswith("serving "), process.stderr.read()
        yield RunningServer(process, int(line.rpartition(":")[2]))
    finally:
        process.kill()
        process.communicate()


def form(*parts: tuple[str, str | None, bytes]) -> tuple[bytes, dict[str, str]]:
    """A body of multipart/form-data with its headers.

    parts: field, file name (None: a text field), content."""
    lines: list[bytes] = []
    for field, name, content in parts:
        named = "" if name is None else f'; filename="{name}"'
        lines += [
            b"--limit",
            f'Content-Disposition: form-data; name="{field}"{named}'.encode(),
            b"",
            content,
        ]
    return b"\r\n".join([*lines, b"--limit--", b""]), {"Content-Type": "multipart/form-data; boundary=limit"}
