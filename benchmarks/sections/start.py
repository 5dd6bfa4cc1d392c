"""Start: CPU seconds of commands that compute nothing, from a shell's cold interpreter to their end."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rounds import Contender, Measured, say
from summary import Column, Target

from sections.base import Bench, Report

_ROOT = Path(__file__).resolve().parents[2]
_GOLDEN = _ROOT / "tests" / "golden"  # a finished study of seven trials
# The command's words, and the CPU seconds that it may take.
COMMANDS: dict[str, tuple[Sequence[str], float]] = {
    "--version": (("--version",), 0.3),
    "list": (("list",), 1.0),
    "doctor": (("doctor",), 2.0),
    "findings report/trials": (("findings", str(_ROOT / "report" / "trials")), 2.0),
    "study, finished before": (("study", "study.toml", "--out", "run"), 3.0),
}


def start(bench: Bench) -> Report:
    """CPU seconds of each command, the median of rounds; wall seconds beside them."""
    folder = bench.work / "start"
    shutil.copytree(_GOLDEN, folder)
    measured = {name: Measured(contender=Contender(name=name, precision="", worker="")) for name in COMMANDS}
    for current in range(bench.rounds or 5):
        for name, (words, _) in COMMANDS.items():
            run = cpu_seconds([sys.executable, "-m", "headstart.cli", *words], folder)
            measured[name].runs.append(run)
            say(f"round {current + 1}: {name}: {run['cpu_seconds']:.2f} s of the processor")
    rows = [_row(entry) for entry in measured.values()]
    columns: tuple[Column, ...] = (
        ("headstart ...", "name", "s"),
        ("runs", "runs", "d"),
        ("CPU seconds", "cpu_seconds", ".2f"),
        ("lowest", "lowest", ".2f"),
        ("highest", "highest", ".2f"),
        ("seconds", "seconds", ".2f"),
    )
    targets = [
        Target(
            sentence=f"CPU seconds of headstart {row['name']}",
            value=row["cpu_seconds"],
            limit=COMMANDS[row["name"]][1],
            at_least=False,
        )
        for row in rows
    ]
    return Report(
        title="Start of commands that compute nothing",
        columns=columns,
        rows=rows,
        targets=targets,
        measured=measured,
    )


def cpu_seconds(command: Sequence[str], folder: Path) -> dict[str, float]:
    """User and system seconds of a process and those that it waited for, and wall seconds.

    Raises: subprocess.CalledProcessError where it fails."""
    environment = os.environ | {"PYTHONPATH": str(_ROOT / "src")}
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command))
    return {"cpu_seconds": usage.ru_utime + usage.ru_stime, "seconds": time.perf_counter() - begin}


def _row(entry: Measured) -> dict[str, Any]:
    taken = [run["cpu_seconds"] for run in entry.runs]
    return {
        "name": entry.contender.name,
        "runs": len(taken),
        "cpu_seconds": statistics.median(taken),
        "lowest": min(taken),
        "highest": max(taken),
        "seconds": statistics.median(run["seconds"] for run in entry.runs),
    }
