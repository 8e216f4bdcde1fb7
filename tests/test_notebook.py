"""The notebook of the documentation runs from its first cell to its last, and its agent has learned."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.pages import REPOSITORY
from tests.runtime.processes import PYTHONPATH

NOTEBOOK = REPOSITORY / "docs" / "notebook.ipynb"


@pytest.mark.timeout(300)
def test_the_notebook_trains_plots_and_evaluates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=250, resources={"metadata": {"path": str(tmp_path)}}).execute(env=dict(os.environ))
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = "".join(output["text"] for output in outputs if output["output_type"] == "stream")
    score = re.search(r"^(-?[\d.]+) ± [\d.]+ over 100 episodes$", printed, re.MULTILINE)
    assert score is not None, printed
    assert float(score[1]) >= 0.95
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2


def test_the_notebook_is_stored_without_outputs() -> None:
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
