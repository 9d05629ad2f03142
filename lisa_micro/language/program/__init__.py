"""Version 2 of the reply language: programs that compose.

``terms`` are its words, ``syntax`` its tree, ``parse_program`` and ``render_program`` its text, ``same_program`` its
equality of meaning, ``describe`` its reading in English, ``automaton`` and ``decoding`` its grammar for constrained
decoding. Executing programs on measured instances is in :mod:`lisa_micro.execution`.
"""

from lisa_micro.language.program.constructs import CONSTRUCTS, constructs_of
from lisa_micro.language.program.describe import describe
from lisa_micro.language.program.meaning import same_program
from lisa_micro.language.program.reading import parse_pipeline, parse_plot, parse_value
from lisa_micro.language.program.replies import concepts_in, parse_program, render_program
from lisa_micro.language.program.syntax import Program, Refusal, Target
from lisa_micro.language.program.terms import PROGRAM_TOKENS
from lisa_micro.language.program.writing import render_pipeline

__all__ = [
    "CONSTRUCTS",
    "PROGRAM_TOKENS",
    "Program",
    "Refusal",
    "Target",
    "concepts_in",
    "constructs_of",
    "describe",
    "parse_pipeline",
    "parse_plot",
    "parse_program",
    "parse_value",
    "render_pipeline",
    "render_program",
    "same_program",
]
