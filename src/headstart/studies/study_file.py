"""Study files: TOML in, a checked Study out; the built-in ones lie beside this file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from headstart.data import dataset_spec, is_dataset
from headstart.data.folders.tables import TABLE_SUFFIXES
from headstart.errors import ConfigError, WeightsError, unknown_name
from headstart.methods import method_spec
from headstart.methods.arms import check_arm
from headstart.models import model_spec
from headstart.models.weights import is_url, url_digits
from headstart.recipes import all_recipes, recipe_named, with_changes
from headstart.results.headline import metric_spec
from headstart.runtime.precision import FEATURE_PRECISIONS, PRECISIONS
from headstart.types import Arm, Cell, Claim, LabelBudget, Phase, Proxy, Robustness, Search, ShiftSet, Study

_FOLDER = Path(__file__).parent


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


_Budget = int | Literal["all"]


class _AtFile(_Strict):
    """What an arm does otherwise at one label budget."""

    labels_per_class: _Budget
    recipe: str | None = None
    recipe_changes: dict[str, Any] = {}


class _ArmFile(_Strict):
    name: str
    label: str | None = None
    model: str
    weights: str | None = None  # left out: "none", where the method begins at random weights
    method: str
    recipe: str | None = None
    recipe_changes: dict[str, Any] = {}
    input_pixels: int | None = None
    labels_per_class: list[_Budget] | None = None  # left out: the study's
    at: list[_AtFile] = []
    tuned: bool | list[_Budget] = (
        True  # in a study whose recipes are: at these label budgets; true: at all, false: at none
    )
    tuned_as: str | None = None  # an arm whose tuned recipes it takes; left out: its own


class _SeedsFile(_Strict):
    """Other seeds than the study's at one label budget."""

    labels_per_class: _Budget
    seeds: list[int]


class _ClaimFile(_Strict):
    sentence: str
    a: str
    b: str
    metric: str
    direction: Literal["higher", "lower"] = "higher"
    margin: float = 0.0
    labels_per_class: _Budget = "all"
    gap_at: _Budget | None = None


class _RobustnessFile(_Strict):
    arms: list[str] = []
    images: int = 1000
    seed: int = 0


class _ShiftSetFile(_Strict):
    name: str
    path: str


class _SearchFile(_Strict):
    """A search for these arms' recipes: so many tries for each."""

    arms: list[str]
    labels_per_class: _Budget = "all"
    tries: int
    duration: str | None = None
    images: int | None = None
    validation_images: int | None = None
    folds: int | None = None


class _StudyFile(_Strict):
    name: str
    title: str = ""
    question: str = ""
    dataset: str
    seeds: list[int] = [0]
    seeds_at: list[_SeedsFile] = []
    labels_per_class: list[_Budget] = ["all"]
    phase: Phase = "select"
    precision: str = "auto"
    feature_precision: str = "auto"
    data_health: bool = False
    looks: bool = False
    notes: list[str] = []
    arms: list[_ArmFile]
    claims: list[_ClaimFile] = []
    robustness: _RobustnessFile | None = None
    shift_sets: list[_ShiftSetFile] = []
    tuning: list[_SearchFile] = []
    tuned: bool = False


