"""The reply language: words, clauses, replies. Pure Python; the layer below everything that speaks it.

The language model writes it, ``datasets`` generates truth in it, ``assistant`` executes it.
"""

from lisa_micro.language.clauses import (
    Between,
    Clause,
    Compare,
    Flag,
    Measure,
    Nearest,
    Rank,
    Region,
    normal,
    parse_clause,
    parse_clauses,
    parse_measure,
    render_clause,
    render_clauses,
    render_measure,
)
from lisa_micro.language.prompts import MAX_PROMPT, check_prompt
from lisa_micro.language.replies import Reply, Target, Text, ValueSlot, parse_reply, render_reply, same_meaning
from lisa_micro.language.vocabulary import DEFAULT_VOCABULARY, FULL_VOCABULARY, Concept, Vocabulary

__all__ = [
    "DEFAULT_VOCABULARY",
    "FULL_VOCABULARY",
    "MAX_PROMPT",
    "Between",
    "Clause",
    "Compare",
    "Concept",
    "Flag",
    "Measure",
    "Nearest",
    "Rank",
    "Region",
    "Reply",
    "Target",
    "Text",
    "ValueSlot",
    "Vocabulary",
    "check_prompt",
    "normal",
    "parse_clause",
    "parse_clauses",
    "parse_measure",
    "parse_reply",
    "render_clause",
    "render_clauses",
    "render_measure",
    "render_reply",
    "same_meaning",
]
