"""Text cells of CSV files: text that a spreadsheet would run as a formula gets an apostrophe in front.

A spreadsheet takes a cell of a CSV file that begins with ``=``, ``+``, ``-`` or ``@`` for a formula, quoted or not, and
a formula can fetch a web address or start a program. Names of files, groups and concepts come from other people, so a
file named ``=WEBSERVICE(...).tif`` must not become one. The rule, from the advice of OWASP on CSV injection:

- Text that begins with one of these characters, its full-width form, a tab or a line break, after any number of
  apostrophes, gets one more apostrophe in front. :func:`plain_text` removes it again, exactly.
- Carriage returns become line feeds.
- Numbers stay numbers, negative ones included, also where they are written as text.

Excel workbooks and Parquet files store the type of each cell, so there the text is unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import pandas as pd

_Value = TypeVar("_Value")
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def csv_text(value: _Value) -> _Value | str:
    """Return what a CSV file holds for a value; what is no text, or reads as a number, is returned as it is.

    Examples
    --------
    >>> csv_text("=1+1"), csv_text("-4.5"), csv_text(-4.5), csv_text("particle")
    ("'=1+1", '-4.5', -4.5, 'particle')
    """
    if not isinstance(value, str):
        return value
    # a lone carriage return ends a row for spreadsheets, and the module csv does not quote it
    text = value.replace("\r\n", "\n").replace("\r", "\n") if "\r" in value else value
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def plain_text(value: _Value) -> _Value | str:
    """Return the value that :func:`csv_text` was given.

    Examples
    --------
    >>> plain_text("'=1+1"), plain_text("it's"), plain_text("'quoted'")
    ('=1+1', "it's", "'quoted'")
    """
    return value[1:] if isinstance(value, str) and value.startswith("'") and _FORMULA.match(value) else value


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV without its index; text follows the rule of this module, titles of columns included."""
    _mapped(table, csv_text).to_csv(path, index=False)


def plain_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table that was read from a CSV file with its text as it was before :func:`write_table`."""
    return _mapped(table, plain_text)


def _mapped(table: pd.DataFrame, change: Callable[[object], object]) -> pd.DataFrame:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    out = table.copy(deep=False)
    for position, kind in enumerate(table.dtypes):
        if not is_numeric_dtype(kind) and not is_bool_dtype(kind):
            out.isetitem(position, table.iloc[:, position].map(change))
    return out.rename(columns=change)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()
