"""How the page shows arms, and which words stay on one line."""

from __future__ import annotations

import re

from markupsafe import Markup

from headstart import plots
from headstart.report.load import Arm

# The arms' marks in the page's text, on a 12 x 12 field, as plots draws them.
_MARKS = {
    "o": '<circle cx="6" cy="6" r="4.6"/>',
    "s": '<rect x="1.8" y="1.8" width="8.4" height="8.4"/>',
    "^": '<path d="M6 1 11.2 10.6H.8Z"/>',
    "D": '<path d="M6 .6 11.4 6 6 11.4.6 6Z"/>',
    "v": '<path d="M6 11 .8 1.4h10.4Z"/>',
    "P": '<path d="M4.2 1h3.6v3.2H11v3.6H7.8V11H4.2V7.8H1V4.2h3.2Z"/>',
    "X": '<path d="M3.4 1 6 3.6 8.6 1 11 3.4 8.4 6 11 8.6 8.6 11 6 8.4 3.4 11 1 8.6 3.6 6 1 3.4Z"/>',
    "h": '<path d="M6 .8 10.6 3.4v5.2L6 11.2 1.4 8.6V3.4Z"/>',
    "<": '<path d="M1 6 10.6 .8v10.4Z"/>',
    ">": '<path d="M11 6 1.4 .8v10.4Z"/>',
}


def tied(text: str) -> str:
    """Numbers tied to their units and names to theirs ("ResNet-50"), so that a line never ends between
    them."""
    text = re.sub(r"(?<=[A-Za-z])-(?=\d)", "-\u2060", text)
    return re.sub(r"(?<=\d) (?=(?:%|seconds?|minutes?|hours?|points?)\b|%)", "\u00a0", text)


def color(arm: Arm) -> str:
    """The CSS variable of an arm's colour."""
    return f"var(--arm{arm.place % len(plots.ARM_COLORS_LIGHT)})"


def mark(arm: Arm) -> Markup:
    """The arm's marker in its colour, as small inline SVG."""
    shape = _MARKS[arm.style.marker]
    return Markup(
        f'<svg class="mark" viewBox="0 0 12 12" aria-hidden="true" style="fill:{color(arm)}">{shape}</svg>'
    )
