"""The files that `headstart advise` and the app read back, small and whole, each with its reader."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from tests.support.stored_files import Kind

from headstart import store
from headstart.advise.events import AccuracySoFar, CandidateStarted, PassedOver, Started, event_log
from headstart.advise.folds import _stored
from headstart.app.answer import read_answer
from headstart.app.chart import chart_of
from headstart.app.findings import read_findings
from headstart.app.jobs import Job
from headstart.app.progress import read_progress
from headstart.app.project import Project
from headstart.app.sorting import Sorting, write_earlier
from headstart.errors import StoreError
from headstart.models.load import preprocessing_of

_OF_SORTING = ("out.txt", "corrections.jsonl", "earlier.json")


def write_app_files(folder: Path) -> dict[str, Kind]:
    """Writes one file of every kind beside those of `stored_files.write_all`, whose images it uses."""
    kinds = _project(folder) | _sorted(folder) | _fold(folder) | _beside(folder)
    for name, kind in kinds.items():
        assert kind.path.is_file(), name
    return kinds


def _project(folder: Path) -> dict[str, Kind]:
    home = folder / "projects" / "birds"
    project = Project(home)
    home.mkdir(parents=True)
    project.change(images=str(folder / "photos"), minutes=3.0)
    first = next(iter(project.listing().by_name.values()))
    project.decide(first, "exclude")
    check = {
        "files": 8,
        "remarks": [{"severity": "note", "code": "few", "message": "few images", "advice": ""}],
        "suspects": [{"name": first.name, "given": "cat", "suggested": "dog"}],
        "groups": [
            {"names": [first.name], "classes": ["cat"], "across_classes": True, "across_parts": False}
        ],
        "bad": [{"name": first.name, "reason": "cut"}],
        "odd": {"black": [1]},
    }
    store.write_json(home / "check" / "check.json", check)
    answer = {"how": "trials", "chosen": {"key": "ab" * 32}, "sentence": "a", "guessing": "b", "command": "c"}
    store.write_sealed(home / "advice.json", answer)
    with event_log(home) as observe:
        observe(Started(minutes_left=10, images=400, classes=("cat", "dog"), minutes=10))
        observe(CandidateStarted(minutes_left=9, candidate="knn", label="neighbours", pixels=64))
        reading = AccuracySoFar(
            minutes_left=8.5,
            candidate="knn",
            label="neighbours",
            accuracy=0.8,
            interval=(0.7, 0.88),
            images=80,
            seconds=10,
            best=True,
        )
        observe(reading)
        observe(PassedOver(minutes_left=8.4, reason="a CNN: no time was left"))
    job = home / "jobs" / "1-advice"
    store.write_json(job / "job.json", {"kind": "advice", "command": ["advise", "x"], "started": 1.0})
    store.write_json(job / "end.json", {"code": 0, "ended": 2.0})
    (job / "err.txt").write_text("done\n")

    def read_jobs() -> object:
        return [(each.state, each.lines(), dataclasses.astuple(each)[1:]) for each in project.jobs.all()]

    def read_events() -> object:
        progress = read_progress(home)
        return progress and (progress, chart_of(progress.candidates, progress.best))

    return {
        "app, app.json": Kind(path=home / "app.json", read=lambda: Project(home).settings),
        "app, decisions.csv": Kind(path=project.decisions_file, read=lambda: Project(home).decisions()),
        "app, undo.json": Kind(path=home / "undo.json", read=lambda: Project(home)._steps()),
        "app, check.json": Kind(path=home / "check" / "check.json", read=lambda: read_findings(project)),
        "app, advice.json": Kind(path=home / "advice.json", read=lambda: read_answer(home), checked=True),
        "app, events.jsonl": Kind(path=home / "events.jsonl", read=read_events),
        "app, job.json": Kind(path=job / "job.json", read=read_jobs),
        "app, end.json": Kind(path=job / "end.json", read=read_jobs),
    }


def _sorted(folder: Path) -> dict[str, Kind]:
    home = folder / "sorted"
    home.mkdir()
    header = "path,class_1,probability_1,class_2,probability_2\n"
    (home / "out.txt").write_text(header + "a.png,cat,0.90,dog,0.05\nb.png,dog,0.40,cat,0.35\n")
    (home / "corrections.jsonl").write_text('[1, "owl"]\n[0, "cat"]\n')
    write_earlier(home, {"a.png": ("dog", "dog/a.png")})

    def read() -> object:
        job = Job(
            folder=home,
            kind="sort",
            command=("predict", "model", str(home), "--csv"),
            started=0,
            ended=None,
            code=None,
            is_running=False,
        )
        found = Sorting(job)
        return list(found.table()), found.least_certain(), found.label_next(2)

    return {f"app, {name}": Kind(path=home / name, read=read) for name in _OF_SORTING}


def _fold(folder: Path) -> dict[str, Kind]:
    home = folder / "fold"
    logits = np.random.default_rng(3).normal(size=(4, 2)).astype(np.float32)
    store.write_npz(home / "logits.npz", {"ids": np.array([1, 3, 5, 7]), "logits": logits})
    store.write_sealed(home / "reading.json", {"name": "probe", "seconds": 1.5, "steps": 0})

    def read() -> object:
        found = _stored(home, 0, np.array([1, 3, 5, 7]), 2)
        if found is None:
            raise StoreError("read anew")
        return found.ids, found.logits, found.seconds, found.steps

    return {
        "advise, reading.json": Kind(path=home / "reading.json", read=read, checked=True),
        "advise, logits.npz": Kind(path=home / "logits.npz", read=read),
    }


def _beside(folder: Path) -> dict[str, Kind]:
    model = folder / "model" / "model.safetensors"
    return {
        "model.safetensors as weights": Kind(path=model, read=lambda: preprocessing_of("cnn", str(model)))
    }
