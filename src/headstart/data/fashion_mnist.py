"""Fashion-MNIST: 70,000 grey images of 28x28 pixels of clothes in ten classes, 60,000 to train on and 10,000
to test on.

Source: H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms, 2017 (arXiv:1708.07747). Taken from the cache, else the four official IDX files, else
Debian's package dataset-fashion-mnist, installed or fetched by the machine's own apt-get, which holds the
same pixels. Whatever the source, the decoded arrays must have the SHA-256 values below. Grey is stored as
three equal channels.
"""

from __future__ import annotations

import gzip
import io
import shutil
import struct
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.data import download
from headstart.data.fetchers import Fetcher
from headstart.data.pinned import Arrays, Pinned, first_of
from headstart.errors import DataError, DownloadError

TITLE = "Fashion-MNIST"
PUBLISHER = "Han Xiao, Kashif Rasul and Roland Vollgraf, Zalando Research, 2017; MIT licence"
CLASS_NAMES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
EXPECTED_SHA256 = {  # of the decoded arrays in C order: images uint8 (N, 28, 28, 3), labels uint8 (N,)
    "train_images": "f8d08d742c618acbda0443f170345a007ed2ddf142964f9730df8a98c3911b3b",
    "test_images": "b543ae908b39ed328f4823e3f2ac3f0c826558dc6d559fc81a1f0230db24fe69",
    "train_labels": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
    "test_labels": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
}
# file -> (array, MD5 of the official file as its publisher states it)
FILES = {
    "train-images-idx3-ubyte.gz": ("train_images", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    "train-labels-idx1-ubyte.gz": ("train_labels", "25c81989df183df01b3e8a0aad5dffbe"),
    "t10k-images-idx3-ubyte.gz": ("test_images", "bef4ecab320f06d8554ea6380940ec79"),
    "t10k-labels-idx1-ubyte.gz": ("test_labels", "bb300cfdad3c16e7a12a480ee83cd310"),
}
OFFICIAL_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
OFFICIAL_BYTES = 26_500_000  # of the largest file, at most
DEBIAN_PACKAGE, DEBIAN_VERSION = "dataset-fashion-mnist", "0.0~git20200523.55506a9-1"
DEBIAN_FILE = f"{DEBIAN_PACKAGE}_{DEBIAN_VERSION}_all.deb"
DEBIAN_INTEGRITY = "sha256:39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0"
DEBIAN_BYTES = 30_900_652
INSTALLED = Path("/usr/share/datasets/fashion-mnist")
_MEMBER_HEADER = 60  # bytes of a member's header in an ar archive
_COUNTS = {"train": 60_000, "test": 10_000}
_LARGEST_BYTES = 16 + 60_000 * 28 * 28


def _decoded() -> tuple[Arrays, str]:
    if INSTALLED.is_dir():
        return _from_installed(), f"the installed Debian package {DEBIAN_PACKAGE}"
    package = download.cached_archive(DEBIAN_FILE, DEBIAN_INTEGRITY)
    title = f"the Debian package {DEBIAN_PACKAGE} {DEBIAN_VERSION}"
    if package is not None:
        return decode(package_files(package)), title
    return first_of(
        TITLE,
        {"the official files": _from_official, title: lambda: decode(package_files(_fetch_package()))},
    )


def _from_installed() -> Arrays:
    try:
        return decode({name: (INSTALLED / name).read_bytes() for name in FILES})
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read ({error.strerror}); install it again") from error


def _from_official() -> Arrays:
    files = {}
    for name, (_, md5) in FILES.items():
        path = download.fetch_archive(OFFICIAL_URL + name, f"md5:{md5}", size_bytes=OFFICIAL_BYTES)
        files[name] = path.read_bytes()
    return decode(files)


def _fetch_package() -> Path:
    """The Debian package, by `apt-get download`, or from the cache; verified, never installed.

    apt-get's own settings name the source.
    Raises: DownloadError where apt-get is missing, fails, or delivers something else."""
    with download.single_download(DEBIAN_FILE, DEBIAN_INTEGRITY) as cached:
        if cached is not None:
            return cached
        by_hand = f"put {DEBIAN_FILE} ({DEBIAN_INTEGRITY}) into {download.downloads_folder()}"
        if shutil.which("apt-get") is None:
            raise DownloadError(f"cannot fetch {DEBIAN_PACKAGE}: apt-get is not installed; {by_hand}")
        store.require_space(download.downloads_folder(), 2 * DEBIAN_BYTES, f"fetching {DEBIAN_PACKAGE}")
        with tempfile.TemporaryDirectory(dir=download.downloads_folder(), prefix=".apt.") as folder:
            wanted = f"{DEBIAN_PACKAGE}={DEBIAN_VERSION}"
            fetcher = Fetcher(
                command=["apt-get", "download", "--quiet", wanted],
                folder=Path(folder),
                name=f"apt-get download {wanted}",
                size_bytes=DEBIAN_BYTES,
                by_hand=by_hand,
            )
            code, said = fetcher.run()
            arrived = sorted(Path(folder).glob("*.deb"))
            if code or len(arrived) != 1:
                reason = " ".join(said.split())[:200] or f"exit code {code}"
                raise DownloadError(f"`{fetcher.name}` failed ({reason}); {by_hand}")
            return download.keep_verified(
                arrived[0], DEBIAN_FILE, DEBIAN_INTEGRITY, f"`apt-get download {wanted}`"
            )


def package_files(package: Path) -> dict[str, bytes]:
    """The four IDX files in a Debian package (an ar archive that holds data.tar.xz), compressed as they lie
    there.

    Raises: DownloadError where it is damaged or lacks one."""
    paths = {f"./usr/share/datasets/fashion-mnist/{name}": name for name in FILES}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.tar.xz"
        data.write_bytes(_ar_member(package, "data.tar.xz"))
        return {paths[path]: content for path, content in download.read_members(data, list(paths))}


def _ar_member(archive: Path, wanted: str) -> bytes:
    damaged = f"{archive} is damaged; delete it and run the same command again"
    with archive.open("rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise DownloadError(damaged)
        while len(header := file.read(_MEMBER_HEADER)) == _MEMBER_HEADER:
            name, size = header[:16].decode("latin-1").strip().rstrip("/"), header[48:58].strip()
            if not size.isdigit():
                break
            content = file.read(int(size))
            if name == wanted and len(content) == int(size):
                return content
            file.read(int(size) % 2)  # members begin at even places
    raise DownloadError(damaged)


def decode(files: Mapping[str, bytes]) -> Arrays:
    """The arrays of the four gzipped IDX files, by their names; grey as three equal channels.

    Raises: DataError where one is damaged or has another shape."""
    decoded: Arrays = {}
    for name, (array, _) in FILES.items():
        values = decode_idx(files[name], name)
        count = _COUNTS[array.partition("_")[0]]
        shape = (count, 28, 28) if array.endswith("images") else (count,)
        if values.shape != shape:
            raise DataError(f"{name} holds an array of shape {values.shape}, not {shape}")
        decoded[array] = values if values.ndim == 1 else np.repeat(values[..., None], 3, axis=3)
    return decoded


def decode_idx(content: bytes, name: str = "file") -> NDArray[np.uint8]:
    """Decode a gzipped IDX file of unsigned bytes: two zero bytes, the type 8, the number of dimensions, each
    dimension as four bytes, then the values.

    Raises: DataError where it is not one, or its length is not what its head says."""
    try:
        with gzip.open(io.BytesIO(content)) as file:
            raw = file.read(_LARGEST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name} is not a readable gzip file ({error})") from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08" or len(raw) < 4 + 4 * raw[3] or not raw[3]:
        raise DataError(f"{name} is not an IDX file of bytes")
    shape = struct.unpack(f">{raw[3]}I", raw[4 : 4 + 4 * raw[3]])
    values = np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3])
    if len(values) != int(np.prod(np.array(shape, dtype=object))):
        raise DataError(f"{name} holds {len(values):,} values, not the {shape} of its head")
    return values.reshape(shape)


PINNED = Pinned(
    name="fashion-mnist",
    title=TITLE,
    publisher=PUBLISHER,
    class_names=CLASS_NAMES,
    sha256=EXPECTED_SHA256,
    decoded=_decoded,
)
