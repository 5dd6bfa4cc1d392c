"""`headstart advise`: which way is best for somebody's images, found out within a number of minutes.

Cheap tries first: neighbours and a new head on frozen features, then a short training of the CNN from
scratch. The way that is worse by more than chance is dropped; what remains gets the rest of the time.
Validation images alone choose; the expected accuracy is read on held-out test images that had no say. What
was planned lies in plan.json: the same command goes on from there.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from headstart import store
from headstart.advise import advice
from headstart.advise.advice import Advice, Try
from headstart.data import folders, load_dataset
from headstart.data.splits import label_subset, validation_count, validation_split
from headstart.data_quality.folder import check_images
from headstart.data_quality.inspection import Inspection
from headstart.errors import ConfigError, DownloadError, StoreError
from headstart.methods import method_spec
from headstart.models import features, load_model
from headstart.predict.predictor import load_predictor
from headstart.recipes import recipe_named
from headstart.results.label_curves import Estimate, fit_curve, gain_from_doubling
from headstart.results.metrics import accuracy
from headstart.results.stats import wilson_interval
from headstart.runtime import progress
from headstart.runtime.precision import default_device
from headstart.store import FinishedTrial
from headstart.studies.plan import plan_study
from headstart.studies.run import run_study
from headstart.studies.trial import run_trial
from headstart.studies.trials import trials_of
from headstart.training.logistic import fit_path, predict_logits
from headstart.types import ALL_LABELS, Arm, Dataset, Study

BACKBONE = "resnet50"
_SIDES = (224, 160, 128, 96, 64, 32)  # pixels that images may be stored at
_STORED_BYTES = 10**9  # of all images together
_HEAD_PIXELS = 96  # of the first answer; 64 where that would take too long
_FIRST_ANSWER_SECONDS = 75.0  # for its features: beside the check, an answer stands within two minutes
_SHORT_SHARE, _REFINE_SHARE, _LOOK_SHARE = (
    0.2,
    0.5,
    0.15,
)  # of the time left: short CNN, larger features, label errors
_TRAIN_SHARE = 0.8  # of its time that a network trains; the rest goes into reading it
_LEAST_SECONDS = 5.0  # less is no training
_CURVE_SEEDS = 3
_REST_SECONDS = 10.0  # kept for the learning curve and the report


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rung:
    """One try of the ladder. pixels: side of the network's input; duration: of its training, empty where it
    has none."""

    name: str
    label: str
    method: str
    pixels: int
    duration: str = ""
    batch_size: int = 0
    balance: bool = False

    def arm(self, dataset: str) -> Arm:
        """The try as an arm of a study."""
        spec = method_spec(self.method)
        recipe, scratch = recipe_named(spec.default_recipe), not spec.needs_weights
        changes: dict[str, Any] = {"duration": self.duration} if self.duration else {}
        if self.balance and hasattr(recipe, "balance"):
            changes["balance"] = True
        if self.batch_size:
            changes["batch_size"] = self.batch_size
        return Arm(
            name=self.name,
            label=self.label,
            dataset=dataset,
            model="cnn" if scratch else BACKBONE,
            weights="none" if scratch else "imagenet-keras",
            method=self.method,
            recipe_name=spec.default_recipe,
            recipe=recipe.replace(**changes),
            input_pixels=self.pixels,
        )


def advise(
    path: str | Path,
    *,
    minutes: float = 10.0,
    out: Path | None = None,
    group_column: str | None = None,
    group_regex: str | None = None,
    bad_files: folders.BadFiles = "few",
    balance: bool = False,
) -> Advice:
    """The recommendation, written with everything it rests on into `out` (default: advice/<the folder's
    name>).

    There: advice.md, advice.json, the study's report.html, check/check.html, model/ (for predict, explain,
    export).
    minutes: for the tries; the check and the report come on top where they take longer than the ladder
    leaves.
    balance: each class weighs alike in training, and balanced accuracy chooses.
    Raises: ConfigError for minutes that are not positive; what check_images, load_images and run_trial raise.
    An interruption before the first try has ended is passed on; later the answer is what is known by then,
    marked `interrupted`."""
    if not 0 < minutes < 10_000:
        raise ConfigError(f"--minutes must be above 0, got {minutes:g}")
    folder = Path("advice") / Path(path).expanduser().resolve().stem if out is None else out
    with store.lock(folder / "advise.lock", f"the folder {folder}"):
        return _Ladder(
            Path(path).expanduser(), folder, minutes, group_column, group_regex, bad_files, balance
        ).run()


class _Ladder:
    def __init__(
        self,
        path: Path,
        folder: Path,
        minutes: float,
        group_column: str | None,
        group_regex: str | None,
        bad_files: folders.BadFiles,
        balance: bool,
    ) -> None:
        self.begun = time.monotonic()
        self.path, self.folder, self.minutes = path, folder, minutes
        self.groups: dict[str, Any] = {"group_column": group_column, "group_regex": group_regex}
        self.bad_files, self.balance = bad_files, balance
        self.rungs: list[Rung] = []
        self.results: dict[str, FinishedTrial] = {}  # by a rung's name
        self.dropped: list[str] = []
        self.fixes: tuple[str, ...] = ()
        self.before = 0.0  # seconds that earlier runs of the same command spent
        self.interrupted = False

    # --- time ---

    def spent(self) -> float:
        return self.before + time.monotonic() - self.begun

    def left(self) -> float:
        return 60 * self.minutes - self.spent()

    def planned(self, rung: Rung) -> float:
        """Seconds that a rung would take here, from a few measured steps and batches."""
        return plan_study(self.study([rung]), self.folder).seconds_left

    # --- the whole way ---

    def run(self) -> Advice:
        found = self.look()
        try:
            self.climb()
        except KeyboardInterrupt:
            self.note_time()
            if not self.results:
                raise
            self.interrupted = True
            progress.say("interrupted: answering with what is known")
        self.note_time()
        return self.answer(found)

    def look(self) -> Inspection:
        """Checks the data and makes the dataset, at a size that fits its pictures."""
        check = check_images(self.path, out=self.folder / "check", label_errors=False, **self.groups)
        folders.require_mostly_good(check.decoded, self.bad_files)
        sides = [min(f.width, f.height) for f in check.decoded.facts if f.reason is None]
        room = _STORED_BYTES / (3 * max(len(sides), 1))
        side = next((s for s in _SIDES if s <= np.median(sides) and s * s <= room), _SIDES[-1])
        given = {
            "path": str(self.path.resolve()),
            "image_pixels": side,
            "bad_files": self.bad_files,
        } | self.groups
        description = self.folder / "images.toml"
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in given.items() if value is not None]
        store.write_bytes(description, "".join(lines).encode())
        self.name = str(description.resolve())
        self.dataset: Dataset = load_dataset(self.name)
        self.side = side
        plan = store.read_json(self.folder / "plan.json") if (self.folder / "plan.json").exists() else {}
        if plan.get("fingerprint") == self.dataset.fingerprint and plan["balance"] == self.balance:
            self.before = plan["spent_seconds"]
            self.known = {entry["name"]: Rung(**entry) for entry in plan["rungs"]}
        else:
            self.known = {}
        self.fixes = advice.fixes_of(check.inspection)
        return check.inspection

    def climb(self) -> None:
        """All tries, in their order."""
        train, _ = self.training_ids()
        head = self.head_pixels()
        try:
            load_model(BACKBONE, "imagenet-keras")
        except (DownloadError, StoreError) as error:
            self.dropped.append(f"anything pretrained: {error}")
        else:
            self.attempt(
                Rung(name="knn", label="nearest neighbours on a frozen ResNet-50", method="knn", pixels=head)
            )
            self.attempt(
                Rung(
                    name="probe", label="a new head on a frozen ResNet-50", method="linear_probe", pixels=head
                )
            )
            best = self.results["probe"].metrics["val_accuracy"] or 0.0
            progress.say(
                f"first answer after {progress.clock(self.spent())}: a new head on a pretrained ResNet-50, "
                "about "
                f"{100 * best:.0f} % right; {progress.clock(max(self.left(), 0))} left to do better"
            )
        cnn = Rung(
            name="cnn-short",
            label="a CNN trained from scratch, shortly",
            method="scratch",
            duration="1 steps",
            pixels=32 if self.side <= 48 else 64,
            batch_size=min(500, max(16, len(train) // 10)),
        )
        self.attempt(self.timed(cnn, _SHORT_SHARE * self.left(), "60 epochs"))
        scratch, pretrained = self.promising()
        if pretrained:
            larger = Rung(
                name="probe-large",
                label="a new head on a frozen ResNet-50, larger pictures",
                method="linear_probe",
                pixels=max(128, min(self.side, 224)),
            )
            self.attempt(larger, _REFINE_SHARE * self.left())
            self.look_for_label_errors()
        if scratch:
            longer = dataclasses.replace(cnn, name="cnn", label="a CNN trained from scratch")
            self.attempt(
                self.timed(longer, (self.left() - _REST_SECONDS) * (0.5 if pretrained else 1.0), "200 epochs")
            )
        if pretrained:
            probes = [rung for rung in self.rungs if rung.method == "linear_probe"]
            for probe in sorted(probes, key=lambda r: -(self.results[r.name].metrics["val_accuracy"] or 0)):
                tuned = Rung(
                    name="partial",
                    label="a ResNet-50 whose last stage goes on learning",
                    method="partial",
                    pixels=probe.pixels,
                    duration="1 steps",
                )
                if self.attempt(self.timed(tuned, self.left() - _REST_SECONDS, "10 epochs")):
                    break

    def attempt(self, rung: Rung | None, most: float | None = None) -> bool:
        """Runs a rung, the way an earlier run had planned it; not where it would take more than `most`
        seconds."""
        if rung is None:
            return False
        rung = self.known.get(rung.name, dataclasses.replace(rung, balance=self.balance))
        if most is not None and rung.name not in self.known and (needed := self.planned(rung)) > most:
            self.drop(rung, needed)
            return False
        progress.say(f"now: {rung.label} at {rung.pixels} px, {progress.clock(max(self.left(), 0))} left")
        self.known[rung.name] = (
            rung  # an interruption must not plan it anew: another duration would be another trial
        )
        self.rungs.append(rung)
        self.note_time()
        try:
            self.results[rung.name] = run_trial(trials_of(self.study([rung]))[0], self.title(), self.folder)
        finally:
            if rung.name not in self.results:
                self.rungs.remove(rung)
        right = self.results[rung.name].metrics["val_accuracy"] or 0.0
        progress.say(f"{rung.label}: {100 * right:.1f} % right on the photos kept for choosing")
        return True

    def timed(self, rung: Rung, seconds: float, whole: str) -> Rung | None:
        """The rung trained for `whole`, or for as long as fits into so many seconds; None, and said, where
        nothing fits."""
        if rung.name in self.known:
            return self.known[rung.name]
        if seconds < _LEAST_SECONDS:
            self.drop(rung, None)
            return None
        fixed = self.planned(rung)  # frozen layers and reading; one step
        if fixed > seconds / 2:
            self.drop(rung, fixed)
            return None
        complete = dataclasses.replace(rung, duration=whole)
        if self.planned(complete) <= _TRAIN_SHARE * seconds:
            return complete
        return dataclasses.replace(rung, duration=f"{_TRAIN_SHARE * seconds:.0f} seconds")

    def drop(self, rung: Rung, needed: float | None) -> None:
        why = (
            "no time was left"
            if needed is None
            else f"it needs about {progress.clock(needed)}, more than there was"
        )
        self.dropped.append(f"{rung.label} at {rung.pixels} px: {why}")
        progress.say(f"passed over: {self.dropped[-1]}")

    def promising(self) -> tuple[bool, bool]:
        """(from scratch, pretrained): which way goes on. The other is dropped only where chance does not
        explain its lag."""
        tries = self.tries()
        best = {
            family: max((t for t in tries if t.family == family), key=lambda t: t.val_accuracy, default=None)
            for family in advice.FAMILIES
        }
        scratch, pretrained = best["scratch"], best["pretrained"]
        if scratch is None or pretrained is None:
            return pretrained is None, pretrained is not None
        if advice.compare(scratch, pretrained, self.folder) >= advice.SURE:
            return True, True
        worse = scratch if scratch.val_accuracy < pretrained.val_accuracy else pretrained
        self.dropped.append(
            f"{advice.FAMILIES[worse.family]}, any further: at {100 * worse.val_accuracy:.1f} % on the "
            "photos "
            "kept for choosing it is behind by more than chance explains"
        )
        progress.say(f"dropped: {self.dropped[-1]}")
        return worse is pretrained, worse is scratch

    def look_for_label_errors(self) -> None:
        """The check again, with label errors, where a little of the time left is enough."""
        count = len(self.dataset.train) + len(self.dataset.test)
        if count * self.seconds_per_image(_HEAD_PIXELS) <= _LOOK_SHARE * self.left():
            self.fixes = advice.fixes_of(
                check_images(self.path, out=self.folder / "check", **self.groups).inspection
            )
        else:
            self.dropped.append(
                f"a search for wrong labels, for lack of time: headstart data check {self.path}"
            )

    # --- what the steps need ---

    def training_ids(self) -> tuple[np.ndarray, np.ndarray]:
        train = self.dataset.train
        return validation_split(train.labels, train.fingerprint, validation_count(len(train)), train.groups)

    def seconds_per_image(self, pixels: int) -> float:
        model = load_model(BACKBONE, "imagenet-keras", image_pixels=pixels)
        trial = trials_of(self.study([Rung(name="probe", label="", method="linear_probe", pixels=pixels)]))[0]
        return features.seconds_per_image(
            model,
            self.dataset.train,
            weights_hash="planned",
            precision=trial.feature_precision,
            device=default_device(),
            batches=1,
        )

    def head_pixels(self) -> int:
        if "probe" in self.known:
            return self.known["probe"].pixels
        images = len(self.dataset.train) + 2 * len(self.dataset.test)
        most = min(_FIRST_ANSWER_SECONDS, 0.4 * 60 * self.minutes)
        return _HEAD_PIXELS if images * self.seconds_per_image(_HEAD_PIXELS) <= most else 64

    def title(self) -> str:
        return f"advice-{self.dataset.name}"

    def study(self, rungs: list[Rung]) -> Study:
        return Study(
            name=self.title(),
            title=f"Advice on {self.dataset.name}",
            dataset=self.name,
            seeds=(0,),
            question="For these images: train a network from scratch, or start from a pretrained one?",
            arms=tuple(rung.arm(self.name) for rung in rungs),
            label_budgets=(ALL_LABELS,),
        )

    def note_time(self) -> None:
        store.write_json(
            self.folder / "plan.json",
            {
                "fingerprint": self.dataset.fingerprint,
                "balance": self.balance,
                "spent_seconds": round(self.spent(), 1),
                "rungs": [dataclasses.asdict(rung) for rung in self.known.values()],
            },
        )

    def tries(self) -> list[Try]:
        return [advice.read_try(self.results[rung.name], rung.pixels) for rung in self.rungs]

    # --- the answer ---

    def answer(self, found: Inspection) -> Advice:
        from headstart.report import write_report

        tries = self.tries()
        chosen = advice.choose(tries, {result.key: result for result in self.results.values()}, self.balance)
        rivals = [each for each in tries if each.family != chosen.family]
        rival = max(rivals, key=lambda each: each.val_accuracy, default=None)
        study = dataclasses.replace(self.study(self.rungs), chosen=chosen.name)
        run_study(study, self.folder, command=f"headstart advise {self.path} --minutes {self.minutes:g}")
        write_report(self.folder)
        predictor = load_predictor(self.folder / chosen.key)
        model = predictor.save(self.folder / "model")
        photos = np.array(self.dataset.test.images[: predictor.batch_size])
        predictor.probabilities(photos[:1])
        start = time.perf_counter()
        predictor.probabilities(photos)
        per_photo = (time.perf_counter() - start) / len(photos)
        measured, count = self.results[chosen.name].metrics, len(self.dataset.test)
        train_ids, val_ids = self.training_ids()
        smallest = int(np.bincount(self.dataset.train.labels[train_ids]).min())
        right = round((measured["test_accuracy"] or 0.0) * count)
        value = Advice(
            chosen=chosen,
            tries=tuple(tries),
            dropped=tuple(self.dropped),
            accuracy=right / count,
            interval=wilson_interval(right, count),
            balanced_accuracy=measured["test_balanced_accuracy"] or 0.0,
            macro_f1=measured["test_macro_f1"] or 0.0,
            imbalance=advice.imbalance_of(self.dataset.train.labels),
            classes=advice.class_accuracies(self.folder / chosen.key, self.dataset.train.class_names),
            test_images=count,
            val_images=len(val_ids),
            train_images=len(train_ids),
            labels_per_class=smallest,
            doubling=self.doubling(smallest),
            p_value=None if rival is None else advice.compare(chosen, rival, self.folder),
            rivals_gap=None if rival is None else chosen.val_accuracy - rival.val_accuracy,
            seconds_per_photo=per_photo,
            spent_seconds=self.spent(),
            minutes=self.minutes,
            fixes=self.fixes,
            model=str(model),
            interrupted=self.interrupted,
            balanced=self.balance,
        )
        store.write_json(self.folder / "advice.json", value.json())
        store.write_bytes(self.folder / "advice.md", value.markdown().encode())
        return value

    def doubling(self, smallest: int) -> Estimate | None:
        """Accuracy gained by twice the labels, from heads on a half, a quarter, ... of the training part,
        read on validation."""
        probes = [rung for rung in self.rungs if rung.method == "linear_probe"]
        if not probes or smallest < 16:
            return None
        probe = max(probes, key=lambda rung: self.results[rung.name].metrics["val_accuracy"] or 0.0)
        trial = trials_of(self.study([probe]))[0]
        l2 = float(self.results[probe.name].selected["l2"])
        train = self.dataset.train
        extracted = features.extract(
            load_model(BACKBONE, "imagenet-keras", image_pixels=probe.pixels),
            train,
            device=default_device(),
            weights_hash=self.results[probe.name].weights_hash,
            precision=trial.feature_precision,
            calibration=train,
        )
        train_ids, val_ids = self.training_ids()
        points: dict[float, dict[int, float]] = {}
        with progress.track("what more labels would bring", 5 * _CURVE_SEEDS, "heads") as bar:
            for budget in sorted({smallest >> halvings for halvings in range(5)}):
                for seed in range(_CURVE_SEEDS):
                    ids = label_subset(train.labels, train_ids, train.fingerprint, seed, budget)
                    (fit,) = fit_path(
                        extracted.features.values,
                        train.labels,
                        l2_values=[l2],
                        ids=ids,
                        tolerance=1e-3,
                        num_classes=len(train.class_names),
                        device=str(default_device()),
                    )
                    logits = predict_logits(extracted.features.values, fit.weight, fit.bias, ids=val_ids)
                    points.setdefault(float(budget), {})[seed] = accuracy(logits, train.labels[val_ids])
                    bar.advance()
        curve = fit_curve(points, np.random.default_rng(0))
        return None if curve is None else gain_from_doubling(curve)
