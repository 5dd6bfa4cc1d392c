"""One of several processes that run a study together: which of its trials it begins with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from headstart.errors import ConfigError

Piece = TypeVar("Piece")
_TEXT = re.compile(r"(\d{1,6})/(\d{1,6})")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Process `number`, from 1, of `count`."""

    number: int
    count: int

    @classmethod
    def of(cls, text: str) -> Shard:
        """The shard that "2/4" names. Raises: ConfigError."""
        match = _TEXT.fullmatch(text.strip())
        number, count = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= number <= count:
            raise ConfigError(f"--shard {text!r} is not I/N with I from 1 to N, e.g. 2/4")
        return cls(number=number, count=count)

    @classmethod
    def of_array(cls, environment: Mapping[str, str]) -> Shard | None:
        """The shard that a task of a Slurm job array is; None outside of one.

        An array need not begin at 0 or 1, and its ids may have a step. Raises: ConfigError where the ids have
        no regular step, for then a task's place among them is not known."""
        names = ("ID", "COUNT", "MIN", "MAX")
        texts = [environment.get(f"SLURM_ARRAY_TASK_{name}", "") for name in names]
        if not texts[0]:
            return None
        try:
            task, count, first, last = map(int, texts)
        except ValueError:
            task, count, first, last = 0, 0, 0, 0
        step = max(1, (last - first) // max(1, count - 1))
        place, rest = divmod(task - first, step)
        if count < 1 or first + step * (count - 1) != last or rest or not 0 <= place < count:
            said = ", ".join(f"{name} {text or 'unset'}" for name, text in zip(names, texts, strict=True))
            raise ConfigError(
                f"the ids of this job array have no regular step (SLURM_ARRAY_TASK_: {said}); say --shard I/N"
            )
        return cls(number=place + 1, count=count)

    def order(self, pieces: Sequence[Piece]) -> list[Piece]:
        """All pieces: every count-th from its own on, then those of the others from the last to the first.

        So shards begin with different pieces, and who has ended helps the others from the far end."""
        own = range(self.number - 1, len(pieces), self.count)
        others = [place for place in reversed(range(len(pieces))) if place not in own]
        return [pieces[place] for place in (*own, *others)]

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"
