"""The notebook of the documentation runs, and the site shows it with its outputs.

After new weights: ``python docs/execute_notebook.py`` keeps the outputs of a new run.
"""

from __future__ import annotations

import json
import sys

import pytest
from paths import ROOT

DOCS = ROOT / "docs"
pytestmark = pytest.mark.slow


@pytest.fixture
def docs(monkeypatch):
    """The scripts beside the pages."""
    monkeypatch.syspath_prepend(str(DOCS))
    yield
    for name in ("execute_notebook", "notebook_page"):
        sys.modules.pop(name, None)


def kinds(cell: dict) -> list[list[str]]:
    """The forms of the outputs of a cell."""
    return [sorted(output.get("data", {"text": ""})) for output in cell.get("outputs", [])]


def test_the_notebook_runs_and_gives_what_it_shows(docs, tmp_path):
    pytest.importorskip("nbclient", reason="the extra [test] is missing")
    pytest.importorskip("ipykernel", reason="the extra [test] is missing")
    from execute_notebook import executed

    shown = json.loads((DOCS / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    run = executed(tmp_path, timeout=300)
    assert [kinds(cell) for cell in run.cells] == [kinds(cell) for cell in shown]
    text = str(run)
    assert text.count("<iframe ") == 2 and text.count("'image/png'") == 2
    assert (tmp_path / "largest" / "overlay.png").is_file() and (tmp_path / "largest_rois.zip").is_file()


def test_the_site_shows_the_outputs(docs):
    from types import SimpleNamespace

    import notebook_page

    page = SimpleNamespace(file=SimpleNamespace(src_uri="notebook.md"))
    markdown = notebook_page.on_page_markdown("# In a notebook", page)
    assert "## Measure" in markdown and "```python\nanswer.show()\n```" in markdown
    content = notebook_page.on_page_content(markdown, page)
    assert "data-output" not in content
    assert content.count("<iframe ") == 2 and content.count('src="data:image/png') >= 2
    text = (DOCS / "notebook.ipynb").read_text(encoding="utf-8")
    assert '"output_type": "error"' not in text and '"stderr"' not in text
    other = SimpleNamespace(file=SimpleNamespace(src_uri="tutorial.md"))
    assert notebook_page.on_page_markdown("text", other) == notebook_page.on_page_content("text", other) == "text"
