"""Opening what is read back: ordinary files alone, for a pipe or a device could be waited for forever."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_file(path: Path) -> BufferedReader:
    """A file opened for reading. Raises: OSError, also for what is no ordinary file."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no ordinary file", str(path))
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
