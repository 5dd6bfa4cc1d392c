"""One observation of a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True)
class Remark:
    """One observation. code: for programs. advice: what to do, empty where nothing needs doing."""

    severity: Severity
    code: str
    message: str
    advice: str = ""
