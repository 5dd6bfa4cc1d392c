"""Choosing a recipe for an arm: a stated number of candidates, the same for every arm, on validation images
alone.

The test set is no part of it: a candidate is given the training images and an empty test set. Below 5 labels
a class nothing is tuned; from 5 up a candidate is read on folds inside the label budget; at all labels on the
validation split. Every search has a folder <study folder>/tuning/<arm>-<labels>/ (tuning/files.py).
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from headstart import store
from headstart.data import load_dataset
from headstart.errors import BusyError, ConfigError, TakenError, require_count, unknown_name
from headstart.methods import method_spec
from headstart.models import load_model
from headstart.recipes.spaces import grid
from headstart.runtime import progress
from headstart.runtime.memory import keep_freed_memory
from headstart.runtime.processes import attempts
from headstart.store import Candidate
from headstart.studies.begin import make_folder
from headstart.studies.shard import Shard
from headstart.studies.study_file import load_study, study_folder
from headstart.studies.trials import cells_of
from headstart.training.durations import parse_duration
from headstart.tuning.candidates import SCRATCH, best_candidate, train_candidate
from headstart.tuning.files import read_candidates, write_candidates, write_recipe
from headstart.tuning.question import Question, without_test
from headstart.tuning.sampler import propose
from headstart.types import ALL_LABELS, MINIMUM_FOR_SELECTION, Arm, Dataset, LabelBudget, Proxy, Search, Study


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A finished search. best: None where every candidate failed. recipe_file: where the best recipe lies."""

    arm: str
    candidates: tuple[Candidate, ...]
    best: Candidate | None
    recipe_file: Path

    @classmethod
    def of(cls, question: Question, candidates: Sequence[Candidate]) -> Tuned:
        """The search of this question with these candidates."""
        return cls(
            arm=question.arm.name,
            candidates=tuple(candidates),
            best=best_candidate(candidates),
            recipe_file=question.folder / "recipe.toml",
        )

    @property
    def seconds(self) -> float:
        """Wall seconds of all candidates."""
        return math.fsum(candidate.seconds for candidate in self.candidates)


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """What shall be searched.

    arms: their names; empty for all of the study's. candidates: how many for each arm; None for the searches
    that the study's file asks for, of these arms, whose label_budget and proxy it then says too. pixels:
    input sizes to choose among. seed: of the label subset and of the search.
    """

    arms: tuple[str, ...] = ()
    candidates: int | None = None
    label_budget: LabelBudget | None = None
    proxy: Proxy | None = None
    pixels: tuple[int, ...] = ()
    seed: int = 0


Due = tuple[Arm, Search]  # a search that shall be made
Attempts = Generator[tuple[int, Due, Callable[[], Tuned]], None, None]


@dataclass(frozen=True, kw_only=True)
class Searches:
    """What all searches of a call share. folder: of the study."""

    study: Study
    request: SearchRequest
    folder: Path

    def question(self, due: Due, dataset: Dataset) -> Question:
        """What a search asks. dataset: its test images are left out."""
        arm, search = due
        return Question(
            study=self.study,
            arm=arm,
            dataset=without_test(dataset),
            label_budget=search.label_budget,
            seed=self.request.seed,
            proxy=search.proxy,
            space=method_spec(arm.method).space(arm.recipe, self.request.pixels),
            folder=self.folder / "tuning" / f"{arm.name}-{search.label_budget}",
        )

    def one(self, due: Due) -> Tuned:
        """Searches for one arm; runs in a process of its own where several do."""
        return answer(self.question(due, load_dataset(self.study.dataset)), due[1].tries)


class Engine(Protocol):
    """Where searches are made, if not in processes of this machine."""

    def attempts(self, due: Iterable[tuple[int, Due]], searches: Searches) -> Attempts:
        """The searches as they end, in any order, each with a function that gives its result or raises."""
        ...


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """How searches are shared out. jobs: at once, each in a process of its own with its share of the cores.
    shard: of several processes that search in this folder at once; it begins with its share of the searches,
    goes on with what no other has begun, and returns those that it ended or found ended. engine: where they
    are made, if not here."""

    jobs: int = 1
    shard: Shard | None = None
    engine: Engine | None = None


