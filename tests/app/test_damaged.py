"""Damaged files of a project: one line, or as if they were not there; never a page that fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.noise_folder import write_noise

from headstart import store
from headstart.app.answer import read_answer
from headstart.app.findings import read_findings
from headstart.app.jobs import Job, Jobs
from headstart.app.progress import read_progress
from headstart.app.project import Project
from headstart.app.sorting import Sorting
from headstart.errors import DataError, HeadstartError

FOREIGN = ("", "[]", "null", "7", '"text"', "{}", '{"schema": 999}', "[" * 100_000, '{"odd": 1e999}')
ANSWER = {"how": "folds", "chosen": {"key": "ab"}, "sentence": "a", "guessing": "b", "command": "c"}


def value_or_line(read) -> object:
    try:
        return read()
    except HeadstartError as error:
        assert "\n" not in str(error)
        return None


@pytest.mark.parametrize("content", FOREIGN)
def test_foreign_files_of_a_project_are_one_line(tmp_path: Path, content: str):
    project = Project(tmp_path)
    for name in ("advice.json", "check/check.json", "app.json", "undo.json", "events.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    value_or_line(lambda: read_answer(tmp_path))
    value_or_line(lambda: read_findings(project))
    value_or_line(lambda: project.settings)
    assert project.can_undo is False
    assert read_progress(tmp_path) is None


@pytest.mark.parametrize("key", ["../other", "/etc", "a/b", 7, None, "\x1b[2J"])
def test_the_answer_names_no_folder_but_its_own(tmp_path: Path, key: object):
    store.write_json(tmp_path / "advice.json", ANSWER | {"chosen": {"key": key}})
    with pytest.raises(HeadstartError, match="key"):
        read_answer(tmp_path)


def test_an_older_answer_has_its_lines(tmp_path: Path):
    store.write_json(tmp_path / "advice.json", ANSWER | {"chosen": {"key": ""}})
    answer = read_answer(tmp_path)
    assert answer.lines == ["a", "b", "c"] and answer.by_folds and answer.chosen.key == ""


def test_damaged_events_are_passed_over(tmp_path: Path):
    lines = [
        '{"kind": "started", "minutes_left": 10, "images": 400, "minutes": 10}',
        "7",
        '{"kind": "later version"}',
        '{"kind": "later version", "minutes_left": 9}',
        '{"kind": "accuracy_so_far", "minutes_left": 9, "candidate": [], "accuracy": "x"}',
        '{"kind": "passed_over", "minutes_left": 8, "reason": "a CNN"}',
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + "\n")
    progress = read_progress(tmp_path)
    assert (progress.images, progress.minutes_left, progress.passed_over) == (400, 8, ("a CNN",))


def test_folders_that_are_no_jobs_are_passed_over(tmp_path: Path):
    for name in ("12", "²-sort", "x-sort", "3-sort"):
        store.write_json(
            tmp_path / name / "job.json", {"kind": "sort", "command": ["predict"], "started": 1.0}
        )
    assert [job.folder.name for job in Jobs(tmp_path).all()] == ["3-sort"]


def sorting(
    folder: Path, rows: str, corrections: str = "", command: tuple[str, ...] = ("", "", "x")
) -> Sorting:
    (folder / "out.txt").write_text("path,class,probability\n" + rows)
    (folder / "corrections.jsonl").write_text(corrections)
    state = {"started": 0.0, "ended": None, "code": None, "is_running": False}
    return Sorting(Job(folder=folder, kind="sort", command=command, **state))


@pytest.mark.parametrize("share", ["much", "nan", "1e999", "-1", "\x1b[2J"])
def test_rows_without_probabilities_are_one_line(tmp_path: Path, share: str):
    with pytest.raises(DataError, match="is no probability; sort the folder again"):
        sorting(tmp_path, f"a.png,cat,{share}\n")


def test_corrections_that_are_none_are_passed_over(tmp_path: Path):
    damaged = '7\n[]\n[[], "x"]\n[0, 7]\n{"a": 1}\n' + "[" * 100_000 + '\n[0, "dog"]\n'
    assert dict(sorting(tmp_path, "a.png,cat,0.5\n", damaged).corrections) == {0: "dog"}


def test_a_sorting_without_a_folder_is_one_line(tmp_path: Path):
    with pytest.raises(DataError, match="names no folder"):
        sorting(tmp_path, "a.png,cat,0.5\n", command=("predict",))


@pytest.mark.parametrize(
    "step",
    [
        {"digest": "../x", "kind": "exclude"},
        {"digest": "a" * 64, "kind": "relabel"},
        {"digest": "a" * 64, "kind": "keep", "label": "cat"},
    ],
)
def test_a_step_that_would_damage_the_decisions_is_not_taken_back(tmp_path: Path, step: dict[str, str]):
    (tmp_path / "undo.json").write_text(json.dumps({"steps": [step | {"name": "x.png"}]}))
    project = Project(tmp_path)
    assert project.undo() is None
    assert project.decisions() == {}


def test_the_pages_that_make_a_damaged_file_anew_are_shown_with_what_is_wrong(tmp_path: Path):
    pytest.importorskip("fastapi")
    from headstart.app import advice_pages, images_pages, sort_pages

    project = Project(tmp_path)
    project.change(images=str(write_noise(tmp_path / "own", {"cat": 1, "dog": 1})))
    for name in ("advice.json", "check/check.json", "model/model.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{")
    job = tmp_path / "jobs/1-sort"
    store.write_json(job / "job.json", {"kind": "sort", "command": ["predict", "m", "f"], "started": 1.0})
    store.write_json(job / "end.json", {"code": 0, "ended": 2.0})
    (job / "out.txt").write_text("path,class_1,probability_1\na.png,cat,much\n")
    shown = {
        "advice.json is damaged": (advice_pages.advice(project), "/advice"),
        "check.json is damaged": (images_pages.images_page(project, "", 0, ""), "/check"),
        "is no probability; sort the folder again": (sort_pages.sort_page(project), "/sort"),
    }
    for line, (page, action) in shown.items():
        text = bytes(page.body).decode()
        assert line in text and f'action="/p/{project.name}{action}"' in text
