"""Searches for recipes on a Ray cluster, each one a task: a search proposes a try from those before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.cluster.connect import connected, say_nodes
from headstart.cluster.sent import Sent, cancel, first_ended, result_of
from headstart.cluster.work import Files, Setting, set_up
from headstart.data import load_dataset
from headstart.errors import HeadstartError, TakenError
from headstart.tuning.files import read_candidates
from headstart.tuning.question import without_test
from headstart.tuning.search import (
    Attempts,
    Due,
    Searches,
    SearchRequest,
    Sharing,
    Tuned,
    answer,
    held,
    tune,
)
from headstart.types import Dataset, Study

_FILES = ("tuning.json", "tuning.csv", "recipe.toml")  # in the order in which they are written


@dataclass(frozen=True, kw_only=True)
class SearchWork:
    """A search to make. searches: with the study's folder of the driver. begun: the tuning.json of an earlier
    run, empty for none."""

    setting: Setting
    due: Due
    searches: Searches
    begun: bytes


def run_search_work(
    work: SearchWork, dataset: Dataset, *weights: NDArray[np.uint8]
) -> Files | HeadstartError:
    """The files of the search's folder once it has ended, or the error that a user can mend."""
    try:
        with set_up(work.setting, dataset, weights) as scratch:
            here = Searches(study=work.searches.study, request=work.searches.request, folder=scratch)
            question = here.question(work.due, dataset)
            if work.begun:
                store.write_bytes(question.folder / "tuning.json", work.begun)
            answer(question, work.due[1].tries)
            files = {name: question.folder / name for name in _FILES}
            return {name: path.read_bytes() for name, path in files.items() if path.exists()}
    except HeadstartError as error:
        return error


class RaySearches:
    """Makes searches as tasks of the cluster that this process is connected to.

    This process holds the lock of every search that is under way, and writes its files when it has ended; a
    node that dies loses what its search had tried since it began."""

    def attempts(self, due: Iterable[tuple[int, Due]], searches: Searches) -> Attempts:
        """See tuning.search.Engine. Raises: ConfigError where no node is large enough."""
        numbered = list(due)
        dataset = without_test(load_dataset(searches.study.dataset))
        sent = Sent(dataset, [arm for _, (arm, _) in numbered])
        running = dict[Any, tuple[int, Due]]()
        with ExitStack() as locks:
            try:
                for number, each in numbered:
                    question = searches.question(each, dataset)
                    try:
                        locks.enter_context(held(question.folder))
                    except TakenError as error:
                        yield number, each, partial(_raise, error)
                        continue
                    begun = b""
                    if read_candidates(question):  # damage is announced and set aside here
                        begun = (question.folder / "tuning.json").read_bytes()
                    work = SearchWork(setting=sent.setting, due=each, searches=searches, begun=begun)
                    running[sent.task(run_search_work, work)] = number, each
                while running:
                    for task in first_ended(running):
                        number, each = running.pop(task)
                        yield number, each, partial(_finished, searches, each, dataset, task)
            finally:
                cancel(running)


def _raise(error: TakenError) -> Tuned:
    raise error


def _finished(searches: Searches, due: Due, dataset: Dataset, task: Any) -> Tuned:
    """The search of an ended task, written into its folder. Raises: the search's error."""
    files: Files = result_of(task)
    question = searches.question(due, dataset)
    for name in _FILES:
        if name in files:
            store.write_bytes(question.folder / name, files[name])
    candidates = tuple(read_candidates(question))
    return Tuned.of(question, candidates)


def tune_on_cluster(
    address: str,
    study: str | Path | Study,
    request: SearchRequest | None = None,
    *,
    out: str | Path | None = None,
    changes: Mapping[str, str] | None = None,
) -> list[Tuned]:
    """As tune, each search a task of the cluster at `address` (see `connected`).

    This process writes all files; the nodes need no folder in common. Raises: as tune; ConfigError where ray
    is not installed, nothing answers, or a node has other versions."""
    with connected(address):
        say_nodes()
        return tune(study, request, out=out, changes=changes, sharing=Sharing(engine=RaySearches()))
