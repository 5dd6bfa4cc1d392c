"""A study file becomes a Study; what is wrong is refused before an image or a weight is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart import store
from headstart.data import dataset_spec, is_dataset
from headstart.data.folders.tables import TABLE_SUFFIXES
from headstart.errors import ConfigError, WeightsError, unknown_name
from headstart.methods.arms import check_arm
from headstart.models import model_spec
from headstart.models.weight_names import is_url, url_digits
from headstart.recipes import all_recipes, recipe_named, with_changes
from headstart.registry.methods import MethodSpec, method_spec
from headstart.results.pairing import metric_spec
from headstart.runtime.precision import FEATURE_PRECISIONS, PRECISIONS
from headstart.store.names import NAME_RULE, TEXT_RULE, is_text
from headstart.studies.schema import (
    ArmTable,
    AtTable,
    Budget,
    ClaimTable,
    RobustnessTable,
    SearchTable,
    ShiftSetTable,
    StudyFile,
)
from headstart.types import Arm, Cell, Claim, LabelBudget, Proxy, Robustness, Search, ShiftSet, Study

_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def checked_study(file: StudyFile, where: str) -> Study:
    """The study that a file describes. where: how messages begin, the file's path.

    Raises: ConfigError naming the table, the value and what is expected."""
    return _Checker(file, where).study()


@dataclass(frozen=True)
class _Checker:
    """A study file and how messages about it begin."""

    file: StudyFile
    where: str

    def study(self) -> Study:
        """Every part checked and put together."""
        file = self.file
        self._require_sound_head()
        arms = tuple(self._arm(arm, self.where) for arm in file.arms)
        self._require_different("arms", [arm.name.casefold() for arm in arms])
        if file.chosen:
            self._require_arms([file.chosen], "chosen")
        return Study(
            name=file.name,
            title=file.title or file.name,
            question=file.question,
            dataset=file.dataset,
            arms=arms,
            label_budgets=tuple(map(LabelBudget.of, file.labels_per_class)),
            seeds=tuple(file.seeds),
            phase=file.phase,
            precision=file.precision,
            feature_precision=file.feature_precision,
            data_health=file.data_health,
            looks=file.looks,
            notes=tuple(file.notes),
            claims=tuple(map(self._claim, file.claims)),
            cells=tuple(self._cells(arms)),
            shift_sets=self._shift_sets(file.shift_sets),
            robustness=None if file.robustness is None else self._robustness(file.robustness),
            searches=tuple(map(self._search, file.tuning)),
            tuned=file.tuned,
            chosen=file.chosen,
        )

    def _require_sound_head(self) -> None:
        """Raises: ConfigError for a name, dataset, seeds, label budgets or precisions that cannot be."""
        file, where = self.file, self.where
        for key, text in self._texts():
            if not is_text(text):
                raise ConfigError(f"{where}: {key} {text!r} must be {TEXT_RULE}")
        if not _FOLDER_NAME.fullmatch(file.name):
            raise ConfigError(
                f"{where}: study name {file.name!r} must be letters, digits, dots and dashes: it names a "
                "folder"
            )
        path = Path(file.dataset).expanduser()
        is_file = path.is_file() and path.suffix.lower() in (*TABLE_SUFFIXES, ".toml")
        if not is_dataset(file.dataset) and not path.is_dir() and not is_file:
            dataset_spec(file.dataset)  # raises, with the names to choose from
        if not file.arms:
            raise ConfigError(f"{where}: a study needs at least one [[arms]] table")
        for seeds in (file.seeds, *(entry.seeds for entry in file.seeds_at)):
            if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
                raise ConfigError(
                    f"{where}: seeds must be different whole numbers from 0 up, at least one; got {seeds}"
                )
        own_budgets = [arm.labels_per_class for arm in file.arms if arm.labels_per_class is not None]
        for budgets in (file.labels_per_class, *own_budgets):
            too_small = any(isinstance(budget, int) and budget < 1 for budget in budgets)
            if too_small or not budgets or len(set(budgets)) != len(budgets):
                raise ConfigError(
                    f'{where}: labels_per_class must be different numbers from 1 up or "all"; got {budgets}'
                )
        for name, value, choices in (
            ("precision", file.precision, PRECISIONS),
            ("feature_precision", file.feature_precision, FEATURE_PRECISIONS),
        ):
            if value not in choices:
                raise unknown_name(name, value, choices)

    def _texts(self) -> Iterator[tuple[str, str]]:
        """All that people read, by key."""
        file = self.file
        yield from (("title", file.title), ("question", file.question), ("dataset", file.dataset))
        yield from (("notes", note) for note in file.notes)
        yield from (("label", arm.label or "") for arm in file.arms)
        yield from (("sentence", claim.sentence) for claim in file.claims)

    def _require_different(self, kind: str, names: Sequence[str]) -> None:
        if len(set(names)) != len(names):
            raise ConfigError(f"{self.where}: two {kind} have the same name; names are {names}")

    def _require_arms(self, names: Iterable[str], part: str) -> None:
        arms = [arm.name for arm in self.file.arms]
        for name in names:
            if name not in arms:
                raise ConfigError(f"{self.where}: {part}: {unknown_name('arm', name, arms)}")

    def _require_budgets(
        self, budgets: Iterable[Budget], choices: Sequence[Budget] | None = None, part: str = ""
    ) -> None:
        choices = self.file.labels_per_class if choices is None else choices
        for budget in budgets:
            if budget not in choices:
                raise ConfigError(
                    f"{self.where}: {part}: {budget!r} is not among the label budgets {list(choices)}; "
                    "add it there, or leave it out"
                )

    def _cells(self, arms: Sequence[Arm]) -> Iterator[Cell]:
        """Every arm at each of its label budgets, with that budget's recipe and seeds."""
        own_seeds = {entry.labels_per_class: tuple(entry.seeds) for entry in self.file.seeds_at}
        self._require_budgets(own_seeds, part="[[seeds_at]]")
        for arm, table in zip(arms, self.file.arms, strict=True):
            budgets = table.labels_per_class or self.file.labels_per_class
            self._require_budgets(budgets, part=f"arm {arm.name!r}")
            self._require_budgets(
                [entry.labels_per_class for entry in table.at], budgets, f"arm {arm.name!r}, [[arms.at]]"
            )
            if not isinstance(table.tuned, bool):
                self._require_budgets(table.tuned, budgets, f"arm {arm.name!r}, tuned")
            changed = {entry.labels_per_class: entry for entry in table.at}
            for budget in budgets:
                here, where = arm, f"{self.where}: {budget} labels a class"
                if budget in changed:
                    here = self._arm(_changed(table, changed[budget]), where)
                if tuned := self._tuned_recipe(table, budget):
                    here = self._arm(table.model_copy(update={"recipe": tuned, "recipe_changes": {}}), where)
                yield Cell(
                    arm=here,
                    label_budget=LabelBudget.of(budget),
                    seeds=own_seeds.get(budget, tuple(self.file.seeds)),
                )

    def _tuned_recipe(self, table: ArmTable, budget: Budget) -> str:
        """The name of the recipe that was tuned for an arm at a label budget; empty where it takes none."""
        name = f"{self.file.name}-{table.tuned_as or table.name}-{budget}"
        wants = table.tuned if isinstance(table.tuned, bool) else budget in table.tuned
        return name if self.file.tuned and wants and name in all_recipes() else ""

    def _arm(self, table: ArmTable, where: str) -> Arm:
        begins = f"{where}: arm {table.name!r}"
        if not store.is_name(table.name):
            raise ConfigError(f"{begins}: a name must be {NAME_RULE}; give any text as the arm's label")
        method = method_spec(table.method)
        weights = _weights(table, method, begins)
        if table.input_pixels is not None and not 16 <= table.input_pixels <= 1024:
            raise ConfigError(
                f"{begins}: input_pixels must lie between 16 and 1024, got {table.input_pixels}"
            )
        recipe = recipe_named(table.recipe or method.default_recipe)
        if not method.takes(recipe):
            raise ConfigError(f"{begins}: recipe {table.recipe!r} is not one of method {table.method!r}")
        arm = Arm(
            name=table.name,
            label=table.label or table.name,
            dataset=self.file.dataset,
            model=table.model,
            weights=weights,
            method=table.method,
            recipe=with_changes(recipe, table.recipe_changes, begins),
            recipe_name=table.recipe or method.default_recipe,
            input_pixels=table.input_pixels,
        )
        check_arm(arm, where)
        return arm

    def _claim(self, table: ClaimTable) -> Claim:
        self._require_arms((table.a, table.b), f"claim {table.sentence!r}")
        metric_spec(table.metric)  # raises for an unknown one
        return store.claim_from_stored(table.model_dump())

    def _search(self, table: SearchTable) -> Search:
        self._require_arms(table.arms, "[[tuning]]")
        self._require_budgets([table.labels_per_class], part="[[tuning]]")
        return Search(
            arms=tuple(table.arms),
            label_budget=LabelBudget.of(table.labels_per_class),
            tries=table.tries,
            proxy=Proxy(
                duration=table.duration,
                images=table.images,
                validation_images=table.validation_images,
                folds=table.folds,
            ),
        )

    def _robustness(self, table: RobustnessTable) -> Robustness:
        self._require_arms(table.arms, "[robustness]")
        if table.images < 1:
            raise ConfigError(f"{self.where}: [robustness] images must be at least 1, got {table.images}")
        if table.seed not in self.file.seeds:
            raise ConfigError(
                f"{self.where}: [robustness] seed {table.seed} is none of the study's seeds {self.file.seeds}"
            )
        return Robustness(arms=tuple(dict.fromkeys(table.arms)), images=table.images, seed=table.seed)

    def _shift_sets(self, tables: Sequence[ShiftSetTable]) -> tuple[ShiftSet, ...]:
        self._require_different("shift sets", [table.name for table in tables])
        for table in tables:
            if not _FOLDER_NAME.fullmatch(table.name):
                raise ConfigError(
                    f"{self.where}: shift set name {table.name!r} must be letters, digits, dots and dashes: "
                    "it names a folder"
                )
            if not Path(table.path).expanduser().is_dir():
                raise ConfigError(
                    f"{self.where}: shift set {table.name!r}: {table.path} is not a folder; give one with "
                    "labelled images"
                )
        return tuple(ShiftSet(name=table.name, path=table.path) for table in tables)


