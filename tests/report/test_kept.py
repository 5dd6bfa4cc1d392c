"""A study's page is made anew where something has changed, and only there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.support.synthetic_study import write_synthetic_study

from headstart import report, store
from headstart.report.writers import page as page_writer


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_synthetic_study(tmp_path_factory.mktemp("runs") / "study", seeds=1, test_images=60)
    report.keep_report(folder)
    return folder


def test_the_same_folder_keeps_its_page(study: Path) -> None:
    before = (study / "report.html").stat()
    assert report.keep_report(study) == study / "report.html"
    assert (study / "report.html").stat() == before


@pytest.mark.parametrize("change", ["title", "page", "trial", "code", "record"])
def test_what_has_changed_is_written_anew(
    change: str, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(study, tmp_path / "study")
    report.keep_report(copy)  # a copy's run folders have other times
    written: list[Path] = []
    monkeypatch.setattr(
        page_writer, "write_report", lambda folder: (written.append(folder), copy / "report.html")[1]
    )
    report.keep_report(copy)
    assert written == []
    if change == "title":
        store.write_json(copy / "study.json", store.read_json(copy / "study.json") | {"title": "another"})
    elif change == "page":
        (copy / "report.html").write_text("cut")
    elif change == "trial":
        shutil.rmtree(next(iter(store.finished_trials(copy))).folder)
    elif change == "code":
        monkeypatch.setattr("headstart.__version__", "another")
    else:
        (copy / "report.json").write_text("[")
    report.keep_report(copy)
    assert written == [copy]


def test_a_study_is_read_once_while_its_files_stay(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.report import load

    copy = shutil.copytree(study, tmp_path / "study")
    reads: list[Path] = []
    real = load.honest_trials
    monkeypatch.setattr(load, "honest_trials", lambda folder: (reads.append(folder), real(folder))[1])
    report.keep_report(copy)
    report.summary_table(copy)
    assert report.verdict(copy) and reads == [copy]
    store.write_json(copy / "study.json", store.read_json(copy / "study.json") | {"question": "another?"})
    report.summary_table(copy)
    result = next(iter(store.finished_trials(copy))).folder / "result.json"
    result.touch()
    report.summary_table(copy)
    assert len(reads) == 3
