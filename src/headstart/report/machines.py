"""Which machine a time was measured on: a small letter behind it, and what the letters stand for.

Letters, not digits: "36 min²" reads as a square. They are Unicode's own raised letters, so that a page, its
Markdown, a figure and a PDF carry the same text.
"""

from __future__ import annotations

from collections.abc import Iterable

from headstart.report import words
from headstart.report.load import StudyView
from headstart.results.pairing import machine_of
from headstart.store import FinishedTrial

_LETTERS = "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖ"
_DIGITS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def mark(view: StudyView, trials: Iterable[FinishedTrial]) -> str:
    """The letters of the machines that these trials ran on; "" where all trials of the study ran on one."""
    every = view.machines
    if len(every) < 2:
        return ""
    used = {machine_of(trial) for trial in trials}
    return "".join(_letter(place) for place, machine in enumerate(every) if machine in used)


def _letter(place: int) -> str:
    return _LETTERS[place] if place < len(_LETTERS) else f"⁽{str(place + 1).translate(_DIGITS)}⁾"


def main_marks(view: StudyView) -> dict[str, str]:
    """By arm the letters of its trials at the main label budget; all "" where these ran on one machine."""
    return {arm.name: "" if view.one_machine else mark(view, arm.trials) for arm in view.arms}


def marks_of(view: StudyView, trials: Iterable[FinishedTrial]) -> str:
    """What the letters of these trials stand for, "ᵃ NVIDIA H200: …; ᵇ cpu: …"; "" where they ran on one
    machine."""
    by_machine = {machine_of(trial): trial for trial in trials}
    if len(by_machine) < 2:
        return ""
    return "; ".join(f"{mark(view, [by_machine[each]])} {words.machine(each)}" for each in sorted(by_machine))


def legend(view: StudyView) -> str:
    """What stands under times at the main label budget; "" where all ran on one machine."""
    machines = marks_of(view, [trial for arm in view.arms for trial in arm.trials])
    return f"Machines: {machines}. {APART}" if machines else ""


APART = "Times of different machines do not compare."
