"""Run folders: whole or not at all, and one clear line when damaged."""

from __future__ import annotations

import csv
import errno
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.support.synthetic_study import write_synthetic_study

from headstart import store
from headstart.errors import BusyError, DamagedError, StoreError
from headstart.types import Predictions


def test_a_failed_write_leaves_the_old_file_and_no_remains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    store.write_json(path, {"old": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match=r"cannot write .*a\.json: No space left on device; free space"):
        store.write_json(path, {"new": 2})
    assert store.read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_predictions_come_back_as_they_were(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = {
        "val": Predictions(
            logits=rng.normal(size=(3, 2)).astype(np.float32),
            labels=np.array([0, 1, 1]),
            example_ids=np.arange(3),
        ),
        "test": Predictions(
            logits=rng.normal(size=(2, 2)).astype(np.float32),
            labels=np.array([0, 1]),
            example_ids=np.arange(2),
            flip_logits=rng.normal(size=(2, 2)).astype(np.float32),
        ),
    }
    store.write_predictions(tmp_path / "predictions.npz", parts)
    back = store.read_predictions(tmp_path)
    assert set(back) == {"val", "test"}
    np.testing.assert_array_equal(back["test"].flip_logits, parts["test"].flip_logits)
    np.testing.assert_array_equal(back["val"].logits, parts["val"].logits)
    assert back["val"].flip_logits is None


def test_a_damaged_result_is_named_with_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / ("ab" * 32)
    folder.mkdir()
    (folder / "result.json").write_text('{"key": "a"')
    with pytest.raises(StoreError, match=r"damaged .*; run its study again, .* keeps the others"):
        store.finished_trials(tmp_path)


def test_a_digest_does_not_depend_on_key_order() -> None:
    # By `printf '{"a":1,"b":[2]}' | sha256sum`.
    want = "0855bfc20eb6cfaa4be7d6b510c63dd22997718bddadcb1a4915cec3a16145b9"
    assert store.digest({"b": [2], "a": 1}) == store.digest({"a": 1, "b": [2]}) == want


def test_a_lock_held_by_another_process_is_busy(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from headstart.store import lock; "
        "held = lock(Path(sys.argv[1]), 'it'); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match="the folder is in use by another headstart process"):
            store.lock(tmp_path / "lock", "the folder")
        other.kill()  # its lock dies with it
        other.wait()
        store.lock(tmp_path / "lock", "the folder", wait_seconds=5).release()


# --- what a study says of itself ---


def test_a_study_file_of_an_older_version_has_defaults_for_what_it_lacks(tmp_path: Path) -> None:
    arm = {"name": "a", "label": "The a", "method": "knn", "recipe": {"k": 5}, "recipe_name": "knn"}
    old = {"name": "old", "arms": [arm], "labels_per_class": [10, None], "seeds": [0, 1], "chosen": "a"}
    store.write_json(tmp_path / "study.json", old)
    study = store.read_study(tmp_path)
    assert (study.title, study.command, study.phase, study.chosen) == ("old", "headstart study", None, "a")
    assert [(cell.arm, str(cell.label_budget), cell.seeds, cell.recipe_name) for cell in study.cells] == [
        ("a", "10", (0, 1), "knn"),
        ("a", "all", (0, 1), "knn"),
    ]
    assert study.labels == {"a": "The a"} and study.arms[0].is_pretrained and study.arms[0].recipe == {"k": 5}
    assert study.robustness is None and study.claims == () and study.dataset.image_pixels is None


def test_weights_that_an_older_study_file_does_not_name_are_the_models_own(tmp_path: Path) -> None:
    model = {"title": "ResNet-50", "origin": "its makers", "weights": {"v2": {"origin": "others"}}}
    store.write_json(tmp_path / "study.json", {"name": "s", "models": {"resnet50": model}})
    record = store.read_study(tmp_path).models["resnet50"]
    assert record.weights["v2"].origin == "others" and record.default_weights.origin == "its makers"


def test_a_study_file_that_makes_no_sense_is_called_damaged(tmp_path: Path) -> None:
    store.write_json(tmp_path / "study.json", {"name": "s", "arms": [{"label": "nameless"}]})
    with pytest.raises(StoreError, match=r"study\.json is damaged .*run the study again"):
        store.read_study(tmp_path)


def test_arrays_that_cannot_be_read_say_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    store.write_npz(path, {"x": np.arange(3), "y": np.zeros(2)})
    assert list(store.read_npz(path, "mend it", ("y",))) == ["y"]
    with pytest.raises(StoreError, match=r"cannot read .*a\.npz: .*z.*; mend it"):
        store.read_npz(path, "mend it", ("z",))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(StoreError, match=r"cannot read .*a\.npz: .*; mend it"):
        store.read_npz(path, "mend it")


def test_temporary_files_of_killed_processes_are_removed_when_a_lock_is_taken(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    for folder in (tmp_path, below):
        (folder / ".123.part").write_bytes(b"left behind")
    with store.replacing(tmp_path / "living") as file:  # which a living process writes
        file.write(b"whole")
        with store.lock(tmp_path / "lock", "the folder"):
            pass
    assert (tmp_path / "living").read_bytes() == b"whole"
    assert not list(tmp_path.rglob("*.part"))


def test_files_have_the_rights_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        store.write_json(tmp_path / "a.json", {})
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "content", [b"{}", b"[]", b"null", b"7", b"[" * 100_000, b'{"schema": 9}', b"\xff", b""]
)
@pytest.mark.parametrize("name", ["result.json", "study.json", "manifest.json"])
def test_foreign_content_is_one_line_that_names_the_file(tmp_path: Path, name: str, content: bytes) -> None:
    folder = tmp_path / ("ab" * 32)
    folder.mkdir()
    (folder / name).write_bytes(content)
    if name == "study.json":
        if content == b"{}" or b"schema" in content:
            return  # every field has a default
        with pytest.raises(DamagedError, match=r"study\.json is damaged"):
            store.read_study(folder)
        return
    if name == "manifest.json":
        (folder / "result.json").write_text("{}")
    with pytest.raises(DamagedError, match=r"result\.json is damaged|manifest\.json is damaged"):
        store.read_result(folder)


def test_arrays_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (50_000_000,)}
        )
        for _ in range(200):
            file.write(bytes(1_000_000))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(DamagedError, match="would expand to"):
        store.read_npz(path, "mend it")


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{}], dtype=object))
    with pytest.raises(DamagedError, match="Python objects"):
        store.read_npz(tmp_path / "a.npz", "mend it")


