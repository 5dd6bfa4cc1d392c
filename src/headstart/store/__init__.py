"""What is on disk: files, run folders with finished trials, searches for recipes, and what a study says of
itself."""

from __future__ import annotations

from headstart.store.durable import (
    disk_error,
    disk_errors,
    is_disk_error,
    purge_unfinished,
    replacing,
    write_bytes,
)
from headstart.store.files import (
    as_cell,
    as_stored,
    csv_bytes,
    csv_line,
    digest,
    of_cell,
    write_json,
    write_npz,
)
from headstart.store.hashes import FileFacts, facts_of, require_unchanged
from headstart.store.locks import lock, require_space, shared_lock
from headstart.store.names import inside, is_key, is_name
from headstart.store.places import cache_folder
from headstart.store.predictions import (
    read_predictions,
    read_test,
    read_test_ids,
    write_predictions,
)
from headstart.store.reading import Arrays, read_as, read_bytes, read_json, read_npy, read_npz
from headstart.store.sealed import write_sealed
from headstart.store.searches import Candidate, SearchRecord, read_search, study_searches
from headstart.store.shared import require_shared_locks
from headstart.store.study import (
    ModelRecord,
    StudyRecord,
    claim_from_stored,
    has_study,
    read_study,
)
from headstart.store.threads import ThreadsRecord, last_measured, write_last_measured
from headstart.store.trials import (
    FinishedTrial,
    StoredArm,
    finished_folders,
    finished_trials,
    in_order,
    is_finished,
    is_finished_now,
    read_result,
    read_trial,
    set_aside_damaged,
    write_history,
    write_result,
)

__all__ = [
    "Arrays",
    "Candidate",
    "FileFacts",
    "FinishedTrial",
    "ModelRecord",
    "SearchRecord",
    "StoredArm",
    "StudyRecord",
    "ThreadsRecord",
    "as_cell",
    "as_stored",
    "cache_folder",
    "claim_from_stored",
    "csv_bytes",
    "csv_line",
    "digest",
    "disk_error",
    "disk_errors",
    "facts_of",
    "finished_folders",
    "finished_trials",
    "has_study",
    "in_order",
    "inside",
    "is_disk_error",
    "is_finished",
    "is_finished_now",
    "is_key",
    "is_name",
    "last_measured",
    "lock",
    "of_cell",
    "purge_unfinished",
    "read_as",
    "read_bytes",
    "read_json",
    "read_npy",
    "read_npz",
    "read_predictions",
    "read_result",
    "read_search",
    "read_study",
    "read_test",
    "read_test_ids",
    "read_trial",
    "replacing",
    "require_shared_locks",
    "require_space",
    "require_unchanged",
    "set_aside_damaged",
    "shared_lock",
    "study_searches",
    "write_bytes",
    "write_history",
    "write_json",
    "write_last_measured",
    "write_npz",
    "write_predictions",
    "write_result",
    "write_sealed",
]
