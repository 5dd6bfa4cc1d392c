"""Progress of an advice as its events tell it, and the chart of its candidates."""

from __future__ import annotations

import json
from pathlib import Path

from headstart.advise.events import (
    AccuracySoFar,
    Answered,
    CandidateStarted,
    PassedOver,
    Started,
    event_log,
)
from headstart.app.chart import chart_of
from headstart.app.progress import read_progress


def write_events(folder: Path, *, answered: bool) -> None:
    with event_log(folder) as observe:
        observe(Started(minutes_left=10, images=400, classes=("cat", "dog"), minutes=10))
        observe(CandidateStarted(minutes_left=9, candidate="knn", label="neighbours", pixels=64))
        observe(
            AccuracySoFar(
                minutes_left=8.5,
                candidate="knn",
                label="neighbours",
                accuracy=0.8,
                interval=(0.7, 0.88),
                images=80,
                seconds=10,
                best=True,
            )
        )
        observe(PassedOver(minutes_left=8.4, reason="a CNN: no time was left"))
        observe(CandidateStarted(minutes_left=8, candidate="probe", label="a new head", pixels=96))
        if answered:
            observe(
                Answered(
                    minutes_left=0,
                    sentence="Use it.",
                    accuracy=0.8,
                    interval=(0.7, 0.9),
                    model="model",
                    interrupted=False,
                )
            )


def test_progress_is_what_the_events_say(tmp_path):
    assert read_progress(tmp_path) is None
    write_events(tmp_path, answered=False)
    progress = read_progress(tmp_path)
    assert (progress.images, progress.minutes, progress.minutes_left) == (400, 10, 8)
    assert [(each.name, each.accuracy) for each in progress.candidates] == [("knn", 0.8), ("probe", None)]
    assert (progress.best, progress.is_answered) == ("knn", False)
    assert progress.passed_over == ("a CNN: no time was left",)
    write_events(tmp_path, answered=True)
    assert read_progress(tmp_path).is_answered


def test_a_line_that_is_being_written_is_left_for_later(tmp_path):
    write_events(tmp_path, answered=False)
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"kind": "answ')
    assert not read_progress(tmp_path).is_answered
    (tmp_path / "events.jsonl").write_text(
        "damaged\n" + json.dumps({"kind": "new", "minutes_left": 3}) + "\n"
    )
    assert read_progress(tmp_path).minutes_left == 3


def test_the_chart_shows_what_was_read(tmp_path):
    write_events(tmp_path, answered=False)
    progress = read_progress(tmp_path)
    chart = chart_of(progress.candidates, progress.best)
    (mark,) = chart.marks
    assert mark.is_best and mark.words == "neighbours: 80.0 % after 10 s"
    assert chart.top < mark.top < mark.y < mark.bottom <= chart.bottom
    assert [text for _, text in chart.y_ticks] == ["70 %", "80 %", "90 %", "100 %"]
    assert mark.y == next(y for y, text in chart.y_ticks if text == "80 %")
    assert ("10 s" in dict((text, x) for x, text in chart.x_ticks)) and chart_of([], None) is None
