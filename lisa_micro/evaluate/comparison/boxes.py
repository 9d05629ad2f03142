"""Read boxes from a file."""

from __future__ import annotations

import json
import re
from pathlib import Path

from lisa_micro.datasets.bounds import one_line
from lisa_micro.types import InputError


def read_boxes(path: str | Path) -> list[list[float]]:
    """Read boxes from a JSON or text file.

    Args:
        path: JSON with a list of ``[x0, y0, x1, y1]``, or with such a list under ``"boxes"``; or text with four numbers
            per line, separated by commas, semicolons or spaces, with or without a header.

    Returns:
        XYXY px, one list per box.

    Raises:
        InputError: the file cannot be read, or holds no box or something else.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The boxes in {path} cannot be read: {error}.") from error
    try:
        if text.startswith(("[", "{")):
            content = json.loads(text)
            rows = content["boxes"] if isinstance(content, dict) else content
            boxes = [[float(v) for v in row] for row in rows]
        else:
            lines = [re.split(r"[,;\s]+", line.strip()) for line in text.splitlines() if line.strip()]
            if lines and not re.match(r"^[-+.\d]", lines[0][0]):
                lines = lines[1:]
            boxes = [[float(v) for v in line] for line in lines]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise InputError(f"{path} holds something other than boxes of four numbers: {one_line(error)}.") from error
    if not boxes or any(len(box) != 4 for box in boxes):
        raise InputError(f"{path} must hold one or more boxes of four numbers, x0, y0, x1, y1 in px.")
    return boxes
