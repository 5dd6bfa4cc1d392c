"""A zip of images, unpacked into the cache once and read as a folder."""

from __future__ import annotations

import lzma
import shutil
import stat
import zipfile
import zlib
from pathlib import Path

from headstart import store
from headstart.data.folders.walk import is_junk
from headstart.errors import DataError

_NESTED = 2  # zips in one another that are unpacked too, each into a folder of its name
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError),
    *(RuntimeError, NotImplementedError),  # a password; a compression that zipfile does not know
)


def unpacked(archive: Path) -> Path:
    """The folder with the archive's files, below folders that hold nothing but one folder.

    Named by the content, so that another archive of the same name is another folder. Links and members that
    would lie outside are left out; zips inside are unpacked too.
    Raises: DataError where it is no zip, is damaged or is protected by a password; StoreError where the cache
    is full."""
    home = store.cache_folder() / "unpacked" / store.facts_of(archive).sha256[:32]
    folder, done = home / archive.stem, home / "unpacked.json"
    with store.lock(home / "lock", f"the unpacked {archive}", wait_seconds=24 * 3600):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _unpack(archive, folder)
            store.write_json(done, {"archive": str(archive.resolve())})
    while len(inner := _visible(folder)) == 1 and inner[0].is_dir() and _has_folders(inner[0]):
        folder = inner[0]
    return folder


def _unpack(archive: Path, folder: Path, nested: int = 0) -> None:
    inner: list[Path] = []
    try:
        with zipfile.ZipFile(archive) as content:
            members = [each for each in content.infolist() if _is_plain(each)]
            total = sum(each.file_size for each in members)
            folder.mkdir(parents=True, exist_ok=True)
            store.require_space(folder, total, f"the unpacked {archive.name}")
            for member in members:
                member.filename = member.filename.replace("\\", "/")  # as some programs on Windows write it
                inner.append(Path(content.extract(member, folder)))
    except _DAMAGED as error:
        raise DataError(
            f"{archive} cannot be unpacked ({error}); unpack it yourself and give the folder"
        ) from error
    for path in inner:
        if path.suffix.lower() == ".zip" and path.is_file() and nested < _NESTED:
            _unpack(path, path.with_suffix(""), nested + 1)
            path.unlink()


def _is_plain(member: zipfile.ZipInfo) -> bool:
    parts = Path(member.filename.replace("\\", "/")).parts
    link = stat.S_ISLNK(member.external_attr >> 16)
    return not link and ".." not in parts and not any(is_junk(part) for part in parts)


def _visible(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if not is_junk(child.name))


def _has_folders(folder: Path) -> bool:
    return any(child.is_dir() for child in _visible(folder))
