"""Folders that several machines write: whether a lock that one machine holds is seen by the others.

The program locks files with flock. On a local file system every process of the machine sees such a lock. On
NFS Linux sends it to the server, where every machine sees it, unless the mount says that locks stay local.
Other network file systems differ: those whose locks are known to reach the other machines are used, all
others are refused, for two processes would run the same trial into the same folder.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from headstart.errors import StoreError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TRUST = "HEADSTART_TRUST_LOCKS"  # set to 1 by who knows that the folder's locks reach every machine
_MOUNTS = Path("/proc/self/mountinfo")
_UNKNOWN = ("9p", "afs", "beegfs", "orangefs", "virtiofs")
_HOLDING_FUSE = ("fuse.ceph-fuse", "fuse.fuse-overlayfs", "fuse.glusterfs", "fuse.juicefs")


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A mounted file system: where it is mounted, its type, and the options of the mount."""

    point: Path
    kind: str
    options: frozenset[str]


def require_shared_locks(folder: Path) -> None:
    """Refuse a folder whose locks are not seen by every process that may write it.

    folder: an existing one. Raises: StoreError that says why, and what to do."""
    if fcntl is None:
        raise StoreError(f"{folder} cannot be shared on this system: it has no POSIX file locks")
    reason = None if os.environ.get(TRUST) == "1" else why_not(mount_of(folder))
    if reason is None and not _has_locks(folder):
        reason = "its file system has no locks"
    if reason is not None:
        raise StoreError(
            f"{folder} cannot be shared by several processes: {reason}. Choose a folder with --out whose "
            "locks reach every machine, or run the study without shards"
        )


def why_not(mount: Mount | None) -> str | None:
    """Why the locks of a file system do not hold between machines; None where they do."""
    if mount is None:
        return None
    kind, options = mount.kind, mount.options
    where = f"{mount.point} ({kind})"
    if kind in ("nfs", "nfs4"):
        if local := options & {"nolock", "local_lock=flock", "local_lock=all"}:
            return f"{where} is mounted with {', '.join(sorted(local))}: each machine has locks of its own"
        return None
    if kind == "lustre":
        return None if "flock" in options else f"{where} is mounted without flock"
    if kind in ("cifs", "smb3", "smbfs"):
        return f"{where} is mounted with nobrl, so that locks stay local" if "nobrl" in options else None
    if kind in _UNKNOWN or (kind.startswith("fuse.") and kind not in _HOLDING_FUSE):
        return f"locks on {where} are not known to reach other machines; {TRUST}=1 says that they do"
    return None


def mount_of(folder: Path, mounts: Path = _MOUNTS) -> Mount | None:
    """The file system that a folder lies on; None where the system has no list of them."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    path, best = folder.resolve(), None
    for line in lines:
        mount = _mount(line)
        if mount is not None and path.is_relative_to(mount.point):
            longer = best is None or len(mount.point.parts) >= len(best.point.parts)
            best = mount if longer else best  # of two at one place the later one lies on top
    return best


def _mount(line: str) -> Mount | None:
    """A line of mountinfo: numbers, root, point, options, optional fields, -, type, source, options."""
    before, dash, after = line.partition(" - ")
    fields, rest = before.split(" "), after.split(" ")
    if not dash or len(fields) < 6 or len(rest) < 3:
        return None
    point = re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), fields[4])  # \040 is a space
    options = frozenset([*fields[5].split(","), *rest[2].split(",")])
    return Mount(point=Path(point), kind=rest[0], options=options)


def _has_locks(folder: Path) -> bool:
    """Whether a file that is locked there cannot be locked again by another opening of it."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".locks-") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with open(file.name, "rb+") as other:
                try:
                    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return True
                return False
    except OSError:
        return False
