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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from competitors import Competitors

HERE = Path(__file__).resolve().parent
_SOURCE = HERE.parent / "src"
# Without what importing headstart adds: a peer's threads wait as they do for its users.
_ENVIRONMENT = dict(os.environ)
_TIMEOUT_SECONDS = 2 * 3600.0  # of one reply: a worker that hangs must not hang the benchmark


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One row: a script in workers/ and its configuration.

    python: of which environment, "ours" or "peers". threads: None leaves the library's own choice. beside:
    busy processes that run at the same time; contenders that differ in it alone are one process."""

    name: str
    precision: str
    worker: str
    python: str = "ours"
    config: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None
    beside: int = 0

    @property
    def key(self) -> str:
        threads = f", {self.threads} threads" if self.threads else ""
        beside = f", beside {self.beside}" if self.beside else ""
        return f"{self.name}, {self.precision}{threads}{beside}"

    @property
    def alone(self) -> Contender:
        """The same without others beside it."""
        return replace(self, beside=0)


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
        env = _ENVIRONMENT | {"PYTHONPATH": str(_SOURCE)}
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
    with contextlib.ExitStack() as stack:
        product = None
        if products:
            config = {"precisions": list(products)}
            multiplies = Contender(name="product", precision="", worker="product", config=config)
            product = Worker(multiplies, pythons, logs / "product.log")
            stack.callback(product.close)
            product.ask(None)
        workers = _start_all(measured, pythons, logs, stack)
        busy = stack.enter_context(Competitors(max(contender.beside for contender in contenders)))
        for current in range(rounds):
            for key, entry in measured.items():
                if entry.problem is not None:
                    continue
                try:
                    rate = {"product": product.ask()} if product else {}
                    with busy.running(entry.contender.beside) as cpu_seconds:
                        run = workers[entry.contender.alone.key].ask() | rate
                        run["beside_cpu_seconds"] = cpu_seconds()
                except WorkerError as error:
                    entry.problem, entry.runs = f"failed: {error}", []
                    say(f"{key}: {entry.problem}")
                    continue
                entry.runs.append(run)
                after_run(entry.contender, run)
                say(f"round {current + 1} of {rounds}: {key}: {_in_short(run)}")
    return measured


def _start_all(
    measured: Mapping[str, Measured], pythons: Mapping[str, Path], logs: Path, stack: contextlib.ExitStack
) -> dict[str, Worker]:
    """A worker for each contender, by the key that it has alone; what it says of itself is noted."""
    workers: dict[str, Worker] = {}
    said: dict[str, tuple[dict[str, Any], str | None]] = {}
    for key, entry in measured.items():
        alone = entry.contender.alone.key
        if alone not in workers:
            log = logs / f"{len(workers)}-{entry.contender.worker}.log"
            workers[alone] = Worker(entry.contender, pythons, log)
            stack.callback(workers[alone].close)
            said[alone] = _start(workers[alone])
        entry.about, entry.problem = said[alone]
        say(f"{key}: {entry.problem or 'ready'}")
    return workers


def _start(worker: Worker) -> tuple[dict[str, Any], str | None]:
    """What a worker says of itself once it is ready, and what went wrong."""
    try:
        reply = worker.ask(None)
    except WorkerError as error:
        return {}, f"failed: {error}"
    if "unavailable" in reply:
        return {}, f"n/a: {reply['unavailable']}"
    return reply["ready"], None


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
