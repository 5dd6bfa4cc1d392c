"""The options of `study` that say where it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headstart.cli.app import app
from headstart.cli.output import typed_command
from headstart.studies.sharded import ShardDone


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The shards that were run, the studies that were run alone, and the folders that were reported."""
    calls: list[Any] = []

    def run_shard(name: str, out: Path, *, shard: object, **how: Any) -> ShardDone:
        calls.append(f"shard {shard}")
        return ShardDone(folder=Path("f"), left=0, is_last=str(shard) == "2/4")

    monkeypatch.setattr("headstart.studies.sharded.run_shard", run_shard)
    monkeypatch.setattr("headstart.studies.run.run_study", lambda *_, **how: calls.append("alone"))
    monkeypatch.setattr("headstart.cli.study.render", lambda folder: calls.append(f"report {folder}"))
    for name in ("ID", "COUNT", "MIN", "MAX"):
        monkeypatch.delenv(f"SLURM_ARRAY_TASK_{name}", raising=False)
    return calls


def _study(*words: str) -> int:
    return CliRunner().invoke(app, ["study", "cifar10-quick", *words]).exit_code


def test_the_last_shard_writes_the_report_and_no_other_does(started: list[Any]) -> None:
    assert [_study("--shard", "1/4"), _study("--shard", "2/4"), _study()] == [0, 0, 0]
    assert started == ["shard 1/4", "shard 2/4", "report f", "alone", "report None"]


def test_a_task_of_a_job_array_is_a_shard_unless_it_is_told_not_to_be(
    started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("ID", "12"), ("COUNT", "3"), ("MIN", "10"), ("MAX", "12")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    assert [_study(), _study("--shard", "none"), _study("--shard", "1/2")] == [0, 0, 0]
    assert started == ["shard 3/3", "alone", "report None", "shard 1/2"]


def test_a_reports_command_is_without_the_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/bin/headstart", "study", "a b.toml", "--shard", "2/4", "--out", "o"])
    assert typed_command(without=("--shard", "--cluster")) == "headstart study 'a b.toml' --out o"
    monkeypatch.setattr("sys.argv", ["/bin/headstart", "study", "x", "--shard=2/4"])
    assert typed_command(without=("--shard", "--cluster")) == "headstart study x"
    assert typed_command() == "headstart study x --shard=2/4"
