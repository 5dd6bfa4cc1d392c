"""Stored numbers are believed only where they are those of the stored logits, and nothing is written
elsewhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.support.changed_trial import change_trial
from tests.support.synthetic_study import write_synthetic_study

from headstart import store
from headstart.errors import DamagedError, StoreError
from headstart.report.load import load_study
from headstart.report.writers.bundle import write_bundle
from headstart.results.honest import honest_trials
from headstart.results.published import adopt, publish
from headstart.store import manifest

NAMES = {"name": "cnn", "label": "CNN from scratch", "recipe_name": "cnn-full"}
Trial = Path


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_study(tmp_path_factory.mktemp("study") / "two", seeds=2, test_images=300)


@pytest.fixture(scope="module")
def published(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "trials"
    publish(study, folder)
    return folder


def _trials(folder: Path, arm: str) -> list[Path]:
    return [trial.folder for trial in store.finished_trials(folder) if trial.arm.name == arm]


def _edit(folder: Path, change: Callable[[dict], object]) -> None:
    """As with a text editor."""
    value = json.loads((folder / "result.json").read_text())
    change(value)
    (folder / "result.json").write_text(json.dumps(value))


def _without_manifest(folder: Path) -> None:
    """As an older version published it."""
    (folder / manifest.FILE).unlink()
    _edit(folder, lambda value: value.pop("schema"))


def _relabel_images(folder: Path) -> None:
    arrays = dict(np.load(folder / "predictions.npz"))
    arrays["test_labels"] = arrays["test_logits"].argmax(1).astype(arrays["test_labels"].dtype)
    store.write_npz(folder / "predictions.npz", arrays)


CHANGES: dict[str, Callable[[Path], object]] = {
    "test accuracy": lambda f: _edit(f, lambda v: v["metrics"].update(test_accuracy=0.99)),
    "test accuracy by one image": lambda f: _edit(
        f, lambda v: v["metrics"].update(test_accuracy=v["metrics"]["test_accuracy"] + 1 / 300)
    ),
    "no test accuracy": lambda f: _edit(f, lambda v: v["metrics"].update(test_accuracy=None)),
    "nll": lambda f: _edit(f, lambda v: v["metrics"].update(test_nll=0.01)),
    "ece": lambda f: _edit(f, lambda v: v["metrics"].update(test_ece=0.3)),
    "calibrated nll": lambda f: _edit(f, lambda v: v["metrics"].update(test_nll_calibrated=0.01)),
    "gap": lambda f: _edit(f, lambda v: v["metrics"].update(generalization_gap=0.0)),
    "seed": lambda f: _edit(f, lambda v: v["trial"].update(seed=7)),
    "method": lambda f: _edit(f, lambda v: v["trial"]["arm"].update(method="knn")),
    "key": lambda f: _edit(f, lambda v: v.update(key="0" * 64)),
    "labels": _relabel_images,
    "logits of another trial": lambda f: shutil.copy(
        next(p for p in f.parent.glob("*/predictions.npz") if p.parent != f), f
    ),
    "folder": lambda f: f.rename(f.with_name("0" * 64)),
    "arm's name": lambda f: _edit(f, lambda v: v["trial"]["arm"].update(name="probe")),
    "no predictions": lambda f: (f / "predictions.npz").unlink(),
    "a link": lambda f: (
        (f / "result.json").rename(f.parent / "elsewhere"),
        (f / "result.json").symlink_to(f.parent / "elsewhere"),
    ),
}


@pytest.mark.parametrize("older", [False, True], ids=["manifest", "older"])
@pytest.mark.parametrize("change", CHANGES)
def test_an_altered_published_trial_is_neither_reported_nor_checked_nor_published(
    published: Path, tmp_path: Path, change: str, older: bool
) -> None:
    copy = shutil.copytree(published, tmp_path / "R" / "trials")
    victim = _trials(copy, "cnn")[0]
    if older:
        for trial in (*_trials(copy, "cnn"), *_trials(copy, "probe")):
            _without_manifest(trial)
    load_study(copy)
    CHANGES[change](victim)
    with pytest.raises(StoreError, match=r"[0-9a-f]{64}/(result\.json|predictions\.npz)"):
        load_study(copy)
    with pytest.raises(StoreError):
        publish(copy, tmp_path / "again") if change != "arm's name" or not older else load_study(copy)
    assert not (tmp_path / "again").exists()


UNSEEN_BY_LOGITS: dict[str, Callable[[dict], object]] = {
    "validation accuracy": lambda v: v["metrics"].update(val_accuracy=1.0),
    "seconds": lambda v: v["cost"]["seconds"].update(train=1.0),
    "machine": lambda v: v["environment"].update(processor="another"),
}


@pytest.mark.parametrize("change", UNSEEN_BY_LOGITS)
def test_what_logits_cannot_tell_the_manifest_does(published: Path, tmp_path: Path, change: str) -> None:
    copy = shutil.copytree(published, tmp_path / "trials")
    _edit(_trials(copy, "cnn")[0], UNSEEN_BY_LOGITS[change])
    with pytest.raises(DamagedError, match=r"result\.json is damaged"):
        honest_trials(copy)


@pytest.mark.parametrize("name", ["study.json", "gallery.npz"])
def test_what_lies_beside_published_trials_is_what_was_published(
    published: Path, tmp_path: Path, name: str
) -> None:
    copy = shutil.copytree(published, tmp_path / "trials")
    with (copy / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(DamagedError, match=rf"{name} is damaged"):
        load_study(copy)


@pytest.mark.parametrize(
    "change", [name for name in CHANGES if name not in ("folder", "labels", "arm's name")]
)
def test_an_altered_trial_is_not_taken_over(published: Path, tmp_path: Path, change: str) -> None:
    copy = shutil.copytree(published, tmp_path / "trials")
    victim = _trials(copy, "cnn")[0]
    CHANGES[change](victim)
    with pytest.raises(StoreError):
        adopt(copy, victim.name, tmp_path / "run", NAMES)
    assert not (tmp_path / "run").exists()


def test_a_trial_is_taken_over_under_the_name_that_this_study_has_for_its_arm(
    published: Path, tmp_path: Path
) -> None:
    key = _trials(published, "cnn")[0].name
    assert adopt(published, key, tmp_path / key, NAMES | {"name": "mine", "label": "Mine"})
    trial = store.read_trial(tmp_path / key)
    assert (trial.arm.name, trial.arm.label) == ("mine", "Mine")
    assert not adopt(published, "0" * 64, tmp_path / "none", NAMES)


HOSTILE_NAMES = (
    "/tmp/x",
    "../x",
    "a/b",
    "..",
    ".",
    "",
    ".hidden",
    "a\\b",
    "a\nb",
    "a\x1b[2J",
    "a\u202eb",
    "x" * 300,
)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_in_a_published_folder_writes_nothing_anywhere(
    published: Path, tmp_path: Path, name: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    writers = {
        "key": lambda v: v.update(key=str(outside / "evil") if name == "/tmp/x" else name),
        "arm": lambda v: v["trial"]["arm"].update(name=name),
    }
    for place, change in writers.items():
        copy = shutil.copytree(published, tmp_path / place / "trials")
        victim = _trials(copy, "cnn")[0]
        if place == "arm":  # consistently: the name is no part of the key
            change_trial(victim, change)
        else:
            _without_manifest(victim)
            _edit(victim, change)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(StoreError, match=r"result\.json is damaged|another trial"):
            write_bundle(copy, tmp_path / "R")
        assert sorted(tmp_path.rglob("*")) == before


def test_links_in_a_folder_are_not_followed_into_a_publication(study: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(study, tmp_path / "study")
    (tmp_path / "secret.json").write_text("{}")
    (copy / "notes.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(StoreError, match=r"notes\.json is a symbolic link"):
        publish(copy, tmp_path / "trials")
    (copy / "notes.json").unlink()
    target = tmp_path / "R"
    target.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (target / "figures").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"figures is a symbolic link"):
        write_bundle(copy, target)
    assert not list((tmp_path / "elsewhere").iterdir())
