"""What a study's folder holds beside its trials: study.json and the test images that a report shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from headstart import store
from headstart.models import describe_models
from headstart.recipes import provenance_of
from headstart.results.trials import gallery_ids
from headstart.studies.trials import cells_of
from headstart.types import Dataset, Study


def describe(study: Study, dataset: Dataset, command: str) -> dict[str, Any]:
    """What study.json holds: all that a report needs to know about the study itself."""
    value: dict[str, Any] = store.as_stored(study)
    value["cells"] = [
        {
            "arm": cell.arm.name,
            "labels_per_class": cell.label_budget.per_class,
            "seeds": cell.seeds,
            "recipe_name": cell.arm.recipe_name,
        }
        for cell in cells_of(study)
    ]
    value["dataset"] = {
        "name": dataset.name,
        "title": dataset.title,
        "source": dataset.source,
        "fingerprint": dataset.fingerprint,
        "class_names": list(dataset.train.class_names),
        "train_images": len(dataset.train),
        "test_images": len(dataset.test),
        "image_pixels": int(dataset.train.images.shape[1]),
    }
    value["command"] = command or f"headstart study {study.name}"
    value["models"] = describe_models((arm.model, arm.weights) for arm in study.arms)
    names = {cell.arm.recipe_name for cell in cells_of(study)} | {arm.recipe_name for arm in study.arms}
    value["recipes"] = {
        name: provenance for name in sorted(names) if (provenance := dict(provenance_of(name)))
    }
    return value


def write_gallery(folder: Path, dataset: Dataset, phase: str) -> None:
    """Keeps the pixels of the test images that a report shows, so that it renders from this folder alone."""
    ids = np.asarray(gallery_ids(store.finished_trials(folder), phase=phase), dtype=np.int64)
    store.write_npz(folder / "gallery.npz", {"ids": ids, "images": np.asarray(dataset.test.images[ids])})
