"""Ten minutes at four fifths of what the server can do: every request is answered, and its memory stays."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from tests.support.models_study import run_models
from tests.support.running_server import RunningServer, running_server

pytest.importorskip("fastapi")
SECONDS = float(os.environ.get("HEADSTART_SOAK_SECONDS", "600"))
CLIENTS, SHARE, GROWTH_BYTES = 4, 0.8, 20_000_000


def sent(server: RunningServer, content: bytes, seconds: float, pause: float) -> list[int]:
    """The statuses of requests by one client, a pause after each."""
    statuses, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        statuses.append(server.ask("/predict?top=3", content)[0])
        time.sleep(pause)
    return statuses


def by_all(server: RunningServer, content: bytes, seconds: float, pause: float = 0.0) -> list[int]:
    with ThreadPoolExecutor(CLIENTS) as pool:
        work = [pool.submit(sent, server, content, seconds, pause) for _ in range(CLIENTS)]
        return [status for each in work for status in each.result()]


@pytest.mark.slow
def test_no_error_and_no_growth_at_four_fifths_of_capacity(photos: Path, tmp_path: Path) -> None:
    study = run_models(tmp_path, photos, "fp32", ("cnn",))
    content = next(photos.rglob("*.png")).read_bytes()
    with running_server(str(study), cwd=tmp_path) as server:
        seconds = min(20.0, SECONDS / 4)
        a_request = CLIENTS * seconds / len(by_all(server, content, seconds))  # of one client
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        statuses = by_all(server, content, SECONDS, a_request * (1 / SHARE - 1))
        assert set(statuses) == {200} and len(statuses) > SECONDS
        assert process.memory_info().rss - before <= GROWTH_BYTES
