"""Fashion-MNIST is Fashion-MNIST, whichever source it came from; what is damaged or absent is one error."""

import dataclasses
import gzip
import io
import os
import struct
import tarfile

import numpy as np
import pytest

from headstart.cli import doctor
from headstart.data import DATASETS, download, fashion_mnist
from headstart.errors import DataError, DownloadError

PATH = "./usr/share/datasets/fashion-mnist/"


def idx(values):
    head = b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return gzip.compress(head + values.tobytes(), mtime=0)


def debian_package(path, files):
    """An ar archive as dpkg-deb writes it: a version, control data of odd length, the files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(PATH + name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": packed.getvalue()}
    written = b"!<arch>\n"
    for name, content in parts.items():
        written += f"{name:<16}{'0':<12}{'0':<6}{'0':<6}{'100644':<8}{len(content):<10}`\n".encode()
        written += content + b"\n" * (len(content) % 2)
    path.write_bytes(written)
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fashion_mnist, "INSTALLED", tmp_path / "nowhere")
    return tmp_path / "cache"


def test_an_idx_file_decodes_to_its_array():
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(fashion_mnist.decode_idx(idx(values)), values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no gzip", "not a readable gzip file"),
        (gzip.compress(b"\0\0\x0d\1" + b"\0" * 8, mtime=0), "not an IDX file of bytes"),
        (gzip.compress(b"\0\0\x08\1" + struct.pack(">I", 9) + b"123", mtime=0), "holds 3 values, not the"),
        (idx(np.zeros(4, np.uint8))[:-9], "not a readable gzip file"),
    ],
)
def test_what_is_no_idx_file_is_named(content, message):
    with pytest.raises(DataError, match=f"labels.gz .*{message}|labels.gz is {message}"):
        fashion_mnist.decode_idx(content, "labels.gz")


def test_a_debian_package_is_read_without_unpacking_it(tmp_path):
    files = {name: name.encode() for name in fashion_mnist.FILES}
    assert fashion_mnist.package_files(debian_package(tmp_path / "a.deb", files)) == files


@pytest.mark.parametrize("content", [b"", b"!<arch>\n", b"!<arch>\nshort", b"<html>no such package</html>"])
def test_a_damaged_package_is_an_error_of_one_line(tmp_path, content):
    (tmp_path / "a.deb").write_bytes(content)
    with pytest.raises(DownloadError, match=r"a.deb is damaged; delete it and run the same command again"):
        fashion_mnist.package_files(tmp_path / "a.deb")


def test_grey_becomes_three_equal_channels_and_other_shapes_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.integers(0, 256, (n, 28, 28) if "images" in name else n, np.uint8)
        for name, n in zip(fashion_mnist.FILES, (60_000, 60_000, 10_000, 10_000), strict=True)
    }
    files = {name: idx(array) for name, array in arrays.items() if "t10k" in name}
    files |= {name: idx(array[:5]) for name, array in arrays.items() if "train" in name}
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz holds an array of shape \(5, 28, 28\)"):
        fashion_mnist.decode(files)
    files |= {name: idx(np.zeros_like(array)) for name, array in arrays.items() if "train" in name}
    decoded = fashion_mnist.decode(files)
    assert decoded["test_images"].shape == (10_000, 28, 28, 3)
    grey = arrays["t10k-images-idx3-ubyte.gz"]
    assert all(np.array_equal(decoded["test_images"][..., channel], grey) for channel in range(3))


def test_other_pixels_are_not_fashion_mnist(cache):
    arrays = {
        f"{part}_{what}": np.zeros((n, 28, 28, 3) if what == "images" else n, np.uint8)
        for part, n in (("train", 20), ("test", 10))
        for what in ("images", "labels")
    }
    other = dataclasses.replace(fashion_mnist.PINNED, decoded=lambda: (arrays, "a test"))
    with pytest.raises(
        DataError, match=r"Fashion-MNIST from a test: train images have SHA-256 .* expected f8d"
    ):
        other.load()


def test_without_network_or_apt_both_sources_are_named(cache, monkeypatch):
    monkeypatch.setattr(download, "is_reachable", lambda url: False)
    monkeypatch.setattr(fashion_mnist.shutil, "which", lambda name: None)
    with pytest.raises(DownloadError, match=r"server cannot be reached.* \| .*apt-get is not installed"):
        DATASETS["fashion-mnist"].load()


def test_apts_own_reason_is_told(cache, monkeypatch, tmp_path):
    (tmp_path / "apt-get").write_text("#!/bin/sh\necho 'E: Unable to locate package' >&2; exit 100\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(download, "is_reachable", lambda url: False)
    with pytest.raises(DownloadError, match=r"failed \(E: Unable to locate package\); put dataset-fashion"):
        DATASETS["fashion-mnist"].load()


def test_doctor_does_not_ask_for_a_dataset_that_was_never_fetched(cache):
    rows = [row.what for row in doctor._cache()]
    assert "dataset cifar10" in rows and "dataset fashion-mnist" not in rows
    DATASETS["fashion-mnist"].folder().mkdir(parents=True)
    (row,) = [row for row in doctor._cache() if row.what == "dataset fashion-mnist"]
    assert not row.fine and "headstart data fetch fashion-mnist" in row.value


@pytest.mark.slow
def test_the_real_files_are_what_is_pinned():
    dataset = DATASETS["fashion-mnist"].fetch()
    assert dataset.train.labels[:5].tolist() == [9, 0, 0, 3, 0]
    assert np.bincount(dataset.test.labels).tolist() == [1000] * 10
    assert dataset.train.class_names[9] == "ankle boot"
