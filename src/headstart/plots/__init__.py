"""Figures from plain arrays: one message each, no torch, no global plotting state.

Every function returns a matplotlib Figure about 480 units wide, so that the same drawing reads on a phone
and, two side by side, on a desk. Shares (accuracy, recall, confidence) come in as 0..1 and are drawn in
percent. `svg_text` turns a Figure into inline SVG whose colours are CSS variables: it follows a page from
light to dark. Used alone, the SVG falls back to the light colours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstart.plots.bars import accuracy, by_class, confusion, cost_by_phase
    from headstart.plots.costs import CostPoint, accuracy_against_cost
    from headstart.plots.curves import TimeToTarget, learning_curves, time_to_accuracy
    from headstart.plots.gradcam import GradCamColumn, gradcam_grid
    from headstart.plots.images import class_counts, embedding, image_grid, lines
    from headstart.plots.labels import BudgetPoint, Crossing, Fit, accuracy_by_labels, points_by_labels
    from headstart.plots.panels import ReliabilityLine, accuracy_by_severity, reliability_panels
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
        visible,
    )
    from headstart.plots.svg import svg_text
    from headstart.plots.tuning import best_so_far

__all__ = [
    "ARM_COLORS_DARK",
    "ARM_COLORS_LIGHT",
    "ArmStyle",
    "BudgetPoint",
    "CostPoint",
    "Crossing",
    "Curve",
    "Estimate",
    "Fit",
    "GradCamColumn",
    "ReliabilityLine",
    "TimeToTarget",
    "accuracy",
    "accuracy_against_cost",
    "accuracy_by_labels",
    "accuracy_by_severity",
    "arm_styles",
    "best_so_far",
    "by_class",
    "class_counts",
    "confusion",
    "cost_by_phase",
    "embedding",
    "gradcam_grid",
    "image_grid",
    "learning_curves",
    "lines",
    "percent",
    "points_by_labels",
    "reliability_panels",
    "short_duration",
    "spread",
    "svg_text",
    "time_to_accuracy",
    "visible",
]

_HOMES = {
    "ARM_COLORS_DARK": "style",
    "ARM_COLORS_LIGHT": "style",
    "ArmStyle": "style",
    "BudgetPoint": "labels",
    "CostPoint": "costs",
    "Crossing": "labels",
    "Curve": "style",
    "Estimate": "style",
    "Fit": "labels",
    "GradCamColumn": "gradcam",
    "ReliabilityLine": "panels",
    "TimeToTarget": "curves",
    "accuracy": "bars",
    "accuracy_against_cost": "costs",
    "accuracy_by_labels": "labels",
    "accuracy_by_severity": "panels",
    "arm_styles": "style",
    "best_so_far": "tuning",
    "by_class": "bars",
    "class_counts": "images",
    "confusion": "bars",
    "cost_by_phase": "bars",
    "embedding": "images",
    "gradcam_grid": "gradcam",
    "image_grid": "images",
    "learning_curves": "curves",
    "lines": "images",
    "percent": "style",
    "points_by_labels": "labels",
    "reliability_panels": "panels",
    "short_duration": "style",
    "spread": "style",
    "visible": "style",
    "svg_text": "svg",
    "time_to_accuracy": "curves",
}


def __getattr__(name: str) -> Any:
    # Looked up on first use: a number in words needs no matplotlib.
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(f"headstart.plots.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'headstart.plots' has no attribute {name!r}")
