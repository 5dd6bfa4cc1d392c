"""What others have published on the same data, beside the study's own: typed by hand, with sources."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.report.load import Arm, StudyView


@dataclass(frozen=True, kw_only=True)
class PublishedFigure:
    """A published test accuracy (0..1). method, pretrained, model: which of a study's arms stands beside it.

    differs: what differs from this project's arms beside the numbers."""

    title: str
    accuracy: float
    source: str
    differs: str
    method: str
    pretrained: bool
    model: str


# Chen, Kornblith, Norouzi and Hinton (SimCLR), and Grill et al. (BYOL), in their tables of
# transfer results.
_TABLES = "Chen et al. 2020; Grill et al. 2020, table 3"
# As of 2026-11-28.
PUBLISHED = (
    PublishedFigure(
        title="New head on frozen features",
        accuracy=0.936,
        source=_TABLES,
        differs="224 px; other ImageNet weights (76.3 % on ImageNet); all 50,000 images",
        method="linear_probe",
        pretrained=True,
        model="resnet50",
    ),
    PublishedFigure(
        title="Fine-tuned ResNet-50",
        accuracy=0.975,
        source=_TABLES,
        differs="224 px; 20,000 steps; recipe searched over learning rates and weight decays; all 50,000 "
        "images",
        method="finetune",
        pretrained=True,
        model="resnet50",
    ),
    PublishedFigure(
        title="ResNet-50 from random weights",
        accuracy=0.959,
        source=_TABLES,
        differs="224 px; recipe searched in the same way; all 50,000 images",
        method="scratch",
        pretrained=False,
        model="resnet50",
    ),
    PublishedFigure(
        title="Small CNN from scratch",
        accuracy=0.9401,
        source="Jordan 2024, cifar10-airbench94",
        differs="mean of six views of each test image; all 50,000 images",
        method="scratch",
        pretrained=False,
        model="cnn",
    ),
)


def beside(view: StudyView) -> list[tuple[PublishedFigure, Arm]]:
    """Each published figure with the most accurate arm of its kind; none where the data is not CIFAR-10."""
    if view.study.dataset.name != "cifar10":
        return []
    pairs = []
    for figure in PUBLISHED:
        alike = [
            arm
            for arm in view.arms
            if (arm.stored.method, arm.stored.is_pretrained, arm.stored.model)
            == (figure.method, figure.pretrained, figure.model)
        ]
        if alike:
            pairs.append((figure, max(alike, key=lambda arm: arm.mean("test_accuracy") or 0.0)))
    return pairs