def built_in_studies() -> dict[str, Path]:
    """Name -> file of every built-in study."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.toml"))}


def load_study(
    name_or_path: str, changes: dict[str, str] | None = None, seeds: int | None = None
) -> tuple[Study, str]:
    """A study and the text of its file.

    changes: dotted keys to values as typed on a command line, e.g. {"arms.cnn.recipe.duration": "1 epochs"}.
    seeds: use seeds 0 .. seeds - 1 instead of the file's.
    Raises: ConfigError naming file, line, key and what was expected."""
    path = _find(name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}; mend that line") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read study file {path}: {error}") from error
    for key, typed in (changes or {}).items():
        _set(value, key, typed)
    if seeds is not None:
        value["seeds"] = list(range(seeds))
        value.pop("seeds_at", None)
        if seeds < 1:
            raise ConfigError(f"--seeds must be at least 1, got {seeds}")
    try:
        parsed = _StudyFile.model_validate(value)
    except ValidationError as error:
        raise ConfigError(_explain(error, path, text)) from error
    return _study(parsed, str(path)), text


def _find(name_or_path: str) -> Path:
    built_in = built_in_studies()
    if name_or_path in built_in:
        return built_in[name_or_path]
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.exists():
        if not path.is_file():
            raise ConfigError(
                f"study file {path} is not there; give a .toml file or one of: {', '.join(built_in)}"
            )
        return path
    raise unknown_name("study", name_or_path, built_in)


def _set(value: dict[str, Any], key: str, typed: str) -> None:
    """Puts one --set into the parsed file; arms are named, not numbered; arms.NAME.recipe.FIELD changes a
    recipe."""
    try:
        new = tomllib.loads(f"x = {typed}")["x"]
    except tomllib.TOMLDecodeError:
        new = typed  # a bare word or phrase is a text
    steps = key.split(".")
    here: Any = value
    if steps[0] == "arms" and len(steps) >= 3:
        arms = {arm.get("name"): arm for arm in value.get("arms", []) if isinstance(arm, dict)}
        if steps[1] not in arms:
            raise unknown_name("arm in --set", steps[1], [name for name in arms if name])
        here, steps = arms[steps[1]], steps[2:]
        if steps[0] == "recipe" and len(steps) == 2:
            steps[0] = "recipe_changes"
    for step in steps[:-1]:
        here = here.setdefault(step, {})
        if not isinstance(here, dict):
            raise ConfigError(f"--set {key}: {step!r} has no parts; set it as a whole")
    here[steps[-1]] = new


_EXPECTED = {
    "string_type": "a text in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
}


def _explain(error: ValidationError, path: Path, text: str) -> str:
    """The first problem in one line: file, line, key, what was expected."""
    first = error.errors()[0]
    place = [
        step
        for step in first["loc"]
        if not (isinstance(step, str) and step.startswith(("literal", "int", "constrained")))
    ]
    key = ".".join(str(step) for step in place)
    where = f"{path}, line {_line(text, place)}" if _line(text, place) else str(path)
    if first["type"] == "extra_forbidden":
        tables: dict[str, type[_Strict]] = {
            "arms": _ArmFile,
            "claims": _ClaimFile,
            "seeds_at": _SeedsFile,
            "robustness": _RobustnessFile,
            "shift_sets": _ShiftSetFile,
            "tuning": _SearchFile,
        }
        fields = tables.get(str(place[0]), _StudyFile) if len(place) > 1 else _StudyFile
        if "at" in place[1:-1]:
            fields = _AtFile
        return f"{where}: {unknown_name('key', str(place[-1]), fields.model_fields)}"
    if first["type"] == "missing":
        return f"{where}: key {key!r} is missing; add it"
    is_budget = "labels_per_class" in key or "gap_at" in key
    if first["type"] == "literal_error" or is_budget:
        expected = 'whole numbers or "all"' if is_budget else first["ctx"]["expected"]
        return f"{where}: key {key!r} expects {expected}, got {first['input']!r}"
    return (
        f"{where}: key {key!r} expects {_EXPECTED.get(first['type'], first['msg'])}, got {first['input']!r}"
    )


def _line(text: str, place: list[Any]) -> int | None:
    """The line of a key like ["arms", 1, "label"], where it can be found."""
    lines = text.splitlines()
    start, stop = 0, len(lines)
    if len(place) > 2 and isinstance(place[1], int):
        heads = [
            n
            for n, line in enumerate(lines)
            if re.match(rf"\s*\[\[\s*{re.escape(str(place[0]))}\s*\]\]", line)
        ]
        if place[1] < len(heads):
            start, stop = heads[place[1]], (*heads, len(lines))[place[1] + 1]
    names = [step for step in place if isinstance(step, str)]
    for number, line in enumerate(lines[start:stop], start + 1):
        if names and re.match(rf"\s*{re.escape(names[-1])}\s*=", line):
            return number
    return start + 1 if start else None


def _study(file: _StudyFile, where: str) -> Study:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", file.name):
        raise ConfigError(
            f"{where}: study name {file.name!r} must be letters, digits, dots and dashes: it names a folder"
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
    for budgets in (
        file.labels_per_class,
        *(arm.labels_per_class for arm in file.arms if arm.labels_per_class is not None),
    ):
        if (
            any(isinstance(n, int) and n < 1 for n in budgets)
            or not budgets
            or len(set(budgets)) != len(budgets)
        ):
            raise ConfigError(
                f'{where}: labels_per_class must be different numbers from 1 up or "all"; got {budgets}'
            )
    for name, given, choices in (
        ("precision", file.precision, PRECISIONS),
        ("feature_precision", file.feature_precision, FEATURE_PRECISIONS),
    ):
        if given not in choices:
            raise unknown_name(name, given, choices)
    arms = tuple(_arm(arm, file.dataset, where) for arm in file.arms)
    names = [arm.name for arm in arms]
    if len(set(names)) != len(names):
        raise ConfigError(f"{where}: two arms have the same name; names are {names}")
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
        claims=tuple(_claim(claim, names, where) for claim in file.claims),
        cells=tuple(_cells(file, arms, where)),
        shift_sets=_shift_sets(file, where),
        robustness=None if file.robustness is None else _robustness(file, names, where),
        searches=tuple(_search(each, names, file.labels_per_class, where) for each in file.tuning),
        tuned=file.tuned,
    )


def _cells(file: _StudyFile, arms: tuple[Arm, ...], where: str) -> Iterator[Cell]:
    """Every arm at each of its label budgets, with that budget's recipe and seeds."""
    own_seeds = {entry.labels_per_class: tuple(entry.seeds) for entry in file.seeds_at}
    _require_known(own_seeds, file.labels_per_class, f"{where}: [[seeds_at]]")
    for arm, written in zip(arms, file.arms, strict=True):
        budgets = written.labels_per_class or file.labels_per_class
        _require_known(budgets, file.labels_per_class, f"{where}: arm {arm.name!r}")
        changed = {entry.labels_per_class: entry for entry in written.at}
        _require_known(changed, budgets, f"{where}: arm {arm.name!r}, [[arms.at]]")
        if not isinstance(written.tuned, bool):
            _require_known(written.tuned, budgets, f"{where}: arm {arm.name!r}, tuned")
        for budget in budgets:
            here = arm
            if budget in changed:
                entry = changed[budget]
                again = written.model_copy(
                    update={
                        "recipe": entry.recipe or written.recipe,
                        "recipe_changes": entry.recipe_changes
                        if entry.recipe
                        else written.recipe_changes | entry.recipe_changes,
                    }
                )
                here = _arm(again, file.dataset, f"{where}: {budget} labels a class")
            searched = written.tuned if isinstance(written.tuned, bool) else budget in written.tuned
            if (
                file.tuned
                and searched
                and (tuned := f"{file.name}-{written.tuned_as or arm.name}-{budget}") in all_recipes()
            ):
                again = written.model_copy(update={"recipe": tuned, "recipe_changes": {}})
                here = _arm(again, file.dataset, f"{where}: {budget} labels a class")
            yield Cell(
                arm=here, label_budget=LabelBudget.of(budget), seeds=own_seeds.get(budget, tuple(file.seeds))
            )


