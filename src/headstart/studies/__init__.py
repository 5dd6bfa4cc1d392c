"""Study files: TOML in, a checked Study out; the built-in ones lie beside this file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from headstart.data import DATASETS
from headstart.errors import ConfigError, unknown_name
from headstart.findings import metric_spec
from headstart.methods import METHODS, check_arm
from headstart.models import model_spec
from headstart.precision import FEATURE_PRECISIONS, PRECISIONS
from headstart.recipes import recipe_named, with_changes
from headstart.types import Arm, Claim, Phase, Study

_FOLDER = Path(__file__).parent


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _ArmFile(_Strict):
    name: str
    label: str | None = None
    model: str
    weights: str | None = None  # left out: "none", where the method begins at random weights
    method: str
    recipe: str | None = None
    recipe_changes: dict[str, Any] = {}
    input_pixels: int | None = None


class _ClaimFile(_Strict):
    sentence: str
    a: str
    b: str
    metric: str
    direction: Literal["higher", "lower"] = "higher"
    margin: float = 0.0
    labels_per_class: int | Literal["all"] = "all"


class _StudyFile(_Strict):
    name: str
    title: str = ""
    question: str = ""
    dataset: str
    seeds: list[int] = [0]
    labels_per_class: list[int | Literal["all"]] = ["all"]
    phase: Phase = "select"
    precision: str = "auto"
    feature_precision: str = "auto"
    arms: list[_ArmFile]
    claims: list[_ClaimFile] = []


def built_in_studies() -> dict[str, Path]:
    """Name -> file of every built-in study."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.toml"))}


def load_study(name_or_path: str, changes: dict[str, str] | None = None, seeds: int | None = None) -> tuple[Study, str]:
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
            raise ConfigError(f"study file {path} is not there; give a .toml file or one of: {', '.join(built_in)}")
        return path
    raise unknown_name("study", name_or_path, built_in)


def _set(value: dict[str, Any], key: str, typed: str) -> None:
    """Puts one --set into the parsed file; arms are named, not numbered; arms.NAME.recipe.FIELD changes a recipe."""
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


_EXPECTED = {"string_type": "a text in quotes", "int_type": "a whole number", "float_type": "a number", "list_type": "a list",
             "dict_type": "a table", "model_type": "a table", "int_from_float": "a whole number"}  # fmt: skip


def _explain(error: ValidationError, path: Path, text: str) -> str:
    """The first problem in one line: file, line, key, what was expected."""
    first = error.errors()[0]
    place = [step for step in first["loc"] if not (isinstance(step, str) and step.startswith(("literal", "int", "constrained")))]
    key = ".".join(str(step) for step in place)
    where = f"{path}, line {_line(text, place)}" if _line(text, place) else str(path)
    if first["type"] == "extra_forbidden":
        tables: dict[str, type[_Strict]] = {"arms": _ArmFile, "claims": _ClaimFile}
        fields = tables.get(str(place[0]), _StudyFile) if len(place) > 1 else _StudyFile
        return f"{where}: {unknown_name('key', str(place[-1]), fields.model_fields)}"
    if first["type"] == "missing":
        return f"{where}: key {key!r} is missing; add it"
    if first["type"] == "literal_error" or "labels_per_class" in key:
        expected = "whole numbers or \"all\"" if "labels_per_class" in key else first["ctx"]["expected"]
        return f"{where}: key {key!r} expects {expected}, got {first['input']!r}"
    return f"{where}: key {key!r} expects {_EXPECTED.get(first['type'], first['msg'])}, got {first['input']!r}"


def _line(text: str, place: list[Any]) -> int | None:
    """The line of a key like ["arms", 1, "label"], where it can be found."""
    lines = text.splitlines()
    start, stop = 0, len(lines)
    if len(place) > 2 and isinstance(place[1], int):
        heads = [n for n, line in enumerate(lines) if re.match(rf"\s*\[\[\s*{re.escape(str(place[0]))}\s*\]\]", line)]
        if place[1] < len(heads):
            start, stop = heads[place[1]], (*heads, len(lines))[place[1] + 1]
    names = [step for step in place if isinstance(step, str)]
    for number, line in enumerate(lines[start:stop], start + 1):
        if names and re.match(rf"\s*{re.escape(names[-1])}\s*=", line):
            return number
    return start + 1 if start else None


