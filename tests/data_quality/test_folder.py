"""`headstart data check` finds everything planted in a folder of real images, in bounded memory."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.noise_folder import write_noise
from tests.support.planted_folder import CLASS_NAMES, Planted, plant

from headstart.data import load_images
from headstart.data.folders import decode_image
from headstart.data_quality.folder import check_images
from headstart.errors import DataError
from headstart.store import cache_folder

# Not getrusage: its maximum outlives exec, so that a child of a large process shows its parent's.
_MEASURED = """
import json, sys
from pathlib import Path
from headstart.data_quality.folder import check_images
done = check_images(Path(sys.argv[1]), out=Path(sys.argv[2]), label_errors=sys.argv[3] == "yes")
from headstart.runtime.cost import peak_memory_bytes
print(json.dumps(peak_memory_bytes()))
"""


def _checked(root: Path, out: Path, label_errors: bool) -> tuple[dict, int]:
    """The written findings, and the highest resident memory of the process that made them, in bytes."""
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        _MEASURED,
        str(root),
        str(out),
        "yes" if label_errors else "no",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((out / "check.json").read_text()), int(done.stdout.splitlines()[-1])


def _table(planted: Planted, found: dict) -> list[tuple[str, int, int]]:
    """(what, planted, found) for everything that was planted."""
    groups = {
        kind: [set(group["names"]) for group in found["groups"] if group["kind"] == kind]
        for kind in ("exact", "near")
    }
    reasons = {row["name"]: row["reason"] for row in found["bad"]}
    right = {
        name
        for name, (pixels, most) in planted.handled.items()
        if name not in reasons
        and np.abs(decode_image(planted.root / name).astype(int) - pixels).mean() <= most
    }
    rows = [
        (
            f"{kind} duplicates across splits",
            len(pairs),
            sum(any(set(pair) <= group for group in groups[kind]) for pair in pairs),
        )
        for kind, pairs in (("exact", planted.exact), ("near", planted.near))
    ]
    if found["suspects"] is not None:
        suspects = {row["name"]: row["suggested"] for row in found["suspects"]}
        rows.append(
            ("mislabelled", len(planted.mislabelled), sum(name in suspects for name in planted.mislabelled))
        )
    for name, word in planted.bad.items():
        rows.append((f"{Path(name).name} listed: {word}", 1, int(word in reasons.get(name, ""))))
    rows.append(("EXIF orientations turned upright", 8, sum(name in right for name in planted.orientations)))
    rows += [
        (f"{Path(name).name} read with the right pixels", 1, int(name in right))
        for name in planted.handled
        if name not in planted.orientations
    ]
    rows += [
        (f"ignored: {reason}", count, found["ignored"].get(reason, 0))
        for reason, count in planted.ignored.items()
    ]
    rows.append(("Unicode class names", 2, sum(row["name"] in ("Vögel", "船") for row in found["classes"])))
    rows.append(("class in two Unicode forms", 1, sum(mixed["merged"] for mixed in found["mixed_names"])))
    return rows


def _assert_found(rows: list[tuple[str, int, int]], peak_bytes: int) -> None:
    print(f"\n{'what':50s} planted  found")
    for what, planted, found in rows:
        print(f"{what:50s} {planted:7d} {found:6d}")
    print(f"peak memory {peak_bytes / 2**20:.0f} MiB")
    assert [row for row in rows if row[1] != row[2]] == []
    assert peak_bytes < 2 * 2**30


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted") / "photos", images=40, copies=8, mislabelled=0)


@pytest.fixture(scope="module")
def checked(small, tmp_path_factory) -> tuple[dict, int, Path]:
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(tmp_path_factory.mktemp("cache")))
        found, peak = _checked(small.root, out, label_errors=False)
    return found, peak, out


def test_everything_planted_is_found_or_handled(small, checked):
    found, peak, _ = checked
    _assert_found(_table(small, found), peak)


def test_every_file_is_accounted_for(small, checked):
    found, _, _ = checked
    assert found["files"] == small.files and found["readable"] == small.files - len(small.bad)
    assert [row["name"] for row in found["classes"]] == sorted(CLASS_NAMES)
    assert sum(row["images"] for row in found["classes"]) == found["readable"]
    assert sum(row["unreadable"] for row in found["classes"]) == len(small.bad)
    assert found["parts"] == {"train": found["readable"] - 80 - 16, "val": 0, "test": 80 + 16}


def test_nothing_else_is_taken_for_a_copy(small, checked):
    found, _, _ = checked
    planted = [set(pair) for pair in small.exact + small.near]
    assert [group["names"] for group in found["groups"] if set(group["names"]) not in planted] == []


def test_remarks_come_with_severity_code_and_advice(checked):
    found, _, _ = checked
    remarks = {remark["code"]: remark for remark in found["remarks"]}
    assert remarks["exact-duplicates-across-splits"]["severity"] == "error"
    crossing = remarks["near-duplicates-across-splits"]["message"]
    assert (
        crossing
        == "8 groups of files with nearly the same pixels stand in more than one of train, val and test"
    )
    assert remarks["unreadable"]["message"].startswith("5 files of")
    assert remarks["mixed-names"]["message"].startswith(r"class names 'Vo\u0308gel' (")
    assert remarks["animations"]["message"] == "1 file with several frames: the first one is used"
    assert (
        remarks["label-errors-skipped"]["message"]
        == "label errors were not looked for: --no-label-errors was given"
    )
    severities = [remark["severity"] for remark in found["remarks"]]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)


def test_the_page_stands_alone(checked):
    page = (checked[2] / "check.html").read_text(encoding="utf-8")
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page
    assert page.count("data:image/jpeg;base64,") == 10 + 2 * 16  # a sheet a class, both pictures of each copy
    assert "船" in page and "truncated: the end of the file is missing" in page


def test_the_planted_folder_loads_with_its_own_parts(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    dataset = load_images(small.root, image_pixels=32)
    assert len(dataset.test) == 80 + 16 and dataset.train.class_names == tuple(sorted(CLASS_NAMES))
    told = capsys.readouterr().err
    assert (
        "5 of" in told and "files give no image and are skipped" in told and "are read as one class" in told
    )


@pytest.mark.slow
def test_all_that_the_full_folder_plants_is_found(tmp_path, monkeypatch):
    planted = plant(tmp_path / "photos")
    (tmp_path / "cache").mkdir()
    weights = cache_folder() / "weights"  # the published weights, nothing else
    weights.mkdir(parents=True, exist_ok=True)
    (tmp_path / "cache" / "weights").symlink_to(weights)
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    found, peak = _checked(planted.root, tmp_path / "out", label_errors=True)
    rows = _table(planted, found)
    wrong = next(row for row in rows if row[0] == "mislabelled")
    first = sum(suspect["name"] in planted.mislabelled for suspect in found["suspects"][:60])
    print(
        f"{wrong[2]} of {wrong[1]} mislabelled found in {len(found['suspects'])} suspects, {first} of them "
        "among the first 60"
    )
    # A probe that is right about 82 % of the images cannot find every one: one that it mistakes for its wrong
    # label is lost. Over six plantings it finds 77 of 90; other sizes, views and filters 75 to 79:
    # docs/negative-results.md.
    assert wrong[2] >= 14 and first >= 13 and len(found["suspects"]) <= 150
    _assert_found([row for row in rows if row is not wrong], peak)


def test_the_command_prints_tables_and_names_the_page(headstart, photos, tmp_path):
    done = headstart(
        "data", "check", str(photos), "--no-label-errors", HEADSTART_CACHE=str(tmp_path / "cache")
    )
    assert done.returncode == 0, done.stderr
    assert "120 of 120 files give an image" in done.stdout and "airplane" in done.stdout
    assert f"report: {(tmp_path / 'checks' / 'photos' / 'check.html').resolve()}" in done.stdout
    assert "120 images of 3 classes can be used; nothing wrong was found." in done.stdout


def test_the_command_prints_json_for_programs(headstart, photos, tmp_path):
    options = ("--json", "--no-label-errors", "--out", "here")
    done = headstart("data", "check", str(photos), *options, HEADSTART_CACHE=str(tmp_path / "cache"))
    found = json.loads(done.stdout)
    assert (done.returncode, found["readable"], found["parts"]) == (
        0,
        120,
        {"train": 96, "val": 0, "test": 24},
    )
    assert json.loads((tmp_path / "here" / "check.json").read_text()) == found


def test_too_many_bad_files_end_with_the_list_and_exit_code_3(headstart, photos, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    for number in range(6):  # 6 of 126: 4.8 %
        (tmp_path / "photos" / "dog" / f"bad{number}.jpg").write_bytes(b"")
    options = ("data", "check", "photos", "--no-label-errors")
    cache = {"HEADSTART_CACHE": str(tmp_path / "cache")}
    assert headstart(*options, **cache).returncode == 0
    strict = headstart(*options, "--strict", **cache)
    assert strict.returncode == 3 and "6 of 126 files" in strict.stderr and strict.stderr.count("\n") == 1
    (tmp_path / "photos" / "dog" / "bad6.jpg").write_bytes(b"words")
    seven = headstart(*options, **cache)
    assert (
        seven.returncode == 3
        and "dog/bad0.jpg, dog/bad1.jpg and 4 more: the file is empty" in seven.stdout
        and "7 of 127 files" in seven.stderr
    )
    assert headstart(*options, "--skip-bad", **cache).returncode == 0
    both = headstart(*options, "--skip-bad", "--strict", **cache)
    assert (both.returncode, both.stderr) == (
        2,
        "headstart: --strict and --skip-bad contradict each other; give one of them\n",
    )


def test_a_folder_with_too_many_bad_files_is_not_trained_on(small, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    with pytest.raises(DataError, match="none may be bad"):
        load_images(small.root, bad_files="refuse")


def test_many_near_copies_may_be_images_alike_by_nature(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    photos = write_noise(tmp_path / "photos", {"good": 20, "scratched": 20})
    for image in sorted((photos / "good").iterdir())[:3]:  # 6 of 43 files: saved again a little brighter
        pixels = np.asarray(Image.open(image)).astype(int) + 2
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(image.with_stem(f"{image.stem}-b"))
    done = check_images(photos, out=tmp_path / "out", label_errors=False)
    advice = {remark.code: remark.advice for remark in done.inspection.remarks}["near-duplicates"]
    assert advice.endswith(
        "where images are alike by nature (a fixed camera, digits, blank ones), pass --alike"
    )
