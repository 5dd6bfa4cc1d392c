"""Jobs are processes of their own: their ends are kept, one of a kind runs, they can be stopped."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headstart.app.jobs import Job, Jobs
from headstart.errors import BusyError, HeadstartError


def ended(jobs: Jobs, kind: str) -> Job:
    until = time.monotonic() + 60
    while (job := jobs.last(kind)) is not None and job.is_running and time.monotonic() < until:
        time.sleep(0.05)
    assert job is not None
    return job


def test_the_end_and_the_last_words_of_a_job_are_kept(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    jobs.start("check", ["--version"])
    done = ended(jobs, "check")
    assert (done.state, done.code, done.command) == ("done", 0, ("--version",))
    assert (done.folder / "out.txt").read_text().startswith("headstart ")
    jobs.start("check", ["data", "check", str(tmp_path / "none"), "--out", str(tmp_path / "check")])
    failed = ended(Jobs(tmp_path / "jobs"), "check")  # as another process sees it
    assert (failed.state, failed.code) == ("failed", 2)
    assert "is neither a folder nor a CSV or Parquet table" in failed.lines()[-1]
    assert [job.folder.name for job in jobs.all()] == ["2-check", "1-check"]


def test_a_running_job_is_one_of_its_kind_and_can_be_stopped(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    models = tmp_path / "none"
    jobs.start("advice", ["serve", str(models), "--port", "0"])  # starts slowly, and then fails
    with pytest.raises(BusyError, match="advice is running already"):
        jobs.start("advice", ["--version"])
    jobs.start("check", ["--version"])
    while (job := jobs.last("advice")) is not None and not (job.folder / "pid").exists():
        time.sleep(0.02)
    assert job is not None
    job.stop()
    assert ended(jobs, "advice").state == "stopped"
    ended(jobs, "check")


def test_one_that_has_just_been_started_is_stopped(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    jobs.start("advice", ["serve", str(tmp_path / "none"), "--port", "0"]).stop()
    assert ended(jobs, "advice").state == "stopped"


def test_several_starts_at_once_are_one_and_a_job_never_begun_stops_no_other(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    (tmp_path / "jobs/1-check").mkdir(parents=True)  # its process was killed before it was described

    def start(_: int) -> str:
        try:
            return jobs.start("check", ["--version"]).folder.name
        except HeadstartError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(start, range(4)))
    assert answers == ["2-check", *["check is running already; stop it first"] * 3]
    assert ended(jobs, "check").code == 0


@pytest.mark.parametrize("content", ["", "{", '{"kind": "check", "command": [], "started": 1e400}'])
def test_a_job_that_cannot_be_read_stops_no_other(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "1-check"
    folder.mkdir()
    (folder / "job.json").write_text(content)
    os.utime(folder, (1.0, 1.0))
    jobs = Jobs(tmp_path)
    job = jobs.last("check")
    assert job is not None and job.state == "lost"
    jobs.start("check", ["--version"])
    assert ended(jobs, "check").code == 0
