"""results.csv: brought up to date without reading again what was read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from headstart import store
from headstart.results.table import ResultsFile, write_results_csv

GOLDEN = Path(__file__).parents[1] / "golden" / "run"


def test_a_trial_is_read_once_and_one_that_is_gone_leaves_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [path.parent.name for path in sorted(GOLDEN.glob("*/result.json"))]
    assert len(keys) >= 3
    read: list[str] = []
    real = store.read_trial
    monkeypatch.setattr(store, "read_trial", lambda folder: (read.append(folder.name), real(folder))[1])
    results = ResultsFile(tmp_path)
    for key in keys:
        shutil.copytree(GOLDEN / key, tmp_path / key)
        results.write()
    assert sorted(read) == keys
    text = (tmp_path / "results.csv").read_text()
    write_results_csv(tmp_path)
    assert (tmp_path / "results.csv").read_text() == text and text.count("\n") == len(keys) + 1
    shutil.rmtree(tmp_path / keys[0])
    results.write()
    assert keys[0] not in (tmp_path / "results.csv").read_text()
