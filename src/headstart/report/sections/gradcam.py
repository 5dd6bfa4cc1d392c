"""The section on Grad-CAM: one figure, from the evidence that the study's folder holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart import plots
from headstart.evaluation.records import NetworkGradCam, StudyGradCam, read_gradcam
from headstart.registry.methods import stored_method
from headstart.report import words
from headstart.report.document import Figure
from headstart.report.load import Arm, StudyView
from headstart.report.sections.figure import finish

_MOST_ARMS = 5  # more columns than these leave no room for a class's name on a phone


def figure(view: StudyView) -> Figure | None:
    """Grad-CAM evidence of each arm's network on the same test images; None where no network that the report
    shows was read."""
    stored = read_gradcam(view.folder)
    arms = {trial.key: arm for arm in view.arms for trial in arm.trials}
    shown = {arms[each.key].name: each for each in stored.networks if each.key in arms} if stored else {}
    if stored is None or not shown:
        return None
    read = [arm for arm in view.arms if arm.name in shown]
    here = _first_ones(view, read)
    names = view.class_names
    drawing = plots.gradcam_grid(
        stored.images,
        [names[label] for label in stored.labels],
        [_column(arm, shown[arm.name], stored, names) for arm in here],
    )
    grids = sorted({shown[arm.name].heatmaps.shape[1:] for arm in here})
    positions = words.listing([f"{rows}\u00a0×\u00a0{columns}" for rows, columns in grids])
    which = f"{len(here)} of {len(read)} networks" if len(here) < len(read) else "One trained network an arm"
    each = "one a class, " if len(np.unique(stored.labels)) == len(stored.labels) else ""
    caption = (
        f"Grad-CAM (Selvaraju et al. 2017) of each network’s last block, {positions} positions, smoothed "
        "between them, on "
        "the image in grey; under it the network’s own answer, whose evidence it is, with its probability; "
        "✗: wrong. "
        f"n = {len(stored.images)} test images, {each}drawn with seed {stored.seed}. {which}, of trial seed "
        f"{stored.seed}"
        f"{_unread(view, read)}. A description, not a proof."
    )
    return finish(drawing, "fig-looks", _message(here, shown, stored), caption)


def _asked(view: StudyView) -> list[str]:
    """The arms that claims are about, then those that images are spoiled for."""
    claimed = [side for claim in view.study.claims for side in (claim.a, claim.b)]
    return [*claimed, *(view.study.robustness.arms if view.study.robustness else ())]


def _unread(view: StudyView, read: Sequence[Arm]) -> str:
    """Names the arms that claims or the corrupted images are about and whose networks were not read; kNN is
    none."""
    about = _asked(view)
    left = [
        arm.label
        for arm in view.arms
        if arm.name in about and arm not in read and stored_method(arm.stored.method).is_network
    ]
    return f"; not read yet: {'; '.join(left)}" if left else ""


def _column(
    arm: Arm, gradcam: NetworkGradCam, stored: StudyGradCam, names: Sequence[str]
) -> plots.GradCamColumn:
    return plots.GradCamColumn(
        style=arm.style,
        heatmaps=gradcam.heatmaps,
        predictions=[names[answer] for answer in gradcam.predictions],
        probabilities=gradcam.probabilities.astype(np.float64).max(axis=1).tolist(),
        right=(gradcam.predictions == stored.labels).tolist(),
    )


def _first_ones(view: StudyView, arms: Sequence[Arm]) -> list[Arm]:
    """The arms that fit, in the study's order: first those that it chose, claims something of or spoils
    images for."""
    headline = [view.study.chosen, *_asked(view)]
    ranked = sorted(arms, key=lambda arm: headline.index(arm.name) if arm.name in headline else len(headline))
    return sorted(ranked[:_MOST_ARMS], key=lambda arm: arm.place)


def _message(arms: Sequence[Arm], shown: dict[str, NetworkGradCam], stored: StudyGradCam) -> str:
    answers, count = np.stack([shown[arm.name].predictions for arm in arms]), len(stored.labels)
    if len(arms) == 1:
        return f"{arms[0].label} answers {int((answers[0] == stored.labels).sum())} of {count} pictures right"
    same, both = (
        int((answers == answers[0]).all(axis=0).sum()),
        "Both" if len(arms) == 2 else f"All {len(arms)}",
    )
    return f"{both} networks give the same answer on {same} of {count} pictures"