def _require_known(budgets: Iterable[int | str], known: Sequence[int | str], where: str) -> None:
    for budget in budgets:
        if budget not in known:
            raise ConfigError(
                f"{where}: {budget!r} is not among the label budgets {list(known)}; add it there, or leave "
                "it out"
            )


def _search(file: _SearchFile, names: list[str], budgets: Sequence[int | str], where: str) -> Search:
    for name in file.arms:
        if name not in names:
            raise ConfigError(f"{where}: [[tuning]]: {unknown_name('arm', name, names)}")
    _require_known([file.labels_per_class], budgets, f"{where}: [[tuning]]")
    return Search(
        arms=tuple(file.arms),
        label_budget=LabelBudget.of(file.labels_per_class),
        tries=file.tries,
        proxy=Proxy(
            duration=file.duration,
            images=file.images,
            validation_images=file.validation_images,
            folds=file.folds,
        ),
    )


def _robustness(file: _StudyFile, names: list[str], where: str) -> Robustness:
    given = file.robustness or _RobustnessFile()
    for name in given.arms:
        if name not in names:
            raise ConfigError(f"{where}: [robustness]: {unknown_name('arm', name, names)}")
    if given.images < 1:
        raise ConfigError(f"{where}: [robustness] images must be at least 1, got {given.images}")
    if given.seed not in file.seeds:
        raise ConfigError(
            f"{where}: [robustness] seed {given.seed} is none of the study's seeds {file.seeds}"
        )
    return Robustness(arms=tuple(dict.fromkeys(given.arms)), images=given.images, seed=given.seed)


