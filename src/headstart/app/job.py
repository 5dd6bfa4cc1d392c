"""The process of one job: runs a command of headstart, and writes down how it ended.

`python -m headstart.app.job FOLDER`. SIGTERM interrupts the command as Ctrl-C does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from filelock import FileLock

from headstart import store

_INTERRUPTED = 130


def run(folder: Path) -> None:
    """Run the command of FOLDER/job.json."""
    command = [str(word) for word in store.read_json(folder / "job.json")["command"]]
    processes: list[subprocess.Popen[bytes]] = []
    wanted: list[bool] = []  # asked to stop, perhaps before the command has begun

    def stop(*_: object) -> None:
        wanted.append(True)
        for process in processes:
            process.send_signal(signal.SIGINT)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with FileLock(folder / "running.lock"):
        store.write_bytes(folder / "pid", str(os.getpid()).encode())
        with (folder / "out.txt").open("wb") as out, (folder / "err.txt").open("wb") as err:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "headstart.cli", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                )
            )
            if wanted:
                processes[0].send_signal(signal.SIGINT)
            code = processes[0].wait()
        store.write_json(
            folder / "end.json", {"code": _INTERRUPTED if wanted and code else code, "ended": time.time()}
        )


if __name__ == "__main__":
    run(Path(sys.argv[1]))
