"""Which machine a time was measured on: a small letter behind it, and what the letters stand for.

Letters, not digits: "36 min²" reads as a square. They are Unicode's own raised letters, so that a page, its
Markdown, a figure and a PDF carry the same text.
"""

from __future__ import annotations

from collections.abc import Iterable

from headstart.report import words
from headstart.report.load import Arm, StudyView
from headstart.results.pairing import machine_of
from headstart.types import Result

_LETTERS = "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖ"
_DIGITS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def mark(view: StudyView, results: Iterable[Result]) -> str:
    """The letters of the machines that these trials ran on; "" where all trials of the study ran on one."""
    every = sorted({machine_of(result) for _, result in view.trials})
    if len(every) < 2:
        return ""
    used = {machine_of(result) for result in results}
    return "".join(_letter(place) for place, machine in enumerate(every) if machine in used)


def _letter(place: int) -> str:
    return _LETTERS[place] if place < len(_LETTERS) else f"⁽{str(place + 1).translate(_DIGITS)}⁾"


def main_marks(view: StudyView) -> dict[str, str]:
    """By arm the letters of its trials at the main label budget; all "" where these ran on one machine."""
    return {arm.name: "" if view.one_machine else mark(view, _results(arm)) for arm in view.arms}


def marks_of(view: StudyView, results: Iterable[Result]) -> str:
    """What the letters of these trials stand for, "ᵃ NVIDIA H200: …; ᵇ cpu: …"; "" where they ran on one
    machine."""
    by_machine = {machine_of(result): result for result in results}
    if len(by_machine) < 2:
        return ""
    return "; ".join(f"{mark(view, [by_machine[each]])} {words.machine(each)}" for each in sorted(by_machine))


def legend(view: StudyView) -> str:
    """What stands under times at the main label budget; "" where all ran on one machine."""
    told = marks_of(view, [result for arm in view.arms for result in _results(arm)])
    return f"Machines: {told}. {APART}" if told else ""


APART = "Times of different machines do not compare."


def _results(arm: Arm) -> list[Result]:
    return [result for _, result in arm.trials]
