"""A finished trial on disk changed as somebody would who knows the format: key, folder and manifest fit
again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headstart import store
from headstart.store import manifest


def change_trial(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Changes the content of result.json in place; returns where the trial lies then."""
    value = json.loads((folder / "result.json").read_text())
    change(value)
    return rewrite_result(folder, value)


def rewrite_result(folder: Path, value: dict[str, Any]) -> Path:
    """Gives a trial this result.json; returns where the trial lies then."""
    arm = {k: v for k, v in value["trial"]["arm"].items() if k not in ("name", "label", "recipe_name")}
    value = value | {"key": store.digest(value["trial"] | {"arm": arm})}
    store.write_json(folder / "result.json", value)
    if (folder / "trial.json").exists():
        store.write_json(folder / "trial.json", value["trial"])
    if (folder / manifest.FILE).exists():
        names = [path.name for path in folder.iterdir() if path.is_file() and path.name != manifest.FILE]
        manifest.write_manifest(folder, names)
    return folder.rename(folder.with_name(value["key"]))