def tune(
    study: str | Path | Study,
    request: SearchRequest | None = None,
    *,
    out: str | Path | None = None,
    changes: Mapping[str, str] | None = None,
    sharing: Sharing = Sharing(),
) -> list[Tuned]:
    """Searches a recipe for each arm that is asked for.

    out: the study's folder (default: runs/<study name>). The first candidate is the arm's own recipe (not one
    that was tuned before), so that the best one is never worse on validation.

    Raises: ConfigError for what makes no sense, before anything is computed; BusyError; StoreError; the
    errors of a trial."""
    request = request or SearchRequest()
    value, _ = load_study(study, {**(changes or {}), "tuned": "false"})
    searches = _searches(value, request)
    jobs, shard, engine = sharing.jobs, sharing.shard, sharing.engine
    require_count("jobs", jobs)
    due = [(arm, search) for search in searches for arm in _arms(value, search)]
    for search in searches:
        _check(search, request.pixels)
    keep_freed_memory()
    for model, weights in sorted({(arm.model, arm.weights) for arm, _ in due if arm.weights != "none"}):
        load_model(model, weights)  # fetched and checked before anything is computed
    load_dataset(value.dataset)
    folder = study_folder(value, out)
    numbered = list(enumerate(due))
    if shard is not None:
        make_folder(folder)
        store.require_shared_locks(folder)
        numbered = shard.order(numbered)
    run = Searches(study=dataclasses.replace(value, searches=()), request=request, folder=folder)
    tuned: dict[int, Tuned] = {}
    under_way = attempts(numbered, run.one, jobs) if engine is None else engine.attempts(numbered, run)
    with closing(under_way) as attempted:
        for number, (arm, search), result_of in attempted:
            try:
                tuned[number] = result_of()
            except TakenError as error:
                if shard is None:
                    raise
                progress.say(f"{arm.name}, {search.label_budget} labels a class: {error}")
                continue
            if jobs > 1 or engine is not None:
                progress.say(f"{arm.name}, {search.label_budget} labels a class: {_summary(tuned[number])}")
    return [tuned[number] for number in sorted(tuned)]


def _searches(study: Study, request: SearchRequest) -> list[Search]:
    """The one search that the request states, or those of the study's file for its arms."""
    arms = request.arms
    if request.candidates is not None:
        budget, proxy = request.label_budget or ALL_LABELS, request.proxy or Proxy()
        return [Search(arms=arms, label_budget=budget, tries=request.candidates, proxy=proxy)]
    if request.proxy or request.label_budget is not None:
        raise ConfigError("say how many --tries too, or leave all of it to the study's file")
    searches = [
        dataclasses.replace(search, arms=named)
        for search in study.searches
        if (named := tuple(name for name in search.arms if not arms or name in arms))
    ]
    if not searches:
        raise ConfigError(
            f"study {study.name} says nothing of tuning {' or '.join(arms) or 'its arms'}; give --tries, or "
            "add a [[tuning]] table to its file"
        )
    return searches


def _arms(study: Study, search: Search) -> list[Arm]:
    """The search's arms, or all that the study has at its label budget, each with its recipe there."""
    cells = [cell for cell in cells_of(study) if cell.label_budget == search.label_budget]
    there = {cell.arm.name: cell.arm for cell in cells}
    arms = {arm.name: there.get(arm.name, arm) for arm in study.arms}
    for name in search.arms:
        if name not in arms:
            raise unknown_name(f"arm of study {study.name}", name, arms)
    return [arms[name] for name in dict.fromkeys(search.arms or there or arms)]


