"""Features on disk: what lies beside their values, and whether they are as they were written."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from headstart.errors import DamagedError, StoreError
from headstart.runtime import progress
from headstart.store import FileFacts, read_as, require_unchanged
from headstart.store.hashes import hash_of_start
from headstart.store.remedies import CACHED as REMEDY

if TYPE_CHECKING:
    from hashlib import _Hash as Hash


class FeatureMeta(BaseModel):
    """meta.json. values: None in what older versions wrote."""

    model_config = ConfigDict(allow_inf_nan=False)

    shape: Annotated[list[Annotated[int, Field(ge=1, le=10**7)]], Field(min_length=1, max_length=3)]
    seconds: Annotated[float, Field(ge=0)]
    flops: Annotated[int, Field(ge=0)]
    joules: float | None = None
    values: FileFacts | None = None


class _Progress(BaseModel):
    """progress.json. sha256: "" in what older versions wrote."""

    model_config = ConfigDict(allow_inf_nan=False)

    rows: Annotated[int, Field(ge=0)]
    seconds: Annotated[float, Field(ge=0)]
    sha256: str = ""


def read_meta(folder: Path) -> FeatureMeta:
    return read_as(FeatureMeta, folder / "meta.json", REMEDY)


def whole(folder: Path) -> FeatureMeta | None:
    """What meta.json says of features that are as they were written; None where there are none, or where
    they are damaged, which is announced."""
    if not (folder / "meta.json").exists():
        return None
    try:
        meta = read_meta(folder)
        if meta.values is not None:
            require_unchanged(folder / "values.f16", meta.values, "they are computed again")
        size, row_bytes = (folder / "values.f16").stat().st_size, 2 * math.prod(meta.shape)
        if not size or not row_bytes or size % row_bytes:
            raise DamagedError(
                f"{folder / 'values.f16'} is no whole number of rows of {meta.shape}; they are computed again"
            )
        return meta
    except (StoreError, OSError) as error:
        progress.say(f"features in the cache: {error}")
        return None


def resumable(record: Path, values: Path, row_bytes: int) -> tuple[int, float, Hash] | None:
    """Rows that an interrupted extraction has written, the seconds that they took, and their hash."""
    if not (record.exists() and values.exists()):
        return None
    try:
        state = read_as(_Progress, record, REMEDY)
    except StoreError as error:
        progress.say(f"{error}: the features are computed from the start")
        return None
    if values.stat().st_size < state.rows * row_bytes:
        return None
    content = hash_of_start(values, state.rows * row_bytes)
    if state.sha256 not in ("", content.hexdigest()):
        progress.say(f"{values} is damaged: the features are computed from the start")
        return None
    return state.rows, state.seconds, content
