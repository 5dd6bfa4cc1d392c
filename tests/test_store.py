"""Run folders: whole or not at all, and one clear line when damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headstart import store
from headstart.errors import BusyError, StoreError
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
    folder = tmp_path / "abc"
    folder.mkdir()
    (folder / "result.json").write_text('{"key": "a"')
    with pytest.raises(StoreError, match=r"damaged .*; delete its folder"):
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
