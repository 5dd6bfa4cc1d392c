"""Fetch verified archives into the cache, and read their members without unpacking anything to disk.

Two sources: an npm package through the machine's own `npm pack`, and a file by HTTP(S). Either becomes one
file under cache_folder()/downloads, written under another name, verified, fsynced and renamed, so that it is
there whole or not at all; with a lock, two processes make one download. Nothing is ever unpickled. Why not
pooch: docs/decisions/0016.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import socket
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

from filelock import FileLock

from headstart import store
from headstart.data.fetchers import Fetcher, most_bytes, too_large
from headstart.errors import BusyError, DownloadError, StoreError
from headstart.runtime.progress import say, track
from headstart.store.opening import open_file

ONLINE_WAIT_SECONDS = 2.0  # name resolution and connection together
STALL_SECONDS = 30.0
LOCK_WAIT_SECONDS = 3600.0
_CHUNK_BYTES = 1 << 18
_USUAL_BYTES = 200_000_000  # of a file whose size is not stated
_MAX_MEMBER_BYTES = 1 << 30


def downloads_folder() -> Path:
    """The folder of fetched archives; a file put there by hand is used when its hash is right."""
    return store.cache_folder() / "downloads"


def npm_file_name(name: str, version: str) -> str:
    """The file name that npm gives to a package: without a scope's @, with - for its /."""
    return f"{name.lstrip('@').replace('/', '-')}-{version}.tgz"


def matches(path: Path, integrity: str) -> bool:
    """Whether a file has the given hash.

    integrity: "sha512-BASE64" (npm), "md5:HEX" or "sha256:HEX" (or the first 8 digits of it, or more)."""
    separator = ":" if ":" in integrity else "-"
    algorithm, _, expected = integrity.partition(separator)
    with open_file(path) as file:
        digest = hashlib.file_digest(file, algorithm)
    if separator == "-":
        return digest.digest() == base64.b64decode(expected)
    assert len(expected) >= 8, integrity
    return digest.hexdigest().startswith(expected.lower())


def cached_archive(file_name: str, integrity: str) -> Path | None:
    """Verify a file in the cache and return its path; None where it is absent, damaged or cannot be read."""
    path = downloads_folder() / file_name
    try:
        return path if matches(path, integrity) else None
    except OSError:
        return None


def fetch_npm_package(name: str, version: str, integrity: str, *, size_bytes: int = 200_000_000) -> Path:
    """Fetch the archive of an npm package through `npm pack`, or take it from the cache; verified.

    integrity: "sha512-BASE64", as npm states it. size_bytes: of the archive; for progress, the free-space
    check and the limit (`fetchers.most_bytes`).
    Raises: DownloadError where npm is missing, fails, or delivers something else or too much; StoreError
    where the disk is full or cannot be written.
    """
    file_name = npm_file_name(name, version)
    with single_download(file_name, integrity) as cached:
        if cached is not None:
            return cached
        npm = shutil.which("npm")
        by_hand = f"put {file_name} ({integrity}) into {downloads_folder()}"
        if npm is None:
            raise DownloadError(
                f"cannot fetch {name}@{version}: npm is not installed; install Node.js with npm, or {by_hand}"
            )
        # npm keeps a copy in its own cache besides the archive: both are deleted with the temporary folder
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
            return keep_verified(packed[0], file_name, integrity, f"`npm pack {name}@{version}`")
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
    size_bytes: int | None = None,
    least_bytes_per_second: float = 1000.0,
    stall_seconds: float = STALL_SECONDS,
) -> Path:
    """Fetch a file by HTTP(S), or take it from the cache; verified.

    integrity: "md5:HEX" or "sha256:HEX". The download is given up at once where the server cannot be reached,
    when `stall_seconds` bring fewer than `least_bytes_per_second`, and when it brings more than
    `fetchers.most_bytes` of its stated size.
    Raises: DownloadError where it cannot be fetched or is not what was asked for; StoreError where it cannot
    be written.
    """
    file_name = PurePosixPath(urllib.parse.urlsplit(url).path).name
    with single_download(file_name, integrity) as cached:
        if cached is not None:
            return cached
        by_hand = f"put {file_name} ({integrity}) into {downloads_folder()}"
        if not is_reachable(url):
            fault = _proxy_fault(url) or "its server cannot be reached; connect to the network"
            raise DownloadError(f"cannot fetch {url}: {fault}, or {by_hand}")
        store.require_space(downloads_folder(), size_bytes or _USUAL_BYTES, f"fetching {file_name}")
        part = downloads_folder() / f".{file_name}.part"
        try:
            with part.open("wb") as file:
                for chunk in _read_url(
                    url, size_bytes, file_name, least_bytes_per_second, stall_seconds, by_hand
                ):
                    file.write(chunk)
            return keep_verified(part, file_name, integrity, url)
        except OSError as error:
            raise StoreError(
                f"cannot write {part}: {error.strerror or error}; free space or set HEADSTART_CACHE to "
                "another folder"
            ) from error
        finally:
            part.unlink(missing_ok=True)


