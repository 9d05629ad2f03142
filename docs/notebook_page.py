"""Hook of the documentation site: the page ``notebook`` shows the executed notebook, with its outputs as they are.

Cells become Markdown. Outputs are put in after the page has been made, so that Markdown does not touch their HTML.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).with_name("notebook.ipynb")
PAGE = "notebook.md"
_HOLDER = '<div data-output="{}"></div>'


def cells() -> list[dict[str, Any]]:
    """The cells of the notebook."""
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Append the cells to the page's introduction, with an empty element for the outputs of each."""
    if page.file.src_uri != PAGE:
        return markdown
    parts = [markdown]
    for number, cell in enumerate(cells()):
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            parts += [f"```python\n{source}\n```", _HOLDER.format(number)]
        else:
            parts.append(source)
    return "\n\n".join(parts) + "\n"


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Fill in the outputs."""
    if page.file.src_uri != PAGE:
        return content
    outputs = [cell.get("outputs", []) for cell in cells()]

    def fill(match: re.Match[str]) -> str:
        return "\n".join(_output(output) for output in outputs[int(match[1])])

    return re.sub(_HOLDER.format(r"(\d+)"), fill, content)


def _output(output: dict[str, Any]) -> str:
    """An output as HTML: its richest form that a page can show."""
    if output["output_type"] == "stream":
        return f"<pre><code>{html.escape(''.join(output['text']))}</code></pre>"
    data = {kind: "".join(value) if isinstance(value, list) else value for kind, value in output["data"].items()}
    if "text/html" in data:
        return f'<div style="overflow-x:auto">{data["text/html"]}</div>'
    if "image/png" in data:
        return f'<p><img alt="plot" src="data:image/png;base64,{data["image/png"].strip()}"></p>'
    return f"<pre><code>{html.escape(data['text/plain'])}</code></pre>"
