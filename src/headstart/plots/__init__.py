"""Figures from plain arrays: one message each, no torch, no global plotting state.

Every function returns a matplotlib Figure about 480 units wide, so that the same drawing reads on a phone and, two side
by side, on a desk. Shares (accuracy, recall, confidence) come in as 0..1 and are drawn in percent. `svg_text` turns a
Figure into inline SVG whose colours are CSS variables: it follows a page from light to dark. Used alone, the SVG falls
back to the light colours.
"""

from __future__ import annotations

from headstart.plots.bars import accuracy, by_class, confusion, cost_by_phase
from headstart.plots.curves import accuracy_by_labels, learning_curves, reliability, time_to_accuracy
from headstart.plots.differences import points_by_labels
from headstart.plots.style import (
    ARM_COLORS_DARK,
    ARM_COLORS_LIGHT,
    ArmStyle,
    Curve,
    Estimate,
    arm_styles,
    percent,
    short_duration,
    spread,
)
from headstart.plots.svg import svg_text

__all__ = [
    "ARM_COLORS_DARK", "ARM_COLORS_LIGHT", "ArmStyle", "Curve", "Estimate", "accuracy", "accuracy_by_labels", "arm_styles",
    "by_class", "confusion", "cost_by_phase", "learning_curves", "percent", "points_by_labels", "reliability",
    "short_duration", "spread",
    "svg_text", "time_to_accuracy",
]  # fmt: skip
