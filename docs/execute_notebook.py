"""Run the notebook of the documentation and keep its outputs: ``python docs/execute_notebook.py``.

Run it after the notebook, the viewer or the weights of the default preset have changed. Needs the extra ``test``.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
NOTEBOOK = DOCS / "notebook.ipynb"
SAMPLE = DOCS.parent / "data" / "samples" / "sintering_tem.tif"


def executed(folder: Path, timeout: int = 600) -> Any:
    """The notebook with the outputs of a run.

    Args:
        folder: where it runs; the sample is copied there.
        timeout: of a cell, s.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    import nbformat
    from nbclient import NotebookClient

    shutil.copyfile(SAMPLE, folder / "film.tif")
    notebook = nbformat.read(NOTEBOOK, 4)
    settings = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=timeout, kernel_name="python3", resources=settings).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times
        # warnings of libraries, which hold paths of this machine
        cell["outputs"] = [o for o in cell.get("outputs", []) if o.get("name") != "stderr"]
        if cell.cell_type != "code":
            del cell["outputs"]
    return notebook


def main() -> None:
    """Replace the outputs in the file."""
    import nbformat

    with tempfile.TemporaryDirectory() as folder:
        notebook = executed(Path(folder))
    # the version of this Python says nothing about the notebook
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