def _check(search: Search, pixels: Sequence[int]) -> None:
    """Raises: ConfigError for a search that makes no sense, naming the option."""
    proxy, budget = search.proxy, search.label_budget
    if not budget.allows_selection:
        raise ConfigError(
            f"with {budget} labels a class nothing is tuned: recipes written beforehand are used; tune at "
            f"{MINIMUM_FOR_SELECTION} labels a class or more"
        )
    if search.tries < 1:
        raise ConfigError(f"--tries must be at least 1, got {search.tries}")
    if proxy.duration is not None:
        for part in proxy.duration.split(", at least "):
            parse_duration(part)
    if not budget.is_all and (proxy.images or proxy.validation_images):
        raise ConfigError(
            "--images and --validation-images are for all labels; at a label budget use --folds"
        )
    if budget.is_all and proxy.folds:
        raise ConfigError("--folds is for label budgets; at all labels use --images and --validation-images")
    if proxy.folds is not None and not 1 <= proxy.folds <= 5:
        raise ConfigError(f"--folds must lie between 1 and 5, got {proxy.folds}")
    for size in pixels:
        if not 16 <= size <= 1024:
            raise ConfigError(f"--pixels must lie between 16 and 1024, got {size}")


def answer(question: Question, asked: int) -> Tuned:
    """Trains the candidates that are missing of those asked for; every one that ended is kept.

    Raises: TakenError where another process searches there; as tune."""
    folder, arm = question.folder, question.arm
    with held(folder):
        candidates, choices = read_candidates(question), grid(question.space)
        wanted = asked
        if choices is not None:
            wanted = min(asked, len(choices) + (question.start not in choices))
        if wanted < asked:
            progress.say(
                f"{arm.name}: {wanted} {'try is' if wanted == 1 else 'tries are'} all there is to compare"
                + ("" if question.space else ": what its method selects, it selects itself")
            )
        for stray in folder.glob(f"{SCRATCH}*"):  # of a search that was killed
            shutil.rmtree(stray, ignore_errors=True)
        start, before = time.perf_counter(), len(candidates)
        write_candidates(question, asked, candidates)
        while len(candidates) < wanted:
            values, number = _next_values(question, candidates, choices), len(candidates) + 1
            candidates.append(
                _repeated(candidates, values, number) or train_candidate(question, values, number)
            )
            write_candidates(question, asked, candidates)
            each = (time.perf_counter() - start) / (len(candidates) - before)
            progress.say(_progress_line(arm, candidates, wanted, each * (wanted - len(candidates))))
        write_recipe(question, candidates)
    return Tuned.of(question, candidates)


def held(folder: Path) -> AbstractContextManager[object]:
    """The lock of a search's folder. Raises: TakenError where another process searches."""
    try:
        return store.lock(folder / "lock", f"the tuning folder {folder}")
    except BusyError as error:
        raise TakenError(str(error)) from error


def _next_values(
    question: Question, candidates: Sequence[Candidate], choices: list[dict[str, Any]] | None
) -> dict[str, Any]:
    """The arm's own recipe first, then what is left of a small space in order, else what the sampler
    proposes."""
    if not candidates:
        return question.start
    if choices is not None:
        return next(values for values in choices if all(values != each.values for each in candidates))
    history = [(each.values, each.accuracy) for each in candidates]
    return propose(question.space, history, seed=question.seed)


def _repeated(candidates: Sequence[Candidate], values: Mapping[str, Any], number: int) -> Candidate | None:
    """A candidate of the same values, which would end the same; it counts as one and costs nothing."""
    same = [each for each in candidates if each.values == values]
    return dataclasses.replace(same[0], seconds=0.0, number=number) if same else None


def _summary(tuned: Tuned) -> str:
    if tuned.best is None:
        return f"all {len(tuned.candidates)} tries failed"
    return (
        f"best of {len(tuned.candidates)} tries {tuned.best.accuracy:.4f} (try {tuned.best.number}), "
        f"{progress.clock(tuned.seconds)}"
    )


def _progress_line(arm: Arm, candidates: Sequence[Candidate], wanted: int, seconds_left: float) -> str:
    last, best = candidates[-1], best_candidate(candidates)
    read = (
        f"validation accuracy {last.accuracy:.4f}" if last.accuracy is not None else f"failed: {last.failed}"
    )
    leader = f"best {best.accuracy:.4f} (try {best.number})" if best else "none has ended yet"
    rest = f", about {progress.clock(seconds_left)} left" if len(candidates) < wanted else ""
    return (
        f"{arm.name}: try {len(candidates)} of {wanted}, {read}, {progress.clock(last.seconds)}; "
        f"{leader}{rest}"
    )
