"""What running a study begins with: its file is read, its trials are listed, its folder says what it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from headstart import store
from headstart.data import is_dataset, load_dataset
from headstart.errors import ConfigError, StoreError, require_count
from headstart.models import load_model
from headstart.runtime import progress
from headstart.runtime.precision import default_device
from headstart.store import ThreadsRecord
from headstart.studies.missing import Engine, TrialRun
from headstart.studies.record import describe
from headstart.studies.shard import Shard
from headstart.studies.study_file import load_study, study_folder
from headstart.studies.threads import kept_threads, threads_of
from headstart.studies.trials import as_finished, trials_of
from headstart.types import Dataset, Study


class RunOptions(TypedDict, total=False):
    """The keywords of `run_study` that say how it runs, not what; see there."""

    published: str | Path | None
    minutes: float | None
    jobs: int
    threads: int | None
    command: str
    engine: Engine | None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """RunOptions with their defaults. Raises: ConfigError, StoreError for what makes no sense."""

    published: str | Path | None = None
    minutes: float | None = None
    jobs: int = 1
    threads: int | None = None
    command: str = ""
    engine: Engine | None = None

    def __post_init__(self) -> None:
        if self.minutes is not None and not self.minutes >= 0:
            raise ConfigError(f"minutes must be 0 or more, got {self.minutes:g}")
        require_count("jobs", self.jobs)
        if self.engine is not None and self.jobs > 1:
            raise ConfigError("--jobs is for one machine; a cluster runs as many trials as its cores take")
        if self.threads is not None:
            require_count("threads", self.threads)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A study and how it shall run. text: of its study.toml. folder: the study's, which is there. published:
    an existing folder. deadline: of time.monotonic()."""

    study: Study
    text: str
    folder: Path
    settings: Settings
    published: Path | None
    deadline: float | None

    @classmethod
    def of(
        cls,
        study: str | Path | Study,
        out: str | Path | None,
        changes: Mapping[str, str] | None,
        seeds: int | None,
        settings: Settings,
    ) -> Asked:
        """What the arguments of `run_study` ask for. Raises: ConfigError, StoreError."""
        value, text = load_study(study, changes, seeds)
        folder = study_folder(value, out)
        published = _existing_folder(settings.published)
        minutes = settings.minutes
        deadline = None if minutes is None else time.monotonic() + 60 * minutes
        make_folder(folder)
        return cls(
            study=value,
            text=text,
            folder=folder,
            settings=settings,
            published=published,
            deadline=deadline,
        )

    def trials(self, shard: Shard | None = None) -> TrialRun:
        """The study's trials, each as it is finished where it is. Reads the data set."""
        study, dataset = self.study, load_dataset(self.study.dataset)
        _say_what_is_enlarged(study, dataset)
        folders = [self.folder, *([self.published] if self.published else [])]
        return TrialRun(
            study=study.name,
            dataset=dataset,
            trials=[as_finished(trial, study, dataset, folders) for trial in trials_of(study)],
            folder=self.folder,
            published=self.published,
            deadline=self.deadline,
            jobs=self.settings.jobs,
            threads=self.settings.threads,
            shard=shard,
            engine=self.settings.engine,
        )

    def write_head(self, run: TrialRun) -> ThreadsRecord | None:
        """Writes study.toml and study.json; returns with how many threads the trials compute, None for
        torch's own number."""
        store.write_bytes(self.folder / "study.toml", self.text.encode())
        threads = _threads(run, self.study)
        about = {} if threads is None else {"threads": store.as_stored(threads)}
        value = describe(self.study, run.dataset, self.settings.command) | about
        store.write_sealed(self.folder / "study.json", value)
        return threads

    def fetch_weights(self) -> None:
        """Fetches and checks all weights before anything is computed."""
        arms = self.study.arms
        for model, weights in sorted({(arm.model, arm.weights) for arm in arms if arm.weights != "none"}):
            load_model(model, weights)


def _say_what_is_enlarged(study: Study, dataset: Dataset) -> None:
    """Arms that ask for more pixels than a user's own images are stored at get no more detail."""
    stored = int(dataset.train.images.shape[1])
    arms = [arm for arm in study.arms if arm.input_pixels and arm.input_pixels > stored]
    if arms and not is_dataset(study.dataset):
        names = ", ".join(f"{arm.name} ({arm.input_pixels} px)" for arm in arms)
        progress.say(
            f"{study.dataset}: images are stored at {stored} px and enlarged for {names}; a larger "
            "image_pixels in "
            "images.toml keeps more detail, where the files have it"
        )


def _threads(run: TrialRun, study: Study) -> ThreadsRecord | None:
    """With how many threads this process computes; None leaves torch's own number.

    Processes side by side have their share of the cores; beside a GPU the number matters little. Neither
    those nor a study without anything left to run are timed."""
    if run.jobs > 1:
        return None
    if run.threads is None and default_device().type != "cpu":
        return None
    if all(map(run.is_finished, run.trials)):
        return kept_threads(run.folder)
    return threads_of(run.folder, run.threads, study.precision)


def make_folder(folder: Path) -> None:
    """Makes a study's folder. Raises: StoreError."""
    with store.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def _existing_folder(published: str | Path | None) -> Path | None:
    if published is None:
        return None
    if not Path(published).is_dir():
        raise StoreError(
            f"{published} is not a folder; give the folder that `headstart publish` wrote, or leave it out"
        )
    return Path(published)