def test_a_damaged_trial_is_set_aside_and_the_others_stay(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path / "two", test_images=100, gallery=False)
    first, second = store.finished_trials(folder)
    (first.folder / "history.jsonl").write_text("")
    told: list[str] = []
    store.set_aside_damaged(folder, told.append)
    assert len(told) == 1 and "history.jsonl is damaged" in told[0]
    assert [trial.key for trial in store.finished_trials(folder)] == [second.key]
    assert (first.folder / "result.json.damaged").exists()


def test_a_carriage_return_in_a_cell_is_read_back_and_other_lines_are_as_ever() -> None:
    rows = [{"a": "x\ry", "b": None}, {"a": "x,y", "b": 1.5}]
    content = store.csv_bytes(rows, ["a", "b"]).decode()
    assert content == 'a,b\n"x\ry",""\n"x,y",1.5\n'
    assert list(csv.reader(io.StringIO(content, newline=""), strict=True))[1:] == [
        ["x\ry", ""],
        ["x,y", "1.5"],
    ]


def test_the_cache_that_cannot_be_written_says_which_variable_names_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    for place, remedy in (("cache/x", " for the cache, HEADSTART_CACHE"), ("x", "")):
        error = store.disk_error(OSError(errno.EROFS, "Read-only file system"), tmp_path / place)
        assert str(error).endswith(
            f"{place}: Read-only file system; free space or choose another folder{remedy}"
        )
