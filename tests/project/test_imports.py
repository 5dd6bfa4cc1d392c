"""The house: imports point down only, and what renders reports never needs torch."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "headstart"

# The floors stand in pyproject.toml, as import-linter's contracts.
TORCH_FREE = (
    "types",
    "errors",
    "store",
    "methods",
    "report",
    "report.writers.notebook",
    "plots",
    "data.duplicates",
    "data.folders",
    "models",
    "studies.study_file",
    "results.metrics",
    "results.stats",
    "results.headline",
    "results.trials",
    "results.label_curves",
    "results.claims",
    "results.published",
    "results.efficiency",
    "results.api",
    "evaluation.corruptions",
    "evaluation.records",
    "runtime.cores",
    "runtime.energy",
)


def _modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py"))


def test_imports_point_down_only() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=SOURCE.parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# Each module in a process of its own, forked from one that has loaded the libraries: a tenth of the time.
IMPORT_EACH = """
import gc, os, sys
import jinja2, matplotlib.figure, numpy, pandas, PIL.Image, rich.table, scipy.stats, sklearn.metrics
import filelock, platformdirs, pydantic, statistics, tomli_w, tomllib, typer
type("Model", (pydantic.BaseModel,), {})  # loads what pydantic puts off
unwanted, *names = sys.argv[1:]
if unwanted != "torch":
    import safetensors.torch, torch
gc.freeze()
for name in names:
    child = os.fork()
    if child == 0:
        __import__("headstart." + name)
        os._exit(unwanted in sys.modules)
    print(name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def _import_each(names: Iterable[str], unwanted: str) -> dict[str, str]:
    """ "0" for each module that can be imported first, and without an unwanted one."""
    command = [sys.executable, "-c", IMPORT_EACH, unwanted, *names]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.fixture(scope="module")
def exit_codes() -> dict[str, str]:
    return _import_each(TORCH_FREE, "torch")


@pytest.mark.parametrize("name", TORCH_FREE)
def test_reporting_never_imports_torch(name: str, exit_codes: dict[str, str]) -> None:
    assert exit_codes[name] == "0"


def test_what_a_command_imports_can_be_imported_first() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (SOURCE / "cli").glob("*.py"))
    names = sorted(set(re.findall(r"^ +from headstart\.([\w.]+) import", text, flags=re.M)))
    assert len(names) > 20
    assert _import_each(names, "matplotlib.pyplot") == dict.fromkeys(names, "0")


@pytest.mark.parametrize(
    ("name", "unwanted"),
    [
        ("cli.app", {"torch", "numpy.random", "pandas", "scipy.stats", "sklearn", "matplotlib"}),
        ("data", {"torch", "pandas", "scipy.stats", "sklearn", "matplotlib"}),
        ("predict.files", {"pandas", "scipy.stats", "sklearn", "matplotlib", "jinja2"}),
        ("studies.study_file", {"pandas", "scipy.stats", "sklearn", "matplotlib", "jinja2"}),
    ],
)
def test_a_command_starts_without_libraries_that_it_may_not_need(name: str, unwanted: set[str]) -> None:
    code = f"import headstart.{name}, sys; print(*sorted({unwanted} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("command", "unwanted"),
    [
        ("--version", {"typer", "rich", "numpy", "pydantic"}),
        ("doctor", {"torch", "pandas", "scipy.stats", "matplotlib"}),
        ("list", {"torch", "timm", "pandas", "scipy.stats", "matplotlib"}),
    ],
)
def test_a_command_loads_no_library_that_it_does_not_need(command: str, unwanted: set[str]) -> None:
    if command == "doctor" and not version("torch").endswith("+cpu"):
        unwanted = unwanted - {"torch"}  # a build with GPU code is asked what it computes on
    code = (
        "import sys; from headstart.cli.start import main\n"
        "try: main()\n"
        f"finally: print(*sorted({unwanted} & set(sys.modules)), file=sys.stderr)"
    )
    arguments = [sys.executable, "-c", code, *command.split()]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout and done.stderr.split() == []


def test_the_cores_are_counted_in_one_place() -> None:
    assert [path.name for path in _modules() if "sched_getaffinity" in path.read_text(encoding="utf-8")] == [
        "cores.py"
    ]


def test_no_cuda_package_stands_beside_a_cpu_build_of_torch() -> None:
    """The plain build, where it was rightly installed, brings its own; the CPU build needs none of them."""
    import importlib.metadata

    import torch

    names = {dist.metadata["Name"].lower() for dist in importlib.metadata.distributions()}
    cuda = sorted(name for name in names if name.startswith("nvidia-"))
    assert torch.version.cuda is not None or cuda == []
