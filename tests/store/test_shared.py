"""Folders whose locks do not reach every machine are refused for runs that share them."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.errors import StoreError
from headstart.store.shared import Mount, mount_of, require_shared_locks, why_not


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("ext4", "rw", None),
        ("overlay", "rw", None),
        ("nfs4", "rw,vers=4.2,local_lock=none", None),
        ("nfs", "rw,vers=3,local_lock=none", None),
        ("nfs", "rw,vers=3,local_lock=posix", None),  # of fcntl's locks alone, the program takes flock's
        (
            "nfs",
            "rw,vers=3,nolock,local_lock=all",
            "mounted with local_lock=all, nolock: each machine has locks",
        ),
        ("nfs4", "rw,local_lock=flock", "mounted with local_lock=flock"),
        ("lustre", "rw,flock", None),
        ("lustre", "rw,localflock", "mounted without flock"),
        ("cifs", "rw,nobrl", "locks stay local"),
        ("fuse.sshfs", "rw", r"HEADSTART_TRUST_LOCKS=1 says that they do"),
        ("fuse.glusterfs", "rw", None),
        ("beegfs", "rw", "are not known to reach other machines"),
    ],
)
def test_what_each_file_system_does_with_locks(kind: str, options: str, reason: str | None) -> None:
    said = why_not(Mount(point=Path("/data"), kind=kind, options=frozenset(options.split(","))))
    assert said is None if reason is None else said is not None and reason in said


def test_the_innermost_and_last_mount_counts_and_spaces_are_read(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    inside = tmp_path / "with space"
    inside.mkdir()
    point = str(inside).replace(" ", r"\040")
    table.write_text(
        "1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
        f"2 1 0:40 / {point} rw shared:2 master:1 - nfs4 server:/x rw,local_lock=none\n"
        f"3 2 0:41 / {point} rw - nfs server:/y rw,nolock\n"
        "a line that says nothing\n"
    )
    assert mount_of(tmp_path, table) == Mount(
        point=Path("/"), kind="ext4", options=frozenset({"rw", "relatime"})
    )
    found = mount_of(inside / "study", table)
    assert found is not None and found.kind == "nfs" and "nolock" in found.options
    assert mount_of(tmp_path, tmp_path / "absent") is None


def test_a_refusal_names_the_folder_and_can_be_overruled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_shared_locks(tmp_path)
    assert list(tmp_path.iterdir()) == []
    sshfs = Mount(point=Path("/mnt"), kind="fuse.sshfs", options=frozenset())
    monkeypatch.setattr("headstart.store.shared.mount_of", lambda folder: sshfs)
    with pytest.raises(
        StoreError, match=r"cannot be shared by several processes: locks on /mnt \(fuse\.sshfs\)"
    ):
        require_shared_locks(tmp_path)
    monkeypatch.setenv("HEADSTART_TRUST_LOCKS", "1")
    require_shared_locks(tmp_path)
