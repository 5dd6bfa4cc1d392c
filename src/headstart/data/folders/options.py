"""How a user's own images are found and read, as the commands and images.toml say it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from headstart.data.folders.layout import Layout
from headstart.types import Reading


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """group_column, group_regex: images with the same value of a table's column, or the same match in their
    paths, stay on one side of every split. layout: what a folder's sub-folders are. alike: images are alike
    by nature, and only equal pixels count as copies. fit, integer_range, float_range: as in Reading.
    decisions: a file of decisions about single images (decisions.py); None: there are none.
    hold_out: False keeps no image back for testing where there is no test split; all are for training.
    sample: read at most so many images, alike of all classes (sample.py); None: all of them."""

    group_column: str | None = None
    group_regex: str | None = None
    layout: Layout = "auto"
    alike: bool = False
    fit: Literal["crop", "pad", "squash"] = "crop"
    integer_range: tuple[float, float] | None = None
    float_range: tuple[float, float] | None = None
    decisions: str | None = None
    hold_out: bool = True
    sample: int | None = None

    def given(self) -> dict[str, Any]:
        """The options that differ from their defaults, as images.toml holds them."""
        plain = asdict(SourceOptions())
        return {name: value for name, value in asdict(self).items() if value != plain[name]}

    def finding(self) -> dict[str, Any]:
        """What find_entries takes."""
        return {name: getattr(self, name) for name in ("group_column", "group_regex", "layout")}

    @property
    def reading(self) -> Reading:
        """How files become square pixels."""
        return Reading(fit=self.fit, integer_range=self.integer_range, float_range=self.float_range)


DEFAULT_OPTIONS = SourceOptions()
