"""What a study does after its trials: corrupted images, shift sets, Grad-CAM, data health.

Each step is imported where a study asks for it: a study that is finished starts without them."""

from __future__ import annotations

from pathlib import Path

from headstart.errors import DownloadError
from headstart.runtime import progress
from headstart.types import Dataset, Study


def run_after_trials(study: Study, dataset: Dataset, folder: Path, *, corrupts: bool) -> None:
    """Runs every step that the study asks for; each keeps what is there already. corrupts: whether corrupted
    images can be made."""
    if corrupts and study.robustness is not None:
        from headstart.evaluation.robustness import run_robustness

        run_robustness(folder, study.robustness)
    if study.shift_sets:
        from headstart.evaluation.shift import run_shift
    for shift_set in study.shift_sets:
        run_shift(folder, shift_set)
    if study.looks:
        from headstart.evaluation.gradcam import run_gradcam

        run_gradcam(folder, study.seeds[0])
    if study.data_health:
        from headstart.data_quality.dataset import backbone_of, examine_into

        examine_into(folder, dataset, backbone_of(study.arms, study.feature_precision))


def can_corrupt(study: Study) -> bool:
    """Whether corrupted images are wanted and can be made."""
    return study.robustness is not None and has_textures()


def has_textures() -> bool:
    """Whether frost's textures are there or can be fetched; a study does without corrupted images else."""
    from headstart.evaluation.corruptions.weather import frost_textures

    try:
        frost_textures()
    except DownloadError as error:
        progress.say(f"corrupted images are left out: {error}")
        return False
    return True
