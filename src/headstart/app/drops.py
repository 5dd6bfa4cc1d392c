"""Files and zips that are dropped into the app: images of a class, under limits, stored below the project."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import IO

from filelock import FileLock, Timeout

from headstart import store
from headstart.data.folders.find import canonical
from headstart.data.folders.sniff import HEAD_BYTES, is_image
from headstart.data.folders.walk import is_junk
from headstart.errors import ConfigError, DataError, HeadstartError
from headstart.runtime.show import shown
from headstart.store.hashes import sha256_of_file
from headstart.store.names import NAME_RULE, is_name

_BLOCK_BYTES = 1 << 20
_INCOMING = ".incoming-"
_WAIT_SECONDS = 60.0  # for another process that adds images


@dataclass(frozen=True, kw_only=True)
class DropLimits:
    """Of one zip: images in it, and bytes, unpacked, of one and of all; times as large as the zip."""

    images: int = 100_000
    image_bytes: int = 200_000_000
    all_bytes: int = 10_000_000_000
    expansion: int = 200


DEFAULT_DROP_LIMITS = DropLimits()


@dataclass(kw_only=True)
class Dropped:
    """What became of dropped files. joined: images by class; left_out: files by reason."""

    joined: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)

    def words(self) -> str:
        """In one line."""
        joined = ", ".join(f"{count:,} in {name}" for name, count in sorted(self.joined.items()))
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.left_out.items()))
        return f"added: {joined or 'nothing'}" + (f"; left out: {left_out}" if left_out else "")


class Drop:
    """Stores images into class folders below `home`; each content once. on_keep: is called with each image's
    path before it is there."""

    def __init__(
        self,
        home: Path,
        limits: DropLimits = DEFAULT_DROP_LIMITS,
        on_keep: Callable[[Path], None] = lambda _: None,
    ) -> None:
        self.home, self.limits, self.dropped, self._on_keep = home, limits, Dropped(), on_keep

    def add(self, name: str, file: IO[bytes], class_name: str) -> None:
        """An image or a zip of images. class_name: of all of them; empty: of the folders in a zip.

        Raises: ConfigError for a class that cannot be named so; DataError for a zip that is refused."""
        file.seek(0)
        head = file.read(HEAD_BYTES)
        file.seek(0)
        if head[:4] in (b"PK\3\4", b"PK\5\6"):
            self._add_zip(name, file, class_name)
        elif not is_image(head):
            self.dropped.left_out["no images by their content"] += 1
        else:
            self.add_image(name, file, class_name)

    def add_image(self, name: str, file: IO[bytes], class_name: str) -> Path | None:
        """One image; the file it became, None where it was there already. Raises: ConfigError, DataError: as
        `add`."""
        folder = self.home / class_named(class_name)
        with incoming(self.home) as unpacked:
            digest = _copied(file, unpacked / "part", self.limits.image_bytes, name)
            with _alone(self.home):
                return self._keep(unpacked / "part", digest, folder, name)

    def _keep(self, part: Path, digest: str, folder: Path, name: str) -> Path | None:
        plain = PurePosixPath(name.replace("\\", "/")).name
        path = Path(plain if is_name(plain) and not is_junk(plain) else digest[:16])
        target = folder / path
        other = folder / f"{path.stem[:60]}-{digest[:12]}{path.suffix}"
        if (target.exists() and sha256_of_file(target) == digest) or other.exists():
            self.dropped.left_out["there already"] += 1
            return None
        folder.mkdir(parents=True, exist_ok=True)
        target = other if target.exists() else target
        self._on_keep(target)
        part.replace(target)
        self.dropped.joined[folder.name] += 1
        return target

    def _add_zip(self, name: str, file: IO[bytes], class_name: str) -> None:
        try:
            with zipfile.ZipFile(file) as archive, incoming(self.home) as folder:
                members = self._members(name, archive, class_name)
                store.require_space(self.home, sum(info.file_size for info, _ in members), f"the zip {name}")
                unpacked = self._unpacked(name, archive, members, folder)
                with _alone(self.home):
                    for part, digest, member, of_class in unpacked:
                        self._keep(part, digest, self.home / of_class, member)
        except HeadstartError:
            raise
        except Exception as error:  # damaged archives raise nearly anything
            if store.is_disk_error(error):
                raise
            reason = str(error) or type(error).__name__
            raise DataError(
                f"the zip {name} cannot be read ({reason}); unpack it and drop its files"
            ) from error

    def _members(
        self, name: str, archive: zipfile.ZipFile, class_name: str
    ) -> list[tuple[zipfile.ZipInfo, str]]:
        """The files of a zip that may be images, each with its class. Raises: DataError for a zip that would
        write elsewhere or unpacks to too much; ConfigError where a class is missing."""
        infos = [info for info in archive.infolist() if not info.is_dir()]
        if len(infos) > self.limits.images:
            raise DataError(
                f"the zip {name} has {len(infos):,} files; at most {self.limits.images:,} are taken"
            )
        size = sum(info.file_size for info in infos)
        assert archive.fp is not None
        packed = archive.fp.seek(0, os.SEEK_END)  # what it says of its sizes is not believed
        if size > self.limits.all_bytes or size > self.limits.expansion * max(packed, 10_000):
            raise DataError(f"the zip {name} unpacks to {size:,} bytes, which is refused")
        members = []
        for info in infos:
            path = PurePosixPath(info.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]):
                raise DataError(f"the zip {name} has a file that would lie outside its folder; it is refused")
            if not path.parts or stat.S_ISLNK(info.external_attr >> 16) or any(map(is_junk, path.parts)):
                self.dropped.left_out["links, hidden or junk"] += 1
                continue
            members.append((info, path))
        if not class_name and any(len(path.parts) < 2 for _, path in members):
            raise ConfigError(f"the zip {name} has files outside folders; say which class they are of")
        return [(info, class_named(class_name or path.parts[-2])) for info, path in members]

    def _unpacked(
        self, name: str, archive: zipfile.ZipFile, members: list[tuple[zipfile.ZipInfo, str]], incoming: Path
    ) -> list[tuple[Path, str, str, str]]:
        unpacked: list[tuple[Path, str, str, str]] = []
        left = self.limits.all_bytes
        for number, (info, of_class) in enumerate(members):
            with archive.open(info) as member:
                if not is_image(member.read(HEAD_BYTES)):
                    self.dropped.left_out["no images by their content"] += 1
                    continue
            with archive.open(info) as member:  # what it says of its size is not believed
                part = incoming / str(number)
                digest = _copied(member, part, min(left, self.limits.image_bytes), name)
                left -= part.stat().st_size
            unpacked.append((part, digest, info.filename, of_class))
        return unpacked


def class_named(text: str) -> str:
    """The name of a class as its folder has it. Raises: ConfigError for no such name."""
    name = canonical(text)
    if not is_name(name):
        which = f"{shown(name[:80])!r} names no class: " if name else ""
        raise ConfigError(f"{which}a class is named by {NAME_RULE}")
    return name


@contextmanager
def incoming(home: Path) -> Iterator[Path]:
    """A folder below `home` for what is not complete yet; those that killed processes left there go."""
    with _alone(home):
        for old in home.glob(f"{_INCOMING}*"):
            with suppress(OSError, Timeout), FileLock(old / "lock", timeout=0):
                shutil.rmtree(old)
        home.mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(dir=home, prefix=_INCOMING))
        lock = FileLock(folder / "lock")
        lock.acquire()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _alone(home: Path) -> FileLock:
    """No other thread or process adds to `home`, so that two images of one name stay two."""
    return store.lock(home.parent / ".adding" / "lock", f"the folder {home}", _WAIT_SECONDS)


def _copied(file: IO[bytes], part: Path, most_bytes: int, name: str) -> str:
    """Copies a file and gives its SHA-256. Raises: DataError where it is larger than it may be."""
    digest, size = hashlib.sha256(), 0
    with part.open("wb") as out:
        while block := file.read(_BLOCK_BYTES):
            size += len(block)
            if size > most_bytes:
                raise DataError(f"{name} unpacks to more than {most_bytes:,} bytes, which is refused")
            digest.update(block)
            out.write(block)
    return digest.hexdigest()
