"""What must be equal on all machines of a cluster, so that a trial gives the same bits on each."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import headstart
from headstart.errors import ConfigError
from headstart.runtime.cores import processor_name, usable_cores
from headstart.version import __version__


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Versions of a machine. code: SHA-256 over headstart's own Python files, for a version may be edited."""

    headstart: str
    code: str
    torch: str
    numpy: str
    python: str


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine as `doctor --cluster` shows it."""

    identity: Identity
    processor: str
    cores: int


@cache
def identity() -> Identity:
    """That of this process."""
    home = Path(headstart.__file__).parent
    code = hashlib.sha256()
    for path in sorted(home.rglob("*.py")):
        code.update(f"{path.relative_to(home).as_posix()}\0".encode())
        code.update(path.read_bytes())
    return Identity(
        headstart=__version__,
        code=code.hexdigest(),
        torch=importlib.metadata.version("torch").partition("+")[0],
        numpy=importlib.metadata.version("numpy"),
        python=".".join(platform.python_version_tuple()[:2]),
    )


def this_machine() -> Machine:
    """What runs here."""
    return Machine(identity=identity(), processor=processor_name(), cores=usable_cores())


def differences(expected: Identity, other: Identity) -> list[str]:
    """What differs, in words; empty where nothing does."""
    ours, theirs = asdict(expected), asdict(other)
    return [
        f"{name} {theirs[name][:12]} instead of {ours[name][:12]}"
        for name in ours
        if theirs[name] != ours[name]
    ]


def require_identity(expected: Identity) -> None:
    """Raises: ConfigError where this process differs from the one that drives the study."""
    if different := differences(expected, identity()):
        raise ConfigError(
            f"node {platform.node()} differs: {', '.join(different)}; install the same versions on every "
            "node (`headstart doctor --cluster`)"
        )