def is_reachable(url: str, wait_seconds: float = ONLINE_WAIT_SECONDS) -> bool:
    """Whether the server of a URL (or its proxy) accepts a connection within `wait_seconds`.

    Name resolution counts; it has no timeout of its own and can hang for minutes: a daemon thread does it,
    and is not waited for.
    """
    try:
        address = _address(_proxy_of(url) or url)
    except ValueError:
        return False
    connected: list[bool] = []

    def connect() -> None:
        with suppress(OSError, UnicodeError), socket.create_connection(address, timeout=wait_seconds):
            connected.append(True)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(wait_seconds)
    return bool(connected)


def _proxy_of(url: str) -> str | None:
    """The proxy by which an address is reached, as the environment names it. Raises: ValueError."""
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _address(url: str) -> tuple[str, int]:
    """(host, port). Raises: ValueError where it is none."""
    parts = urllib.parse.urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _proxy_fault(url: str) -> str:
    """What is wrong with the proxy that the environment names, without its password; empty for nothing."""
    try:
        if proxy := _proxy_of(url):
            _address(proxy)
    except ValueError as error:
        name = f"{urllib.parse.urlsplit(url).scheme}_proxy"
        return f"the variable {name} names no proxy ({error}); set it to http://HOST:PORT or unset it"
    return ""


def read_members(archive: Path, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the named files in a tar archive, in the archive's order, in memory only.

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
        reason = str(error).partition("\n")[0]
        raise DownloadError(
            f"{archive} is damaged ({reason}); delete it and run the same command again"
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
def single_download(file_name: str, integrity: str) -> Iterator[Path | None]:
    """Hold the file's lock; yield its path where it is in the cache already, else None."""
    path = downloads_folder() / file_name
    with wait_for_lock(
        path.with_name(f"{file_name}.lock"),
        f"the download of {file_name}",
        f"waiting for another headstart process that fetches {file_name}",
    ):
        cached = cached_archive(file_name, integrity)
        if cached is None and path.exists():
            say(f"{path} is damaged (its {_algorithm(integrity)} is not the expected one); fetching it again")
        yield cached


def wait_for_lock(path: Path, what: str, waiting: str) -> FileLock:
    """Acquire a lock, as store.lock does; where another process holds it, print `waiting` and wait."""
    try:
        return store.lock(path, what)
    except BusyError:
        say(waiting)
        return store.lock(path, what, LOCK_WAIT_SECONDS)


def keep_verified(arrived: Path, file_name: str, integrity: str, origin: str) -> Path:
    """Verify a fetched file, then move it to its place in the cache.

    Raises: DownloadError where its hash is another."""
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
    """Run `npm pack` in `folder`.

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
    name = f"npm pack {package}"
    fetcher = Fetcher(command=command, folder=folder, name=name, size_bytes=size_bytes, by_hand=by_hand)
    code, said = fetcher.run()
    if code:
        raise DownloadError(
            f"`{name}` failed ({_npm_reason(said)}); check the network and npm's settings, or {by_hand}"
        )


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
    size_bytes: int | None,
    file_name: str,
    least_bytes_per_second: float,
    stall_seconds: float,
    by_hand: str,
) -> Iterator[bytes]:
    """Yield the body of a URL in chunks. Raises: DownloadError for every failure of the network."""
    window_start, window_bytes, all_bytes = time.monotonic(), 0, 0
    request = urllib.request.Request(url, headers={"User-Agent": "headstart"})
    try:
        with (
            urllib.request.urlopen(request, timeout=stall_seconds) as response,
            track(f"fetch {file_name}", (size_bytes or _USUAL_BYTES) // 1_000_000, "MB") as bar,
        ):
            if int(response.headers.get("Content-Length") or 0) > most_bytes(size_bytes):
                raise too_large(url, size_bytes, by_hand)
            # read() would wait for a full chunk, however slowly it comes in
            while chunk := response.read1(_CHUNK_BYTES):
                all_bytes += len(chunk)
                if all_bytes > most_bytes(size_bytes):
                    raise too_large(url, size_bytes, by_hand)
                yield chunk
                bar.advance(len(chunk) / 1e6)
                window_bytes += len(chunk)
                seconds = time.monotonic() - window_start
                if seconds > stall_seconds:
                    if window_bytes < least_bytes_per_second * seconds:
                        raise DownloadError(
                            f"{url} sends only {window_bytes / seconds / 1000:.0f} kB/s: given up; try "
                            "again, "
                            f"or {by_hand}"
                        )
                    window_start, window_bytes = time.monotonic(), 0
    except (OSError, HTTPException) as error:
        raise DownloadError(f"cannot fetch {url}: {error}; check the network, or {by_hand}") from error
