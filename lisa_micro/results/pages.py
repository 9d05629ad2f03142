"""Pages of reports: Jinja2 templates that give one HTML file, which opens without a network."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).with_name("templates")


def render_page(template: str, content: Mapping[str, Any]) -> str:
    """Fill a template of the folder ``templates``.

    Args:
        template: file name, such as ``"batch.html"``.
        content: variables of the template. Text is escaped; a missing variable is an error.

    Returns:
        the page. The style sheet is part of it.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number_text
    return environment.get_template(template).render(**content)


def number_text(value: object, digits: int = 4) -> str:
    """A number for people: ``digits`` significant digits, - for NaN and None, ∞; other values as they are.

    Examples:
        >>> number_text(12.3456), number_text(float("nan")), number_text(12000.0), number_text(7)
        ('12.35', '-', '12000', '7')
    """
    if value is None:
        return "-"
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return str(value)
    number = float(value)
    if math.isnan(number):
        return "-"
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    if number == int(number) and abs(number) < 1e9:
        return str(int(number))
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(number))))
    return f"{number:.{decimals}f}" if 1e-4 <= abs(number) < 1e9 else f"{number:.{digits - 1}e}"


def data_url(content: bytes, kind: str = "image/jpeg") -> str:
    """A picture as an address that holds the picture itself."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
