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


def images(count: int, one: str = "", many: str = "") -> str:
    """A number of images, followed by the word that its verb takes: "1 image is", "2 images are"."""
    verb = one if count == 1 else many
    return f"{count:,} {'image' if count == 1 else 'images'}{' ' if verb else ''}{verb}"