def _study(file: _StudyFile, where: str) -> Study:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", file.name):
        raise ConfigError(f"{where}: study name {file.name!r} must be letters, digits, dots and dashes: it names a folder")
    if file.dataset not in DATASETS and not Path(file.dataset).is_dir():
        raise unknown_name("dataset", file.dataset, DATASETS)
    if not file.arms:
        raise ConfigError(f"{where}: a study needs at least one [[arms]] table")
    if not file.seeds or len(set(file.seeds)) != len(file.seeds) or min(file.seeds) < 0:
        raise ConfigError(f"{where}: seeds must be different whole numbers from 0 up, at least one; got {file.seeds}")
    if any(isinstance(n, int) and n < 1 for n in file.labels_per_class) or not file.labels_per_class:
        raise ConfigError(f"{where}: labels_per_class must be at least 1 or \"all\"; got {file.labels_per_class}")
    for name, given, choices in (("precision", file.precision, PRECISIONS),
                                 ("feature_precision", file.feature_precision, FEATURE_PRECISIONS)):
        if given not in choices:
            raise unknown_name(name, given, choices)
    arms = tuple(_arm(arm, file.dataset, where) for arm in file.arms)
    names = [arm.name for arm in arms]
    if len(set(names)) != len(names):
        raise ConfigError(f"{where}: two arms have the same name; names are {names}")
    return Study(
        name=file.name, title=file.title or file.name, question=file.question, dataset=file.dataset, arms=arms,
        labels_per_class=tuple(_budget(n) for n in file.labels_per_class), seeds=tuple(file.seeds), phase=file.phase,
        precision=file.precision, feature_precision=file.feature_precision,
        claims=tuple(_claim(claim, names, where) for claim in file.claims),
    )  # fmt: skip


def _budget(given: int | str) -> int | None:
    return None if given == "all" else int(given)


def _arm(file: _ArmFile, dataset: str, where: str) -> Arm:
    if file.method not in METHODS:
        raise unknown_name("method", file.method, METHODS)
    method, weights_names = METHODS[file.method], model_spec(file.model).weights
    weights = file.weights or "none"
    if file.weights is None and method.needs_weights:
        control = '; weights = "none" is the control on random ones' if method.random_control else ""
        raise ConfigError(f"{where}: arm {file.name!r}: method {file.method!r} needs pretrained weights; set weights, e.g. "
                          f"weights = \"imagenet-keras\" with model = \"resnet50\"{control}")
    if weights != "none" and weights not in weights_names and not Path(weights).is_file():
        raise unknown_name(f"weights for model {file.model!r}", weights, (*weights_names, "a FILE of weights"))
    if file.input_pixels is not None and not 16 <= file.input_pixels <= 1024:
        raise ConfigError(f"{where}: arm {file.name!r}: input_pixels must lie between 16 and 1024, got {file.input_pixels}")
    recipe = recipe_named(file.recipe or method.default_recipe)
    if not isinstance(recipe, method.recipe):
        raise ConfigError(f"{where}: arm {file.name!r}: recipe {file.recipe!r} is not one of method {file.method!r}")
    recipe = with_changes(recipe, file.recipe_changes, f"{where}: arm {file.name!r}")
    arm = Arm(name=file.name, label=file.label or file.name, dataset=dataset, model=file.model, weights=weights,
               method=file.method, recipe=recipe, recipe_name=file.recipe or method.default_recipe,
               input_pixels=file.input_pixels)  # fmt: skip
    check_arm(arm, where)
    return arm


def _claim(file: _ClaimFile, arms: list[str], where: str) -> Claim:
    for side in (file.a, file.b):
        if side not in arms:
            raise ConfigError(f"{where}: claim {file.sentence!r}: {unknown_name('arm', side, arms)}")
    metric_spec(file.metric)  # raises for an unknown one
    return Claim(**(file.model_dump() | {"labels_per_class": _budget(file.labels_per_class)}))
