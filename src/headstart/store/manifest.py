"""manifest.json: the size and SHA-256 of every file of a folder, so that what is read back is what was
written.

A run folder has one, a published trial has one, and so has a folder of published trials for what lies
beside them. Folders that were written before there were manifests have none; they are read as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from headstart.errors import DamagedError
from headstart.store.durable import write_bytes
from headstart.store.hashes import FileFacts, facts_of, require_unchanged
from headstart.store.names import inside
from headstart.store.reading import read_as

FILE = "manifest.json"
SCHEMA = 1


class Manifest(BaseModel):
    """What manifest.json holds. files: by path inside the folder, with / between its parts."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    version: Annotated[int, Field(alias="schema", ge=1, le=SCHEMA)] = SCHEMA
    files: Annotated[Mapping[str, FileFacts], Field(max_length=100_000)]

    def require(self, folder: Path, name: str, remedy: str) -> None:
        """Compare one file of the folder. Raises: DamagedError where it is not as it was written."""
        if name not in self.files:
            raise DamagedError(f"{folder / FILE} is damaged (it does not name {name}); {remedy}")
        require_unchanged(inside(folder, name), self.files[name], remedy)


def write_manifest(
    folder: Path, names: Iterable[str], known_facts: Mapping[str, FileFacts] | None = None
) -> None:
    """Writes manifest.json for the named files of a folder. known_facts: facts of files that
    need not be read. Raises: StoreError."""
    files = {name: facts_of(folder / name) for name in names} | dict(known_facts or {})
    value = Manifest(files=dict(sorted(files.items())))
    write_bytes(folder / FILE, (value.model_dump_json(indent=1, by_alias=True) + "\n").encode())


def read_manifest(folder: Path, remedy: str) -> Manifest | None:
    """The manifest of a folder, None where it has none. Raises: DamagedError."""
    path = inside(folder, FILE)
    return read_as(Manifest, path, remedy) if path.exists() else None
