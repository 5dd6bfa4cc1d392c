"""What is on disk: files, run folders with finished trials, searches for recipes, and what a study says of
itself."""

from __future__ import annotations

from headstart.store.files import (
    as_stored,
    cache_folder,
    digest,
    lock,
    purge_unfinished,
    read_json,
    read_npz,
    require_space,
    write_bytes,
    write_json,
    write_npz,
)
from headstart.store.searches import Candidate, SearchRecord, read_search, study_searches
from headstart.store.study import ModelRecord, StudyRecord, claim_from_stored, has_study, read_study
from headstart.store.trials import (
    FinishedTrial,
    StoredArm,
    finished_trials,
    is_finished,
    read_predictions,
    read_result,
    read_test_ids,
    read_trial,
    write_history,
    write_predictions,
    write_result,
)

__all__ = [
    "Candidate",
    "FinishedTrial",
    "ModelRecord",
    "SearchRecord",
    "StoredArm",
    "StudyRecord",
    "as_stored",
    "cache_folder",
    "claim_from_stored",
    "digest",
    "finished_trials",
    "has_study",
    "is_finished",
    "lock",
    "purge_unfinished",
    "read_json",
    "read_npz",
    "read_predictions",
    "read_result",
    "read_search",
    "read_study",
    "read_test_ids",
    "read_trial",
    "require_space",
    "study_searches",
    "write_bytes",
    "write_history",
    "write_json",
    "write_npz",
    "write_predictions",
    "write_result",
]
