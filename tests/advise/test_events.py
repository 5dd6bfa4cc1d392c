"""The progress of `headstart advise` as a file that other programs read along."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headstart.advise.events import Answered, Event, Started, event_log
from headstart.errors import StoreError

STARTED = Started(minutes_left=1.5, images=120, classes=("a", "b"), minutes=2.0)


def test_every_event_is_a_line_as_soon_as_it_happens(tmp_path: Path) -> None:
    heard: list[Event] = []
    with event_log(tmp_path, heard.append) as observe:
        observe(STARTED)
        (line,) = (tmp_path / "events.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert row.pop("elapsed_seconds") >= 0 and row.pop("time").endswith("+00:00")
    assert row == {
        "kind": "started",
        "minutes_left": 1.5,
        "images": 120,
        "classes": ["a", "b"],
        "minutes": 2.0,
    }
    assert heard == [STARTED]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="missing"), event_log(tmp_path / "missing"):
        pass


def test_a_fault_of_the_work_is_not_called_one_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), event_log(tmp_path):
        raise FileNotFoundError("another file")


def test_advise_says_what_it_does_and_ends_with_the_answer(advised: Path) -> None:
    rows = [json.loads(line) for line in (advised / "events.jsonl").read_text().splitlines()]
    kinds = [row["kind"] for row in rows]
    written = json.loads((advised / "advice.json").read_text())
    assert kinds[0] == "started" and kinds[-1] == Answered.kind
    assert rows[-1]["sentence"] == written["sentence"] and rows[-1]["accuracy"] == written["accuracy"]
    begun = {row["candidate"] for row in rows if row["kind"] == "candidate_started"}
    read = {row["candidate"]: row for row in rows if row["kind"] == "accuracy_so_far"}
    assert begun == set(read) and any(row["best"] for row in read.values())
    assert all(row["interval"][0] <= row["accuracy"] <= row["interval"][1] for row in read.values())
    assert [row["elapsed_seconds"] for row in rows] == sorted(row["elapsed_seconds"] for row in rows)
