"""Fetching: verified archives in the cache, and their members read without unpacking anything to disk.

Two ways in: an npm package through the machine's own `npm pack`, and a file by HTTP(S). Either ends as one
file under cache_folder()/downloads, written beside its place, verified, fsynced and renamed, so that it is
there whole or not at all; a lock lets two processes do one download. Nothing is unpickled, ever.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import threading
import time
import urllib.parse
import urllib.request
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from headstart import store
from headstart.errors import BusyError, DownloadError, StoreError
from headstart.runtime.progress import Track, say, track

ONLINE_WAIT_SECONDS = 2.0  # name resolution and connection together
STALL_SECONDS = 30.0
NPM_STALL_SECONDS = 120.0  # npm resolves, downloads and writes without a word in between
LOCK_WAIT_SECONDS = 3600.0
_CHUNK_BYTES = 1 << 18
_MAX_MEMBER_BYTES = 1 << 30


def downloads_folder() -> Path:
    """Where fetched archives are kept; a file put there by hand is taken when its hash is right."""
    return store.cache_folder() / "downloads"


def npm_file_name(name: str, version: str) -> str:
    """The file name of a package as npm itself writes it: a scope's @ and / become plain."""
    return f"{name.lstrip('@').replace('/', '-')}-{version}.tgz"


def matches(path: Path, integrity: str) -> bool:
    """Whether a file has the given hash: "sha512-BASE64" (npm), "md5:HEX" or "sha256:HEX" (or its first 8
    digits or more)."""
    separator = ":" if ":" in integrity else "-"
    algorithm, _, expected = integrity.partition(separator)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm)
    if separator == "-":
        return found.digest() == base64.b64decode(expected)
    assert len(expected) >= 8, integrity
    return found.hexdigest().startswith(expected.lower())


def cached_archive(file_name: str, integrity: str) -> Path | None:
    """The file in the cache after verifying its hash; None where it is absent, damaged or cannot be read."""
    path = downloads_folder() / file_name
    try:
        return path if matches(path, integrity) else None
    except OSError:
        return None


def fetch_npm_package(name: str, version: str, integrity: str, *, size_bytes: int = 200_000_000) -> Path:
    """The archive of an npm package, verified, from the cache or through `npm pack`.

    integrity: "sha512-BASE64", as npm states it. size_bytes: of the archive; for progress and the free-space
    check only.
    Raises: DownloadError where npm is missing, fails, or delivers something else; StoreError where the disk
    is full or cannot be written.
    """
    file_name = npm_file_name(name, version)
    with _one_download(file_name, integrity) as found:
        if found is not None:
            return found
        npm = shutil.which("npm")
        by_hand = f"put {file_name} ({integrity}) into {downloads_folder()}"
        if npm is None:
            raise DownloadError(
                f"cannot fetch {name}@{version}: npm is not installed; install Node.js with npm, or {by_hand}"
            )
        # npm keeps a copy in its own cache besides the archive: both lie in the temporary folder and go with
        # it
        store.require_space(downloads_folder(), 2 * size_bytes, f"fetching {name}@{version}")
        folder = downloads_folder() / f".{file_name}.npm"
        shutil.rmtree(folder, ignore_errors=True)  # of a killed run
        try:
            folder.mkdir()
            _npm_pack(npm, f"{name}@{version}", folder, size_bytes, by_hand)
            packed = sorted(folder.glob("*.tgz"))
            if len(packed) != 1:
                raise DownloadError(
                    f"`npm pack {name}@{version}` left {len(packed)} archives, not 1; try again, or {by_hand}"
                )
            return _keep(packed[0], file_name, integrity, f"`npm pack {name}@{version}`")
        except OSError as error:
            raise StoreError(
                f"cannot write {folder}: {error.strerror or error}; free space or set HEADSTART_CACHE to "
                "another folder"
            ) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def fetch_archive(
    url: str,
    integrity: str,
    *,
    size_bytes: int = 200_000_000,
    least_bytes_per_second: float = 1000.0,
    stall_seconds: float = STALL_SECONDS,
) -> Path:
    """A file by HTTP(S), verified, from the cache or the network; given up at once where the network is not
    there.

    integrity: "md5:HEX" or "sha256:HEX". A download is also given up when `stall_seconds` bring fewer than
    `least_bytes_per_second`.
    Raises: DownloadError where it cannot be had or is not what was asked for; StoreError where it cannot be
    written.
    """
    file_name = PurePosixPath(urllib.parse.urlsplit(url).path).name
    with _one_download(file_name, integrity) as found:
        if found is not None:
            return found
        by_hand = f"put {file_name} ({integrity}) into {downloads_folder()}"
        if not is_reachable(url):
            raise DownloadError(
                f"cannot fetch {url}: its server cannot be reached; connect to the network, or {by_hand}"
            )
        store.require_space(downloads_folder(), size_bytes, f"fetching {file_name}")
        part = downloads_folder() / f".{file_name}.part"
        try:
            with part.open("wb") as file:
                for chunk in _read_url(
                    url, size_bytes, file_name, least_bytes_per_second, stall_seconds, by_hand
                ):
                    file.write(chunk)
            return _keep(part, file_name, integrity, url)
        except OSError as error:
            raise StoreError(
                f"cannot write {part}: {error.strerror or error}; free space or set HEADSTART_CACHE to "
                "another folder"
            ) from error
        finally:
            part.unlink(missing_ok=True)


