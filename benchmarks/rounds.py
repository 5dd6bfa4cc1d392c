"""Contenders as worker processes, run in turn, round by round: each round meets the machine as it then is.

All workers of a section are started and warmed up one after another and then wait; only one ever works. A
worker that fails or cannot do what is asked keeps its row, with the reason; the others go on.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
_SOURCE = HERE.parent / "src"
_TIMEOUT_SECONDS = 2 * 3600.0  # of one reply: a worker that hangs must not hang the benchmark


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One row: a script in workers/ and its configuration.

    python: of which environment, "ours" or "peers". threads: None leaves the library's own choice."""

    name: str
    precision: str
    worker: str
    python: str = "ours"
    config: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None

    @property
    def key(self) -> str:
        return f"{self.name}, {self.precision}" + (f", {self.threads} threads" if self.threads else "")


@dataclass(kw_only=True)
class Measured:
    """What a contender said about itself, its runs, and what went wrong (None: nothing)."""

    contender: Contender
    about: dict[str, Any] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    problem: str | None = None


class WorkerError(Exception):
    """A worker ended or did not answer; its last words."""


class Worker:
    """A contender's process. `ask` sends a line and returns the reply."""

    def __init__(self, contender: Contender, pythons: Mapping[str, Path], log: Path) -> None:
        self.contender, self.log = contender, log
        env = os.environ | {"PYTHONPATH": str(_SOURCE)}
        if contender.threads:
            env |= {"OMP_NUM_THREADS": str(contender.threads)}
        command = [
            str(pythons[contender.python]),
            "-W",
            "ignore",
            str(HERE / "workers" / f"{contender.worker}.py"),
            json.dumps(dict(contender.config) | {"precision": contender.precision}),
        ]
        with open(log, "w") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=env, text=True
            )

    def ask(self, line: str | None = "run") -> dict[str, Any]:
        """The next reply; None only waits for it. Raises: WorkerError."""
        assert self.process.stdin and self.process.stdout
        timer = threading.Timer(_TIMEOUT_SECONDS, self.process.kill)
        timer.start()
        try:
            if line is not None:
                self.process.stdin.write(line + "\n")
                self.process.stdin.flush()
            reply = self.process.stdout.readline()
        except OSError as error:
            raise WorkerError(f"{error}; see {self.log}") from error
        finally:
            timer.cancel()
        if not reply:
            lines = [text for text in self.log.read_text(errors="replace").splitlines() if text.strip()]
            raise WorkerError(
                lines[-1] if lines else f"ended with exit code {self.process.wait()} and no word"
            )
        return json.loads(reply)

    def close(self) -> None:
        """Lets the worker end: no more lines will come."""
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def run_rounds(
    contenders: Sequence[Contender],
    rounds: int,
    pythons: Mapping[str, Path],
    logs: Path,
    *,
    products: Sequence[str] = (),
    after_run: Callable[[Contender, Mapping[str, Any]], None] = lambda contender, run: None,
) -> dict[str, Measured]:
    """Run every contender once a round, in order, `rounds` times; what was measured, by contender key.

    products: precisions; the rates of the machine's matrix products in them are measured just before each run
    and kept in it as "product".
    after_run: called with each run as it ends."""
    logs.mkdir(parents=True, exist_ok=True)
    measured = {contender.key: Measured(contender=contender) for contender in contenders}
    assert len(measured) == len(contenders), "two contenders have the same key"
    workers: dict[str, Worker] = {}
    product = None
    try:
        if products:
            product = Worker(
                Contender(
                    name="product", precision="", worker="product", config={"precisions": list(products)}
                ),
                pythons,
                logs / "product.log",
            )
            product.ask(None)
        for number, contender in enumerate(contenders):
            worker = workers[contender.key] = Worker(
                contender, pythons, logs / f"{number}-{contender.worker}.log"
            )
            _start(worker, measured[contender.key])
        for current in range(rounds):
            for key, worker in workers.items():
                entry = measured[key]
                if entry.problem is not None:
                    continue
                try:
                    beside = {"product": product.ask()} if product else {}
                    run = worker.ask() | beside
                except WorkerError as error:
                    entry.problem, entry.runs = f"failed: {error}", []
                    say(f"{key}: {entry.problem}")
                    continue
                entry.runs.append(run)
                after_run(worker.contender, run)
                say(f"round {current + 1} of {rounds}: {key}: {_in_short(run)}")
    finally:
        for worker in (*workers.values(), *([product] if product else [])):
            worker.close()
    return measured


def _start(worker: Worker, entry: Measured) -> None:
    try:
        reply = worker.ask(None)
    except WorkerError as error:
        entry.problem = f"failed: {error}"
    else:
        if "unavailable" in reply:
            entry.problem = f"n/a: {reply['unavailable']}"
        else:
            entry.about = reply["ready"]
    say(f"{entry.contender.key}: {entry.problem or 'ready'}")


def _in_short(run: Mapping[str, Any]) -> str:
    parts = [f"{run['seconds']:.2f} s"]
    if "images" in run:
        parts.append(f"{run['images'] / run['seconds']:.1f} images/s")
    if "product" in run:
        rates = ", ".join(f"{rate:.0f} ({precision})" for precision, rate in run["product"].items())
        parts.append(f"products at {rates} GFLOP/s")
    return ", ".join(parts)


def say(text: str) -> None:
    """A line for people; standard output stays for the tables."""
    print(text, file=sys.stderr, flush=True)
