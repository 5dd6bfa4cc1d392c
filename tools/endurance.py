"""A study that is killed again and again: nothing finished is lost, memory and descriptors stay flat.

    python tools/endurance.py --minutes 60 --every 240

A study of many short trials runs in a process of its own, whose clock is set back by an hour each minute. It
is killed with SIGKILL at random moments, `every` seconds apart on average, and started again with the same
command, until the minutes are over. After each kill every trial that had finished must still be there, byte
for byte. In the end the trials that a kill interrupted are run once more without one: they must have the same
bits. Prints a table in Markdown; exit code 1 where anything was lost or changed, and where memory or
descriptors grow.

Memory and descriptors are compared within a process, from its second finished trial on: imports, the images
and the first trial's buffers come before that, and processes differ. What grows is the slope of a line
through these samples over the trials that the process has finished, one slope for all processes.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headstart import store

# Growth with each trial that counts as a leak. A process keeps a row of results.csv of each finished trial.
MOST_MEGABYTES, MOST_DESCRIPTORS = 0.25, 0.05
ROOT = Path(__file__).resolve().parents[1]
STUDY = """name = "endurance"
dataset = "photos"
labels_per_class = [5]
seeds = {seeds}
precision = "fp32"
[[arms]]
name = "cnn"
model = "cnn"
method = "scratch"
recipe_changes = {{ duration = "{epochs} epochs", batch_size = 4, widths = [16, 32, 32] }}
"""
# Python loads it at its start: the wall clock of the process jumps back again and again.
CLOCK = """
import time
_begin, _time = time.monotonic(), time.time
time.time = lambda: _time() - 3600 * int((time.monotonic() - _begin) // 60 + 1)
"""


@dataclass(frozen=True)
class Sample:
    """A process at one moment. trials: that it has finished; megabytes: resident; descriptors: open."""

    seconds: float
    trials: int
    megabytes: float
    descriptors: int


@dataclass
class Tally:
    """What happened so far. samples: by process."""

    kills: int = 0
    lost: int = 0
    changed: int = 0
    interrupted: set[str] = field(default_factory=set)
    samples: list[list[Sample]] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=240, help="seconds between kills, on average")
    parser.add_argument("--epochs", type=int, default=40, help="of each trial: how long one takes")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "tests" / "golden" / "photos", folder / "photos")
        (folder / "clock").mkdir()
        (folder / "clock" / "sitecustomize.py").write_text(CLOCK)
        (folder / "study.toml").write_text(STUDY.format(seeds=list(range(5000)), epochs=given.epochs))
        tally, before = Tally(), dict[str, bytes]()
        drawn, begin = random.Random(given.seed), time.monotonic()
        while (left := 60 * given.minutes - (time.monotonic() - begin)) > 0:
            wait = min(left, drawn.expovariate(1 / given.every) + 5)
            _run_and_kill(folder, wait, tally)
            before = _compare(folder / "run", before, tally)
        same, again = _interrupted_again(folder, given.epochs, tally)
        return _report(folder / "run", given.minutes, tally, len(before), same, again)


def _command(folder: Path, out: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(folder / "clock"), str(ROOT / "src")])
    return subprocess.Popen(
        [sys.executable, "-m", "headstart.cli", "study", "study.toml", "--threads", "1", "--out", out],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _run_and_kill(folder: Path, seconds: float, tally: Tally) -> None:
    """Starts the command, watches it for so long and kills it."""
    process, begin = _command(folder, "run"), time.monotonic()
    samples: list[Sample] = []
    before = _finished(folder / "run")
    while time.monotonic() - begin < seconds and process.poll() is None:
        time.sleep(1)
        if (found := _sample(process.pid)) is not None:
            trials = _finished(folder / "run") - before
            samples.append(Sample(time.monotonic() - begin, trials, *found))
    process.send_signal(signal.SIGKILL)
    process.wait()
    tally.kills += 1
    tally.samples.append(samples)


def _sample(pid: int) -> tuple[float, int] | None:
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir(f"/proc/{pid}/fd"))
    except (OSError, IndexError):
        return None


def _finished(run: Path) -> int:
    return sum(1 for _ in run.glob("*/result.json"))


def growth(samples: Sequence[Sequence[Sample]], warm_trials: int = 2) -> tuple[float, float, int] | None:
    """(MB, descriptors) by which a process grows with each trial, and the trials that this was seen over.

    Least squares over all samples of a process from its second trial on, each process about its own mean;
    None where no process finished three trials."""
    warm = [[each for each in process if each.trials >= warm_trials] for process in samples]
    warm = [process for process in warm if process and process[-1].trials > warm_trials]
    if not warm:
        return None
    columns = []
    for process in warm:
        values = np.array([(each.trials, each.megabytes, each.descriptors) for each in process], float)
        columns.append(values - values.mean(axis=0))
    trials, megabytes, descriptors = np.concatenate(columns).T
    seen = sum(process[-1].trials - warm_trials for process in warm)
    slopes = [float(trials @ each / (trials @ trials)) for each in (megabytes, descriptors)]
    return slopes[0], slopes[1], seen


def _compare(run: Path, before: dict[str, bytes], tally: Tally) -> dict[str, bytes]:
    """Reads every finished trial; counts those of before that are gone or other ones."""
    now = {}
    for trial in store.finished_trials(run) if run.is_dir() else ():
        store.read_predictions(trial.folder)
        now[trial.key] = (trial.folder / "result.json").read_bytes()
    tally.lost += sum(key not in now for key in before)
    tally.changed += sum(key in now and now[key] != content for key, content in before.items())
    tally.interrupted |= {path.parent.name for path in run.glob("*/trial.json")} - set(now)
    return now


def _interrupted_again(folder: Path, epochs: int, tally: Tally) -> tuple[int, int]:
    """Runs the trials that were interrupted, and have finished since, without a kill; (with the same bits,
    all)."""
    kept = {trial.key: trial for trial in store.finished_trials(folder / "run")}
    some = sorted(tally.interrupted & set(kept))[:20]
    seeds = sorted(kept[key].seed for key in some)
    (folder / "study.toml").write_text(STUDY.format(seeds=seeds or [0], epochs=epochs))
    if seeds:
        _command(folder, "again").wait()
    same = 0
    for key in some:
        parts = [store.read_predictions(folder / out / key)["test"].logits for out in ("run", "again")]
        same += parts[0].tobytes() == parts[1].tobytes()
    return same, len(some)


def _report(run: Path, minutes: float, tally: Tally, trials: int, same: int, again: int) -> int:
    with store.lock(run / "lock", "the study"):  # sweeps what killed processes left
        strays = len(list(run.rglob(".*.part")))
    found = growth(tally.samples)
    rows = (
        ("minutes", f"{minutes:g}"),
        ("kills", f"{tally.kills}"),
        ("finished trials", f"{trials}"),
        ("of these lost, or changed, by a kill", f"{tally.lost}, {tally.changed}"),
        ("trials that a kill interrupted, run again without one: the same bits", f"{same} of {again}"),
        ("temporary files left", f"{strays}"),
        *_growth_rows(tally, found),
    )
    print("| endurance | measured |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")
    grows = found is not None and (found[0] > MOST_MEGABYTES or found[1] > MOST_DESCRIPTORS)
    return int(tally.lost > 0 or tally.changed > 0 or same < again or strays > 0 or grows)


def _growth_rows(tally: Tally, found: tuple[float, float, int] | None) -> list[tuple[str, str]]:
    if found is None:
        return [("memory and descriptors", "no process finished three trials: nothing can be said")]
    memory = max(each.megabytes for process in tally.samples for each in process)
    most = max(each.descriptors for process in tally.samples for each in process)
    return [
        (
            f"memory: growth with each trial within a process, over {found[2]} trials",
            f"{found[0]:.3f} MB (at most {memory:.0f} MB)",
        ),
        ("open descriptors: growth with each trial", f"{found[1]:.3f} (at most {most})"),
    ]


if __name__ == "__main__":
    sys.exit(main())
