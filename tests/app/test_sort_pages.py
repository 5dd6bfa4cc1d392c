"""Decisions on a sorted folder: they land on the image that the page shows, and take back what they made."""

from __future__ import annotations

import errno
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from tests.support.noise_folder import write_noise
from tests.support.running_app import running_app

pytest.importorskip("fastapi")

from starlette.requests import Request

from headstart import store
from headstart.app import sort_pages
from headstart.app.jobs import Job
from headstart.app.project import Project
from headstart.app.sorting import Sorting
from headstart.app.workspace import Workspace
from headstart.errors import BusyError, ConfigError, DataError

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def write_sorting(project: Path, source: Path, number: int = 1) -> list[Path]:
    """A job that has sorted a folder, every image as an owl; the images."""
    job = project / f"jobs/{number}-sort"
    job.mkdir(parents=True)
    command = ["predict", "model", str(source), "--csv"]
    store.write_json(job / "job.json", {"kind": "sort", "command": command, "started": 1.0})
    store.write_json(job / "end.json", {"code": 0, "ended": 2.0})
    images = sorted(source.rglob("*.png"))
    rows = [f"{path},owl,0.9,cat,0.1" for path in images]
    header = "path,class_1,probability_1,class_2,probability_2"
    (job / "out.txt").write_text("\n".join([header, *rows, ""]))
    return images


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "photos")
    project.change(images=str(tmp_path / "own"))
    return project


def decide(project: Project, row: int, label: str, job: str = "") -> str:
    """Presses a button; what the page shows then."""
    request = Request({"type": "http", "headers": [(b"hx-request", b"true")]})
    return bytes(sort_pages.label(request, project, row, label, job).body).decode()


def copies(project: Project) -> list[str]:
    """What the decisions have added."""
    return sorted(path.relative_to(project.added).as_posix() for path in project.added.rglob("*.png"))


def twins(folder: Path) -> Path:
    """Two images of the same pixels and name."""
    write_noise(folder, {"a": 1})
    shutil.copytree(folder / "a", folder / "b")
    return folder


def test_a_decision_on_a_folder_that_is_no_longer_shown_is_refused(project, tmp_path):
    write_sorting(project.folder, write_noise(tmp_path / "sa", {"x": 1}))
    assert 'label?job=1-sort"' in decide(project, 0, "cat", "1-sort")
    write_sorting(project.folder, write_noise(tmp_path / "sb", {"y": 1}), 2)
    with pytest.raises(BusyError, match="reload the page"):
        decide(project, 0, "dog", "1-sort")
    assert copies(project) == ["cat/0.png"]
    decide(project, 0, "dog")
    assert "dog" in {Path(path).parts[0] for path in copies(project)}


def test_the_addresses_of_a_page_name_what_it_shows(tmp_path):
    write_noise(tmp_path / "photos", {"cat": 2, "dog": 2})
    write_sorting(tmp_path / "advice/photos", write_noise(tmp_path / "sa", {"x": 2}), 3)
    with running_app("photos", cwd=tmp_path, HEADSTART_CACHE=str(tmp_path / "cache")) as app:
        page = app.ask("/p/photos/sort")[2].decode()
        for address in ("sort/1/label", "sort/1/thumbnail", "sorted.csv", "sort-links"):
            assert f'"/p/photos/{address}?job=3-sort"' in page
        assert app.ask("/p/photos/sort/1/thumbnail?job=3-sort")[0] == 200
        body = urlencode({"label": "cat"})
        assert app.ask("/p/photos/sort/1/label?job=2-sort", body, FORM)[0] == 409
        assert app.ask("/p/photos/sorted.csv?job=2-sort")[0] == 409
        assert not (tmp_path / "advice/photos/added").exists()
        assert app.ask("/p/photos/sort/1/label?job=3-sort", body, FORM)[0] == 303
        assert app.ask("/p/photos/sort/0/label", body, FORM)[0] == 303
        (tmp_path / "advice/photos/sorted").write_text("")
        status, _, answer = app.ask("/p/photos/sort-links", "", FORM)
        assert status == 422 and b"is no folder; move it away" in answer


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_one_of_two_same_images_is_taken_back(project, tmp_path, order):
    write_sorting(project.folder, twins(tmp_path / "twins"))
    for row in (0, 1):
        decide(project, row, "cat")
    assert copies(project) == ["cat/0.png"]
    decide(project, order[0], "")
    assert copies(project) == ["cat/0.png"]
    decide(project, order[1], "")
    assert copies(project) == []


def test_what_was_there_before_a_decision_stays(project):
    images = write_sorting(project.folder, write_noise(project.added, {"cat": 2}))
    decide(project, 0, "cat")
    decide(project, 0, "")
    assert sorted(project.added.rglob("*.png")) == images
    decide(project, 1, "dog")
    decide(project, 1, "dog")
    assert copies(project) == ["cat/0.png", "cat/1.png", "dog/1.png"]
    decide(project, 1, "")
    assert sorted(project.added.rglob("*.png")) == images