def _shift_sets(file: _StudyFile, where: str) -> tuple[ShiftSet, ...]:
    names = [each.name for each in file.shift_sets]
    if len(set(names)) != len(names):
        raise ConfigError(f"{where}: two shift sets have the same name; names are {names}")
    for each in file.shift_sets:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", each.name):
            raise ConfigError(
                f"{where}: shift set name {each.name!r} must be letters, digits, dots and dashes: it names a "
                "folder"
            )
        if not Path(each.path).expanduser().is_dir():
            raise ConfigError(
                f"{where}: shift set {each.name!r}: {each.path} is not a folder; give one with labelled "
                "images"
            )
    return tuple(ShiftSet(name=each.name, path=each.path) for each in file.shift_sets)


def _arm(file: _ArmFile, dataset: str, where: str) -> Arm:
    method, weights_names = method_spec(file.method), model_spec(file.model).weights
    weights = file.weights or "none"
    if file.weights is None and method.needs_weights:
        control = '; weights = "none" is the control on random ones' if method.random_control else ""
        raise ConfigError(
            f"{where}: arm {file.name!r}: method {file.method!r} needs pretrained weights; set weights, e.g. "
            f'weights = "imagenet-keras" with model = "resnet50"{control}'
        )
    if is_url(weights):
        try:
            url_digits(weights)
        except WeightsError as error:
            raise ConfigError(f"{where}: arm {file.name!r}: weights: {error}") from error
    elif weights != "none" and weights not in weights_names and not Path(weights).is_file():
        raise unknown_name(
            f"weights for model {file.model!r}", weights, (*weights_names, "a FILE or URL of weights")
        )
    if file.input_pixels is not None and not 16 <= file.input_pixels <= 1024:
        raise ConfigError(
            f"{where}: arm {file.name!r}: input_pixels must lie between 16 and 1024, got {file.input_pixels}"
        )
    recipe = recipe_named(file.recipe or method.default_recipe)
    if not method.takes(recipe):
        raise ConfigError(
            f"{where}: arm {file.name!r}: recipe {file.recipe!r} is not one of method {file.method!r}"
        )
    recipe = with_changes(recipe, file.recipe_changes, f"{where}: arm {file.name!r}")
    arm = Arm(
        name=file.name,
        label=file.label or file.name,
        dataset=dataset,
        model=file.model,
        weights=weights,
        method=file.method,
        recipe=recipe,
        recipe_name=file.recipe or method.default_recipe,
        input_pixels=file.input_pixels,
    )
    check_arm(arm, where)
    return arm


def _claim(file: _ClaimFile, arms: list[str], where: str) -> Claim:
    for side in (file.a, file.b):
        if side not in arms:
            raise ConfigError(f"{where}: claim {file.sentence!r}: {unknown_name('arm', side, arms)}")
    metric_spec(file.metric)  # raises for an unknown one
    return Claim.from_stored(file.model_dump())
