"""Studies in, checked Studies out: a built-in study, a TOML file or a Study built in Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from headstart.data.folders.owner import require_outside
from headstart.errors import ConfigError, unknown_name
from headstart.store.toml import parse_toml, read_toml
from headstart.studies.check import checked_study
from headstart.studies.schema import StudyFile
from headstart.studies.toml_errors import first_problem
from headstart.studies.write import study_tables
from headstart.types import Study

_FOLDER = Path(__file__).parent
_MOST_SEEDS = 100_000


def built_in_studies() -> dict[str, Path]:
    """Name -> file of every built-in study."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.toml"))}


def study_folder(study: Study, out: str | Path | None) -> Path:
    """Where a study's trials go: `out`, else runs/NAME.

    Raises: ConfigError where that lies inside the folder of its images."""
    folder = Path(out) if out is not None else Path("runs") / study.name
    require_outside(folder, Path(study.dataset))
    return folder


def load_study(
    study: str | Path | Study, changes: Mapping[str, str] | None = None, seeds: int | None = None
) -> tuple[Study, str]:
    """A study, complete and checked, and the text of its file.

    study: a built-in study's name, a file's path, or a Study, whose arms may leave out what a file's may: it
    is written as a file, and that is read. changes: dotted keys to values as typed on a command line, e.g.
    {"arms.cnn.recipe.duration": "1 epochs"}. seeds: use seeds 0 .. seeds - 1 instead of the study's own. The
    text is a file's own, without the changes; a Study's is written with them.

    Raises: ConfigError naming file, line, key and what was expected."""
    if isinstance(study, Study):
        where, text, tables = f"study {study.name!r}", "", study_tables(study)
    else:
        path = _find(study)
        where, (text, tables) = str(path), read_toml(path, "study file")
    for key, typed in (changes or {}).items():
        _set(tables, key, typed)
    if seeds is not None:
        if seeds < 1:
            raise ConfigError(f"--seeds must be at least 1, got {seeds}")
        if seeds > _MOST_SEEDS:
            raise ConfigError(f"--seeds must be at most {_MOST_SEEDS:,}, got {seeds}")
        tables["seeds"] = list(range(seeds))
        tables.pop("seeds_at", None)
    try:
        file = StudyFile.model_validate(tables)
    except ValidationError as error:
        raise ConfigError(first_problem(error, where, text)) from error
    checked = checked_study(file, where)
    if isinstance(study, Study):
        text = tomli_w.dumps(file.model_dump(exclude_defaults=True))
    return checked, text


def _find(name_or_path: str | Path) -> Path:
    built_in = built_in_studies()
    if isinstance(name_or_path, str) and name_or_path in built_in:
        return built_in[name_or_path]
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.exists():
        if not path.is_file():
            raise ConfigError(
                f"study file {path} is not there; give a .toml file or one of: {', '.join(built_in)}"
            )
        return path
    raise unknown_name("study", str(name_or_path), built_in)


def _set(tables: dict[str, Any], key: str, typed: str) -> None:
    """Puts one --set into the parsed file; arms are named, not numbered; arms.NAME.recipe.FIELD changes a
    recipe."""
    try:
        value = parse_toml(f"x = {typed}")["x"]
    except ValueError:
        value = typed  # a bare word or phrase is a text
    steps = key.split(".")
    table: Any = tables
    if steps[0] == "arms" and len(steps) >= 3:
        arms = {arm.get("name"): arm for arm in tables.get("arms", []) if isinstance(arm, dict)}
        if steps[1] not in arms:
            raise unknown_name("arm in --set", steps[1], [name for name in arms if name])
        table, steps = arms[steps[1]], steps[2:]
        if steps[0] == "recipe" and len(steps) == 2:
            steps[0] = "recipe_changes"
    for step in steps[:-1]:
        table = table.setdefault(step, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {key}: {step!r} has no parts; set it as a whole")
    table[steps[-1]] = value
