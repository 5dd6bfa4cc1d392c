"""The notebooks: each .ipynb holds its .py, its outputs come from a run without errors, and the fast mode
runs top to bottom."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
run_notebooks = pytest.importorskip("run_notebooks", reason="the notebooks extra is not installed")
NAMES = ("01_data", "02_cnn_from_scratch", "03_transfer_resnet", "04_comparison", "05_your_own_images")


def executed(name: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def test_these_are_all_notebooks() -> None:
    assert tuple(run_notebooks.names()) == NAMES
    assert sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_holds_the_cells_of_its_source(name: str) -> None:
    assert run_notebooks.is_paired(name), "run: make notebooks"
    nbformat.validate(executed(name))


@pytest.mark.parametrize("name", NAMES)
def test_the_kept_outputs_come_from_a_whole_run_without_errors(name: str) -> None:
    notebook = executed(name)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert [output for output in outputs(notebook) if output.output_type == "error"] == []
    assert [
        output.text
        for output in outputs(notebook)
        if output.get("name") == "stderr" and "Warning" in output.text
    ] == []
    assert any({"image/png", "image/svg+xml"} & set(output.get("data", {})) for output in outputs(notebook))


@pytest.mark.parametrize("name", NAMES)
def test_the_kept_outputs_show_no_paths_of_a_machine(name: str) -> None:
    assert run_notebooks.machine_paths(executed(name)) == []


def test_a_path_of_a_machine_is_found_in_any_kind_of_output() -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                "1",
                outputs=[
                    nbformat.v4.new_output(
                        "stream",
                        text="read /home/me/photos\nruns/mine and https://example.org/home/x are fine",
                    ),
                    nbformat.v4.new_output(
                        "display_data", data={"text/html": "<b>/tmp/run 1</b>", "image/png": "/tmp/not/text"}
                    ),
                ],
            )
        ]
    )
    assert run_notebooks.machine_paths(notebook) == ["/home/me/photos", "/tmp/run"]


@pytest.mark.parametrize(
    ("name", "arms", "budgets"),
    [
        ("02_cnn_from_scratch", ["cnn"], []),
        ("03_transfer_resnet", ["knn", "probe", "partial", "finetune", "lp-ft"], ["all"]),
        ("04_comparison", [], []),
    ],
)
def test_the_committed_numbers_are_those_of_the_published_study(
    name: str, arms: list[str], budgets: list[str]
) -> None:
    from headstart import load_summary

    found = outputs(executed(name))
    if name == "04_comparison":
        assert "report/trials" in "".join(output.get("text", "") for output in found)
    text = "".join(output.get("data", {}).get("text/plain", "") for output in found)
    summary = load_summary(ROOT / "report" / "trials")
    told = summary[
        summary["arm"].isin(arms or set(summary["arm"]))
        & summary["labels_per_class"].isin(budgets or set(summary["labels_per_class"]))
    ]
    assert len(told)
    for accuracy in told["test_accuracy"]:
        assert str(np.round(accuracy, 4)) in text  # as pandas rounds a half


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_fast_mode_runs_from_top_to_bottom(name: str) -> None:
    notebook = run_notebooks.execute(name, fast=True)  # raises where a cell fails
    assert run_notebooks.machine_paths(notebook) == []
    assert [
        output.text
        for output in outputs(notebook)
        if output.get("name") == "stderr" and "Warning" in output.text
    ] == []
