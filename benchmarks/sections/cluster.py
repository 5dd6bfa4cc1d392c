"""A study on a Ray cluster of two one-core nodes, beside two processes that share its trials."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rounds import Contender, Measured, say
from summary import Column, Target

from sections.base import Bench, Report

_ROOT = Path(__file__).resolve().parents[2]
_PROCESSES, _RAY = "two processes, --shard", "Ray, two nodes of one core"
_FIRST = 4  # results left out: what a start takes is no overhead of a trial
_STUDY = """name = "many"
dataset = "cifar10"
labels_per_class = [20]
seeds = {seeds}
precision = "fp32"
[[arms]]
name = "cnn"
model = "cnn"
method = "scratch"
recipe_changes = {{ duration = "40 steps", batch_size = 50, widths = [8, 16, 16] }}
"""


def cluster(bench: Bench) -> Report:
    """Trials an hour, and what a trial takes beside its own seconds, once the processes have started."""
    folder = bench.work / "cluster"
    folder.mkdir(exist_ok=True)
    study = folder / "many.toml"
    study.write_text(_STUDY.format(seeds=list(range(bench.sizes["cluster_trials"]))))
    measured = {name: Measured(contender=Contender(name=name, precision="fp32", worker="")) for name in _WAYS}
    for current in range(bench.rounds or 3):
        for name, run in _WAYS.items():
            out = folder / "out"
            run(study, out)
            measured[name].runs.append(_pace(out))
            say(f"round {current + 1}: {name}: {measured[name].runs[-1]['seconds']:.2f} s a trial")
            shutil.rmtree(out)
    rows = [_row(entry) for entry in measured.values()]
    columns: tuple[Column, ...] = (
        ("way", "name", "s"),
        ("runs", "runs", "d"),
        ("trials/minute", "per_minute", ".1f"),
        ("a trial's own s", "own_seconds", ".2f"),
        ("beside it, s", "overhead", ".2f"),
    )
    shares, ray = (measured[name].runs for name in (_PROCESSES, _RAY))
    ratio = statistics.median(a["seconds"] / b["seconds"] for a, b in zip(shares, ray, strict=True))
    return Report(
        title="A study on a cluster",
        columns=columns,
        rows=rows,
        targets=[
            Target(sentence="trials an hour on Ray against two processes", value=ratio, limit=0.9),
            Target(
                sentence="seconds beside a trial on Ray",
                value=rows[-1]["overhead"],
                limit=0.5,
                at_least=False,
            ),
        ],
        measured=measured,
    )


def _pace(out: Path) -> dict[str, float]:
    """Seconds between results of one of two workers, and a trial's own, without the first results."""
    from headstart import store

    trials = sorted(store.finished_trials(out), key=lambda trial: _ended(trial.folder))[_FIRST:]
    taken = _ended(trials[-1].folder) - _ended(trials[0].folder)
    own = statistics.fmean(trial.cost.spent_seconds for trial in trials[1:])
    return {"seconds": 2 * taken / (len(trials) - 1), "own_seconds": own}


def _ended(folder: Path) -> float:
    return (folder / "result.json").stat().st_mtime


def _row(entry: Measured) -> dict[str, Any]:
    return {
        "name": entry.contender.name,
        "runs": len(entry.runs),
        "per_minute": 120 / statistics.median(run["seconds"] for run in entry.runs),
        "own_seconds": statistics.median(run["own_seconds"] for run in entry.runs),
        "overhead": statistics.median(run["seconds"] - run["own_seconds"] for run in entry.runs),
    }


def _start(options: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(_ROOT / "src"), "OMP_NUM_THREADS": "1"}
    with log.open("w") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "headstart.cli", "study", *options],
            env=environment,
            stdout=file,
            stderr=file,
        )


def _require_success(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.wait():
        raise RuntimeError(f"exit code {process.returncode}: {log.read_text()[-600:]}")


def _by_processes(study: Path, out: Path) -> None:
    logs = [study.with_name(f"shard-{part}.log") for part in (1, 2)]
    running = [
        _start([str(study), "--out", str(out), "--shard", f"{part}/2"], log)
        for part, log in enumerate(logs, 1)
    ]
    for process, log in zip(running, logs, strict=True):
        _require_success(process, log)


def _by_ray(study: Path, out: Path) -> None:
    log = study.with_name("ray.log")
    with _nodes() as address:
        options = [str(study), "--out", str(out), "--cluster", address, "--threads", "1"]
        _require_success(_start(options, log), log)


@contextmanager
def _nodes() -> Iterator[str]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["PYTHONPATH"] = str(_ROOT / "src")  # the nodes' processes inherit it
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            made.add_node(num_cpus=1)
        yield str(made.address)
    finally:
        made.shutdown()


_WAYS = {_PROCESSES: _by_processes, _RAY: _by_ray}
