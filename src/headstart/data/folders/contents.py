"""Whether files hold what they held before: by their content, which is hashed only where something changed.

Name, size and time of change are not enough: files unpacked from two archives agree in all three. A file
whose size, times, inode and time of the inode's change are as recorded is not read again; all others are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from headstart.data.folders.find import Entry
from headstart.runtime import progress
from headstart.runtime.cores import usable_cores
from headstart.store.hashes import sha256_of


@dataclass(frozen=True, kw_only=True)
class FileState:
    """A file at one time. bytes: -1 where there is no file. content: SHA-256 of its bytes, empty where they
    cannot be read or are more than are ever decoded."""

    name: str
    bytes: int = -1
    mtime_ns: int = -1
    ctime_ns: int = -1
    inode: int = -1
    content: str = ""

    def is_as(self, other: FileState) -> bool:
        """Whether both describe one file that nothing has touched in between."""
        mine, its = (
            (each.name, each.bytes, each.mtime_ns, each.ctime_ns, each.inode) for each in (self, other)
        )
        return self.bytes >= 0 and mine == its


def states_of(
    entries: Sequence[Entry], stored: Mapping[str, FileState], what: str, max_bytes: int
) -> list[FileState]:
    """The state of each entry's file, its content hashed unless `known` has the same file by its name.

    what: is hashed, for the progress line. max_bytes: larger files are told apart by size and times alone."""
    states = [_looked_at(entry) for entry in entries]
    hashed: list[int] = []
    for place, state in enumerate(states):
        before = stored.get(state.name)
        if before is not None and before.content and state.is_as(before):
            states[place] = before
        elif 0 <= state.bytes <= max_bytes:
            hashed.append(place)
    with (
        progress.track(f"read {what}", len(hashed), "files") as bar,
        ThreadPoolExecutor(usable_cores(), thread_name_prefix="hash") as pool,
    ):
        for place, content in zip(hashed, pool.map(_hash, (entries[p] for p in hashed)), strict=True):
            states[place] = replace(states[place], content=content)
            bar.advance()
    return states


def _looked_at(entry: Entry) -> FileState:
    try:
        facts = os.stat(entry.path)
    except (OSError, ValueError):
        return FileState(name=entry.name)
    return FileState(
        name=entry.name,
        bytes=facts.st_size,
        mtime_ns=facts.st_mtime_ns,
        ctime_ns=facts.st_ctime_ns,
        inode=facts.st_ino,
    )


def _hash(entry: Entry) -> str:
    try:
        handle = os.open(entry.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            return sha256_of(file)
    except OSError:
        return ""