def test_a_decision_without_a_copy_of_its_own_takes_nothing_back(project, tmp_path):
    images = write_sorting(project.folder, write_noise(tmp_path / "sa", {"x": 1}))
    (project.added / "cat").mkdir(parents=True)
    shutil.copy(images[0], project.added / "cat/0.png")
    decide(project, 0, "cat")
    decide(project, 0, "dog")
    assert copies(project) == ["cat/0.png", "dog/0.png"]
    decide(project, 0, "")
    assert copies(project) == ["cat/0.png"]


def test_a_class_that_cannot_be_named_changes_nothing(project, tmp_path):
    write_sorting(project.folder, write_noise(tmp_path / "sa", {"x": 1}))
    decide(project, 0, "cat")
    with pytest.raises(ConfigError, match="a class is named by"):
        decide(project, 0, "a/b")
    assert copies(project) == ["cat/0.png"]
    assert dict(sort_pages.sorting_of(project).corrections) == {0: "cat"}


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("label", ["dog", ""])
@pytest.mark.parametrize("step", range(6))
def test_an_app_that_is_killed_at_any_step_leaves_no_copy_behind(project, tmp_path, monkeypatch, step, label):
    write_sorting(project.folder, write_noise(tmp_path / "sa", {"x": 2}))
    decide(project, 0, "cat")
    left = [step]

    def kill(function):
        def counted(*arguments, **options):
            if not left[0]:
                raise Killed
            left[0] -= 1
            return function(*arguments, **options)

        return counted

    with monkeypatch.context() as patched, suppress(Killed):
        patched.setattr(Sorting, "correct", kill(Sorting.correct))
        patched.setattr(Path, "replace", kill(Path.replace))
        patched.setattr(sort_pages, "remove_copy", kill(sort_pages.remove_copy))
        decide(project, 0, label)
    sort_pages._read.cache_clear()
    decided = sort_pages.sorting_of(project).corrections.get(0, "")
    assert decided in ("cat", label)
    decide(project, 1, "owl")  # whatever is decided next
    assert copies(project) == sorted([*([f"{decided}/0.png"] if decided else []), "owl/1.png"])


def test_a_decision_that_cannot_be_carried_out_leaves_the_earlier_one(project, tmp_path, monkeypatch):
    write_sorting(project.folder, write_noise(tmp_path / "sa", {"x": 1}))
    decide(project, 0, "cat")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(DataError, match="No space left on device"):
        patched.setattr("headstart.app.drops._copied", full)
        decide(project, 0, "dog")
    assert dict(sort_pages.sorting_of(project).corrections) == {0: "cat"}
    assert copies(project) == ["cat/0.png"]


def test_tabs_that_decide_at_once_leave_one_copy_a_row(project, tmp_path):
    write_sorting(project.folder, write_noise(tmp_path / "sa", {"x": 3}))
    apps = [Project(project.folder) for _ in range(3)]  # as of three processes

    def decide_all(app: Project) -> None:
        for row in range(3):
            for label in ("cat", "dog", "owl"):
                decide(app, row, label)

    with ThreadPoolExecutor(3) as tabs:
        list(tabs.map(decide_all, apps))
    assert dict(sort_pages.sorting_of(project).corrections) == {0: "owl", 1: "owl", 2: "owl"}
    assert copies(project) == ["owl/0.png", "owl/1.png", "owl/2.png"]


def test_a_folder_that_is_sorted_again_keeps_what_was_decided(project, tmp_path, monkeypatch):
    (project.folder / "model").mkdir(parents=True)
    (project.folder / "model/model.safetensors").write_bytes(b"")
    source = write_noise(tmp_path / "sa", {"x": 3})
    write_sorting(project.folder, source)
    for row, label in ((0, "cat"), (1, "dog"), (2, "dog"), (2, "")):
        decide(project, row, label)
    write_sorting(project.folder, write_noise(tmp_path / "other", {"y": 1}), 2)
    write_noise(source, {"w": 1}, seed=1)  # its image comes before the others

    def begin(kind: str, command: list[str]) -> Job:
        write_sorting(project.folder, source, 3)
        return project.jobs.last(kind)

    monkeypatch.setattr(project.jobs, "start", begin)
    desk = SimpleNamespace(workspace=Workspace(tmp_path / "advice", [tmp_path]))
    sort_pages.start(project, desk, str(source))
    assert dict(sort_pages.sorting_of(project).corrections) == {1: "cat", 2: "dog"}
    decide(project, 1, "")
    decide(project, 2, "owl")
    assert copies(project) == ["owl/1.png"]
    assert dict(sort_pages.sorting_of(project).corrections) == {2: "owl"}
