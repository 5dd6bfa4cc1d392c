"""Two machines with addresses of their own on one: network namespaces, joined by a pair of virtual cables."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass(frozen=True)
class Machine:
    """A network namespace. address: IPv4. cache: HEADSTART_CACHE of whatever runs there."""

    name: str
    address: str
    cache: Path

    def run(
        self, command: Sequence[str], cwd: Path, environment: Mapping[str, str] = {}
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ip", "netns", "exec", self.name, *command],
            cwd=cwd,
            env=os.environ | {"HEADSTART_CACHE": str(self.cache)} | environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def end(self) -> None:
        """Ends all that runs there, and the machine."""
        running = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True)
        for pid in running.stdout.split():
            os.kill(int(pid), signal.SIGKILL)
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True)


def can_be_made() -> bool:
    """Whether this user may make network namespaces."""
    if shutil.which("ip") is None:
        return False
    name = f"try{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode == 0
    if made:
        _ip("netns", "delete", name)
    return made


@contextmanager
def two_machines(folder: Path) -> Iterator[tuple[Machine, Machine]]:
    """They reach each other, and nothing else. folder: for their caches."""
    machines = [
        Machine(f"hs{os.getpid()}{letter}", f"10.77.0.{number}", folder / f"cache-{letter}")
        for number, letter in enumerate("ab", 1)
    ]
    cables = [f"v{os.getpid()}{letter}" for letter in "ab"]
    try:
        _ip("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])
        for machine, cable in zip(machines, cables, strict=True):
            _ip("netns", "add", machine.name)
            _ip("link", "set", cable, "netns", machine.name)
            _ip("-n", machine.name, "addr", "add", f"{machine.address}/24", "dev", cable)
            for device in (cable, "lo"):
                _ip("-n", machine.name, "link", "set", device, "up")
        yield machines[0], machines[1]
    finally:
        for machine in machines:
            machine.end()
        subprocess.run(["ip", "link", "delete", cables[0]], capture_output=True)
