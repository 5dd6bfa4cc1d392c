"""Execute the notebooks: each notebooks/NAME.py (jupytext, percent format) becomes notebooks/NAME.ipynb with
its outputs.

Usage: python tools/run_notebooks.py [--fast] [--check] [NAME ...]
--fast: small slices and few steps, as CI runs them; outputs are thrown away.
--check: nothing is executed; names the .ipynb files that do not hold the cells of their .py.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from headstart.store import cache_folder

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
_MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|work|usr|var|opt|mnt|Users|private)/[^\s\"'<]*")
_PROGRESS = re.compile(r"^[^\n]*: [\d,]+ of [\d,]+ \w+, [^\n]* left\b[^\n]*\n?$")
CELL_SECONDS = 1200


def names() -> list[str]:
    return [path.stem for path in sorted(FOLDER.glob("*.py"))]


def load_source(name: str) -> nbformat.NotebookNode:
    """The notebook of NAME.py, without outputs; the same file gives the same bytes."""
    notebook = jupytext.read(FOLDER / f"{name}.py")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{name[:2]}-{number:02d}"
    notebook.metadata = {
        "jupytext": {"formats": "ipynb,py:percent"},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def is_paired(name: str) -> bool:
    """Whether NAME.ipynb is there and holds the cells of NAME.py, outputs apart."""
    path = FOLDER / f"{name}.ipynb"
    return path.is_file() and _cells(nbformat.read(path, as_version=4)) == _cells(load_source(name))


def _cells(notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def machine_paths(notebook: nbformat.NotebookNode) -> list[str]:
    """Absolute paths in the outputs: they belong to one machine and say nothing to a reader."""
    paths = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            texts = [output.get("text", ""), *output.get("traceback", ())]
            texts += [
                value
                for kind, value in output.get("data", {}).items()
                if isinstance(value, str) and kind != "image/png"
            ]
            paths += [path for text in texts for path in _MACHINE_PATH.findall(text)]
    return paths


def execute(name: str, *, fast: bool) -> nbformat.NotebookNode:
    """The executed notebook. It runs in notebooks/, and writes into notebooks/runs, which git ignores.

    Raises: CellExecutionError where a cell fails."""
    notebook = load_source(name)
    if fast:
        shutil.rmtree(FOLDER / "runs" / f"{name}-fast", ignore_errors=True)
    with tempfile.TemporaryDirectory() as home:
        # A kernel of its own: no history file, no start-up files of whoever runs this.
        environment = os.environ | {"IPYTHONDIR": home, "HEADSTART_FAST": "1" if fast else ""}
        environment |= {
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]).rstrip(
                os.pathsep
            )
        }
        environment |= {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        # tqdm, under cleanlab, asks every notebook for ipywidgets; its bars are not wanted here.
        environment |= {"PYTHONWARNINGS": "ignore:IProgress not found"}
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": str(FOLDER)}},
        )
        client.execute(env=environment)
    _hide_cache_folder(notebook)
    _without_progress(notebook)
    return notebook


def _hide_cache_folder(notebook: nbformat.NotebookNode) -> None:
    # The cache folder is the one path of the machine in progress lines.
    cache = str(cache_folder())
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "text" in output:
                output.text = output.text.replace(cache, "$HEADSTART_CACHE")
            for kind, value in output.get("data", {}).items():
                if isinstance(value, str):
                    output.data[kind] = value.replace(cache, "$HEADSTART_CACHE")


def _without_progress(notebook: nbformat.NotebookNode) -> None:
    """Drop the progress lines of running steps; their last lines stay."""
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [
                output
                for output in cell.outputs
                if not _PROGRESS.search(output.get("data", {}).get("text/plain", ""))
            ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    for unknown in set(options.names) - set(names()):
        parser.error(f"no notebook {unknown!r}; choose from: {', '.join(names())}")
    chosen = options.names or names()
    if options.check:
        stale = [name for name in chosen if not is_paired(name)]
        print(
            "\n".join(f"notebooks/{name}.ipynb does not match its .py; run: make notebooks" for name in stale)
            or "all paired"
        )
        return bool(stale)
    for name in chosen:
        started = time.monotonic()
        try:
            notebook = execute(name, fast=options.fast)
        except CellExecutionError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        if paths := machine_paths(notebook):
            print(
                f"{name}: outputs show paths of this machine: {', '.join(sorted(set(paths)))}",
                file=sys.stderr,
            )
            return 1
        if not options.fast:
            nbformat.write(notebook, FOLDER / f"{name}.ipynb")
        print(f"{name}: {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