def is_reachable(url: str, wait_seconds: float = ONLINE_WAIT_SECONDS) -> bool:
    """Whether the URL's server (or the proxy before it) takes a connection within `wait_seconds`, name
    resolution included.

    Name resolution has no timeout of its own and can hang for minutes: a daemon thread asks, and is left
    behind.
    """
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    answer: list[bool] = []

    def ask() -> None:
        with suppress(OSError, UnicodeError), socket.create_connection(address, timeout=wait_seconds):
            answer.append(True)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(wait_seconds)
    return bool(answer)


def read_members(archive: Path, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the named files in a tar archive, one at a time in the archive's order, in memory
    only.

    Raises: DownloadError where the archive is damaged or lacks one, or where any member before the last one
    asked for is a link, a device, or lies outside the archive's own folder.
    """
    missing = set(names)
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                _refuse_unsafe(archive, member)
                if member.name not in missing:
                    continue
                if not member.isfile():
                    raise DownloadError(
                        f"{archive}: {member.name} is not a file; delete the archive and fetch it again"
                    )
                file = tar.extractfile(member)
                assert file is not None
                content = file.read()
                missing.remove(member.name)
                yield member.name, content
                if not missing:
                    return
    except FileNotFoundError:
        raise DownloadError(f"{archive} is not there; fetch it again") from None
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DownloadError(
            f"{archive} is damaged ({error}); delete it and run the same command again"
        ) from error
    raise DownloadError(
        f"{archive} has no {', '.join(sorted(missing))}; delete it and run the same command again"
    )


def _refuse_unsafe(archive: Path, member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name:
        raise DownloadError(
            f"{archive}: member {member.name!r} lies outside its folder; do not use this archive"
        )
    if not (member.isfile() or member.isdir()):
        raise DownloadError(
            f"{archive}: member {member.name!r} is a link or a device; do not use this archive"
        )
    if member.size > _MAX_MEMBER_BYTES:
        raise DownloadError(
            f"{archive}: member {member.name!r} has {member.size:,} bytes, over the limit of "
            f"{_MAX_MEMBER_BYTES:,}; do not use this archive"
        )


@contextmanager
def _one_download(file_name: str, integrity: str) -> Iterator[Path | None]:
    """Holds the file's lock; gives the file where it is already there, whole, perhaps by the hand of another
    process."""
    path = downloads_folder() / f"{file_name}.lock"
    what = f"the download of {file_name}"
    try:
        held = store.lock(path, what)
    except BusyError:
        say(f"waiting for another headstart process that fetches {file_name}")
        held = store.lock(path, what, LOCK_WAIT_SECONDS)
    with held:
        found = cached_archive(file_name, integrity)
        there = downloads_folder() / file_name
        if found is None and there.exists():
            say(
                f"{there} is damaged (its {_algorithm(integrity)} is not the expected one); fetching it again"
            )
        yield found


def _keep(arrived: Path, file_name: str, integrity: str, origin: str) -> Path:
    """Verifies what arrived, then moves it to its place in the cache. Raises: DownloadError where the hash is
    another."""
    if not matches(arrived, integrity):
        raise DownloadError(
            f"{origin} delivered {arrived.stat().st_size:,} bytes whose {_algorithm(integrity)} is not the "
            f"expected {integrity}: truncated or altered, so not used; try again, or put {file_name} "
            f"into {downloads_folder()}"
        )
    with arrived.open("rb") as file:
        os.fsync(file.fileno())
    path = downloads_folder() / file_name
    os.replace(arrived, path)
    return path


def _algorithm(integrity: str) -> str:
    return {"sha512": "SHA-512", "sha256": "SHA-256", "md5": "MD5"}[integrity.replace(":", "-").split("-")[0]]


def _npm_pack(npm: str, package: str, folder: Path, size_bytes: int, by_hand: str) -> None:
    """Runs `npm pack` in `folder`. npm shows nothing while it works, so progress is how the folder grows.

    npm's defaults retry for 70 s where the network is down (measured, npm 11); these take 4 s.
    """
    command = [
        npm,
        "pack",
        package,
        "--loglevel=error",
        "--ignore-scripts",
        "--no-update-notifier",
        "--cache",
        str(folder / "cache"),
        "--fetch-retries=2",
        "--fetch-retry-mintimeout=1000",
        "--fetch-retry-maxtimeout=3000",
    ]
    with (folder / "errors").open("w+b") as errors:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        try:
            with track(f"fetch {package}", size_bytes // 1_000_000, "MB") as bar:
                _watch(process, folder, size_bytes, bar, package, by_hand)
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode:
            errors.seek(0)
            raise DownloadError(
                f"`npm pack {package}` failed ({_npm_reason(errors.read().decode(errors='replace'))}); "
                f"check the network and npm's settings, or {by_hand}"
            )


def _watch(
    process: subprocess.Popen[bytes], folder: Path, size_bytes: int, bar: Track, package: str, by_hand: str
) -> None:
    last_size, last_growth = 0, time.monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.25)
        size = sum(_size(path) for path in folder.rglob("*"))
        bar.advance(
            max(min(size / 2, size_bytes) / 1e6 - bar.done, 0)
        )  # npm writes everything twice: its cache, the archive
        if process.returncode is not None:
            return
        if size > last_size:
            last_size, last_growth = size, time.monotonic()
        if time.monotonic() - last_growth > NPM_STALL_SECONDS:
            raise DownloadError(
                f"`npm pack {package}` stalled for {NPM_STALL_SECONDS:.0f} s; try again, or {by_hand}"
            )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # npm moved it meanwhile
        return 0


def _npm_reason(text: str) -> str:
    """npm's error code and its first sentence, on one line."""
    lines = [line.removeprefix("npm error").removeprefix("npm ERR!").strip() for line in text.splitlines()]
    code = next((line.removeprefix("code ") for line in lines if line.startswith("code ")), "")
    words = next(
        (line for line in lines if line and line.split()[0] not in ("code", "syscall", "errno", "path")),
        "no reason given",
    )
    return f"{code}: {words[:200]}" if code else words[:200]


def _read_url(
    url: str,
    size_bytes: int,
    file_name: str,
    least_bytes_per_second: float,
    stall_seconds: float,
    by_hand: str,
) -> Iterator[bytes]:
    """The body of a URL, in chunks. Raises: DownloadError for every failure of the network."""
    window_start, window_bytes = time.monotonic(), 0
    request = urllib.request.Request(url, headers={"User-Agent": "headstart"})
    try:
        with (
            urllib.request.urlopen(request, timeout=stall_seconds) as answer,
            track(f"fetch {file_name}", size_bytes // 1_000_000, "MB") as bar,
        ):
            while chunk := answer.read1(
                _CHUNK_BYTES
            ):  # read() would wait for a full chunk, however slowly it drips in
                yield chunk
                bar.advance(len(chunk) / 1e6)
                window_bytes += len(chunk)
                took = time.monotonic() - window_start
                if took > stall_seconds:
                    if window_bytes < least_bytes_per_second * took:
                        raise DownloadError(
                            f"{url} sends only {window_bytes / took / 1000:.0f} kB/s: given up; try again, "
                            f"or {by_hand}"
                        )
                    window_start, window_bytes = time.monotonic(), 0
    except (OSError, HTTPException) as error:
        raise DownloadError(f"cannot fetch {url}: {error}; check the network, or {by_hand}") from error
