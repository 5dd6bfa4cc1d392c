"""The house: imports point down only, and what renders reports never needs torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "headstart"

# Module (or folder) -> floor. A module may import from its own floor's folder and from any floor below.
FLOORS = {
    "errors": 0, "types": 0, "seeding": 0, "machine": 0,
    "progress": 1, "store": 1, "recipes": 1, "search_spaces": 1, "tpe": 1, "metrics": 1, "stats": 1, "cost": 1, "energy": 1,
    "allocator": 1, "precision": 1, "mapped": 1, "duplicates": 1, "intake": 1, "data": 1, "models": 1,
    "logistic": 2, "logistic_problem": 2, "optimizers": 2, "graphs": 2, "inference": 2, "training": 2, "features": 2,
    "quantised": 2,
    "published": 2, "saved": 2, "label_errors": 2, "corruptions": 2, "generalization": 2,
    "efficiency": 2, "pairing": 2, "examples": 2, "curves": 2, "ledger": 2, "findings": 2, "plots": 2,
    "methods": 3, "embeddings": 3, "check": 3, "comparison": 3,
    "trial": 4, "predict": 4, "photos": 4, "health": 4, "robustness": 4, "shift": 4,
    "explain": 4, "looks": 4,
    "studies": 5, "launch": 5, "side_by_side": 5, "planning": 5, "tuning": 5, "report": 5, "doctor": 5, "display": 5,
    "modelcard": 5, "advice": 4, "advise": 5, "export": 5, "estimator": 5,
    "cli": 6, "cli_model": 6,
}  # fmt: skip
TORCH_FREE = ("types", "errors", "metrics", "stats", "findings", "plots", "store", "report", "examples", "curves", "ledger",
              "published", "duplicates", "intake", "machine", "energy", "efficiency", "comparison", "display", "corruptions",
              "generalization")


def _modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py"))


def _home(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imported(path: Path) -> set[str]:
    """Names of our top-level modules that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "headstart":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("headstart."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("headstart.")}
    return found - {"__version__"}


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down_only(path: Path) -> None:
    home = _home(path)
    if home == "__init__":
        return  # the public names, looked up on first use
    assert home in FLOORS, f"give {home} a floor in this test"
    for other in _imported(path):
        if other == home or (path.name == "__init__.py" and other == home):
            continue
        assert other in FLOORS, f"{path.name} imports {other}, which has no floor"
        assert FLOORS[other] <= FLOORS[home], f"{path.name} (floor {FLOORS[home]}) imports {other} (floor {FLOORS[other]})"


def test_no_module_imports_one_that_imports_it() -> None:
    imports: dict[str, set[str]] = {}
    for path in _modules():
        imports.setdefault(_home(path), set()).update(_imported(path) - {_home(path)})
    imports.pop("__init__")
    pairs = [(a, b) for a in imports for b in imports[a] if a < b and a in imports.get(b, set())]
    assert pairs == []


@pytest.mark.parametrize("name", TORCH_FREE)
def test_reporting_never_imports_torch(name: str) -> None:
    code = f"import headstart.{name}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_cores_are_counted_in_one_place() -> None:
    assert [path.name for path in _modules() if "sched_getaffinity" in path.read_text(encoding="utf-8")] == ["machine.py"]


def test_no_cuda_package_is_installed() -> None:
    import importlib.metadata

    names = {dist.metadata["Name"].lower() for dist in importlib.metadata.distributions()}
    assert sorted(name for name in names if name.startswith("nvidia-")) == []
