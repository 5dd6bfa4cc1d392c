"""Numbers and methods as people write them: the template's filters, and what a recipe means in plain
words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headstart.plots import percent, short_duration
from headstart.registry.methods import stored_method
from headstart.registry.words import ArmFacts
from headstart.registry.words import listing as listing
from headstart.results.pairing import machine_of
from headstart.store import FinishedTrial, ModelRecord, StoredArm

NONE = "n/a"
_THIN = "\u202f"  # a narrow no-break space: numbers stay with their units


def share(value: float | None, digits: int = 1) -> str:
    """A share 0..1 in percent, or "n/a"."""
    return NONE if value is None else percent(value, digits)


def points(value: float | None, digits: int = 1) -> str:
    """A difference of shares in percentage points, with its sign."""
    if value is None:
        return NONE
    return minus(f"{100 * value:+z.{digits}f}{_THIN}points")


def interval(bounds: tuple[float, float], digits: int = 1, *, signed: bool = False) -> str:
    """ "low to high" in percent; signed: of a difference, with a plus too. One digit more where both ends
    would read the same."""
    low, high = (f"{100 * bound:{'+' if signed else ''}z.{digits}f}" for bound in bounds)
    if low == high and bounds[0] < bounds[1]:
        low, high = (f"{100 * bound:{'+' if signed else ''}z.{digits + 1}f}" for bound in bounds)
    return minus(f"{low} to {high}")


def minus(text: str) -> str:
    """A number's text with a proper minus sign in place of a hyphen."""
    return text.replace("-", "−")


def number(value: float | None, digits: int = 3) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def duration(value: float | None) -> str:
    return NONE if value is None else short_duration(value)


def between(bracket: tuple[float, float] | None, show: Callable[[float], str]) -> str:
    """A cost that lies between two values: "8.1 to 9.3 s", "up to 9.3 s" where nothing was read before."""
    if bracket is None:
        return NONE
    low, high = show(bracket[0]), show(bracket[1])
    if bracket[0] == 0:
        return f"up to {high}"
    number, _, unit = low.partition(_THIN)
    return f"{number if high.partition(_THIN)[2] == unit else low} to {high}"


def count(value: float | None) -> str:
    """A large number in words' steps: "1.97 million", "4,500"."""
    if value is None:
        return NONE
    return _scaled(value, (1e9, "billion"), (1e6, "million")) or f"{value:,.0f}"


def flops(value: float | None) -> str:
    """Floating-point operations in a fitting unit: "1.9 PFLOP"."""
    if value is None:
        return NONE
    units = ((1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"))
    return _scaled(value, *units) or f"{value / 1e6:.3g}{_THIN}MFLOP"


def energy(value: float | None) -> str:
    """Joules in a fitting unit: "12.3 kJ"."""
    if value is None:
        return NONE
    return _scaled(value, (1e9, "GJ"), (1e6, "MJ"), (1e3, "kJ")) or f"{value:.3g}{_THIN}J"


def _scaled(value: float, *units: tuple[float, str]) -> str:
    """Three digits in the first of the units (size, name) that the value reaches; "" where it reaches
    none."""
    return next((f"{value / size:.3g}{_THIN}{name}" for size, name in units if value >= size), "")


def memory(value: float | None) -> str:
    """Bytes as GB (10^9) or MB."""
    if not value:
        return NONE
    return f"{value / 1e9:.2f}{_THIN}GB" if value >= 1e9 else f"{value / 1e6:.0f}{_THIN}MB"


def anchor(text: str) -> str:
    """A text as an HTML id."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def method_in_words(arm: StoredArm, model: ModelRecord | None, trial: FinishedTrial) -> list[str]:
    """What was done in an arm, one paragraph an item; says only what the stored recipe says."""
    size = f" ({count(model.parameters)} parameters)" if model and model.parameters else ""
    facts = ArmFacts(arm=arm, model=(model.title if model else arm.model) + size, trial=trial)
    return [paragraph for paragraph in stored_method(arm.method).describe(facts) if paragraph]


def settings(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A recipe's fields for a table, in its own order."""
    return [(name.replace("_", " "), setting(value)) for name, value in recipe.items()]


def setting(value: Any) -> str:
    """One setting as text: numbers short, lists with commas, None as "none"."""
    if isinstance(value, (list, tuple)):
        return ", ".join(setting(v) for v in value)
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def machines(trials: Sequence[FinishedTrial]) -> list[str]:
    """The machines that trials ran on, each with its number of trials."""
    counted = Counter(machine_of(trial) for trial in trials)
    return [
        f"{machine(each)} ({count:,} {'trial' if count == 1 else 'trials'})"
        for each, count in sorted(counted.items())
    ]


def machine(facts: tuple[str, str, str, str, str]) -> str:
    """One machine, as `machine_of` gives it, in words."""
    device, processor, threads, precision, jobs = facts
    return (
        f"{device}: {processor}, {threads} {'thread' if threads == '1' else 'threads'}, {precision}"
        f"{'' if jobs == '1' else f', {jobs} trials side by side'}"
    )
