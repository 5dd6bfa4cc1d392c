"""The commands of docs/how-to/ray.md on two machines with addresses and caches of their own."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.support.shards import assert_equal_trials
from tests.support.two_machines import can_be_made, two_machines

from headstart.studies.run import run_study

pytestmark = pytest.mark.slow
pytest.importorskip("ray")

STUDY = """name = "small"
dataset = "{photos}"
seeds = [0, 1, 2]
precision = "fp32"
[[arms]]
name = "cnn"
model = "cnn"
method = "scratch"
recipe_changes = {{ duration = "2 epochs", batch_size = 16, widths = [8, 8, 8] }}
"""
BIN = Path(sys.executable).parent
_USUAL = ("--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats")


@pytest.mark.skipif(not can_be_made(), reason="needs the right to make network namespaces")
def test_a_study_on_two_machines_that_joined_by_hand_gives_the_trials_of_one(
    photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "small.toml").write_text(STUDY.format(photos=photos))
    alone = run_study(str(tmp_path / "small.toml"), tmp_path / "alone", threads=1)
    ray, headstart = str(BIN / "ray"), [sys.executable, "-m", "headstart.cli"]
    with (
        TemporaryDirectory(
            prefix="hs-", dir="/tmp", ignore_cleanup_errors=True
        ) as short,  # as sockets' paths are
        two_machines(tmp_path) as (first, second),
    ):
        head = (ray, "start", "--head", "--port=6379", f"--temp-dir={short}")
        for machine, start in ((first, head), (second, (ray, "start", f"--address={first.address}:6379"))):
            extra = ("--include-dashboard=false",) if machine is first else ()
            done = machine.run([*start, f"--node-ip-address={machine.address}", *extra, *_USUAL], tmp_path)
            assert done.returncode == 0, done.stderr
        address = f"{first.address}:6379"
        doctor = first.run([*headstart, "doctor", "--cluster", address], tmp_path)
        assert doctor.returncode == 0, doctor.stderr
        assert first.address in doctor.stdout and second.address in doctor.stdout
        options = ["--out", "both", "--cluster", address, "--threads", "1"]
        done = first.run([*headstart, "study", "small.toml", *options], tmp_path)
        assert done.returncode == 0, done.stderr
        assert "cluster: 2 nodes, 2 cores" in done.stderr
    assert_equal_trials(alone, tmp_path / "both")
