"""Make waiting threads sleep: OpenMP's and onnxruntime's spin by default.

A spinning thread keeps a core for milliseconds while it has nothing to do. Alone on the machine that saves a
little; beside another program, the thread that all others wait for is the one that gets no core
(docs/decisions/0020-threads-that-wait-sleep.md).

OpenMP reads its environment once, when its library is loaded, which `import torch` does.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

POLICY = "OMP_WAIT_POLICY"
# Each of these says how long a waiting thread spins: to any OpenMP, to GNU's, to LLVM's and Intel's.
_SETTINGS = (POLICY, "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_SPINS_ANYWAY = (
    "torch was imported before headstart, so its waiting threads spin, which is slow while other programs "
    "run; import headstart first, or set OMP_WAIT_POLICY=PASSIVE"
)

_came_too_late = False
_has_warned = False


def sleep_while_waiting() -> None:
    """Tell OpenMP that waiting threads sleep, unless the environment says anything about it.

    It has an effect only before torch is imported; child processes inherit it."""
    global _came_too_late
    if any(name in os.environ for name in _SETTINGS):
        return
    _came_too_late = "torch" in sys.modules
    if not _came_too_late:
        os.environ[POLICY] = "PASSIVE"


def waiting_in_words() -> str:
    """What waiting threads do, and why."""
    if _came_too_late:
        return _SPINS_ANYWAY
    settings = ", ".join(f"{name}={os.environ[name]}" for name in _SETTINGS if name in os.environ)
    passive = f"{POLICY}=PASSIVE"
    return f"sleep ({passive})" if settings == passive else f"as the environment says: {settings}"


def is_waiting_fine() -> bool:
    """Whether waiting threads do what was asked of them."""
    return not _came_too_late


def warn_of_spinning() -> None:
    """Warn, once, where torch's threads spin because torch was imported first."""
    global _has_warned
    if _came_too_late and not _has_warned:
        _has_warned = True
        warnings.warn(_SPINS_ANYWAY, RuntimeWarning, stacklevel=3)


def onnxruntime_options(onnxruntime: Any, threads: int) -> Any:
    """SessionOptions of so many threads, which spin only where the environment asks OpenMP's to.

    onnxruntime: the module."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only
    spins = os.environ.get(POLICY, "").upper() == "ACTIVE"
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spins else "0")
    return options