def _changed(table: ArmTable, entry: AtTable) -> ArmTable:
    """The arm's table with the recipe that it has at one label budget."""
    changes = entry.recipe_changes if entry.recipe else table.recipe_changes | entry.recipe_changes
    return table.model_copy(update={"recipe": entry.recipe or table.recipe, "recipe_changes": changes})


def _weights(table: ArmTable, method: MethodSpec, begins: str) -> str:
    """The arm's weights: a name, a file, a URL, or "none".

    Raises: ConfigError where they are left out but needed, or name nothing."""
    choices = model_spec(table.model).weights
    if table.weights is None and method.needs_weights:
        control = '; weights = "none" is the control on random ones' if method.random_control else ""
        raise ConfigError(
            f"{begins}: method {table.method!r} needs pretrained weights; set weights, e.g. weights = "
            f'"imagenet-keras" with model = "resnet50"{control}'
        )
    weights = table.weights or "none"
    if is_url(weights):
        try:
            url_digits(weights)
        except WeightsError as error:
            raise ConfigError(f"{begins}: weights: {error}") from error
    elif weights != "none" and weights not in choices and not Path(weights).is_file():
        raise unknown_name(
            f"weights for model {table.model!r}", weights, (*choices, "a FILE or URL of weights")
        )
    return weights
