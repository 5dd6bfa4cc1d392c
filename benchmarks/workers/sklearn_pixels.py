"""Peer: scikit-learn on raw pixels: the best of its usual classifiers by three folds, then fitted on all."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from PIL import Image
from protocol import Run, serve
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC


def prepare(config: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    def run() -> dict[str, Any]:
        start, used = time.perf_counter(), time.process_time()
        deadline = start + 60 * config["minutes"]
        homes = sorted(path for path in Path(config["folder"]).iterdir() if path.is_dir())
        files = [(path, label) for label, home in enumerate(homes) for path in sorted(home.iterdir())]
        pixels = np.stack([np.asarray(Image.open(path).convert("RGB")).ravel() for path, _ in files]) / 255.0
        labels = np.array([label for _, label in files])
        candidates = {
            "SVC": make_pipeline(StandardScaler(), SVC(C=10)),
            "random forest": RandomForestClassifier(300, random_state=config["seed"]),
            "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300)),
        }
        scores: dict[str, float] = {}
        for name, each in candidates.items():
            if not scores or time.perf_counter() - start < 0.3 * (deadline - start):
                scores[name] = float(cross_val_score(each, pixels, labels, cv=3).mean())
        chosen = max(scores, key=lambda name: scores[name])
        model = candidates[chosen].fit(pixels, labels)
        seconds, processor = time.perf_counter() - start, time.process_time() - used
        test, truth = np.load(config["images_file"]), np.load(config["labels_file"])
        accuracy = float((model.predict(test.reshape(len(test), -1) / 255.0) == truth).mean())
        return {"seconds": seconds, "processor_seconds": processor, "accuracy": accuracy, "chosen": chosen}

    return run, {"scikit-learn": sklearn.__version__}


if __name__ == "__main__":
    serve(prepare)
