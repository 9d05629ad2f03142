"""What users say beyond version 1 of the reply language, and the programs that the language model must reply.

Written by hand in ``composed/*.txt``, and put together out of ``composed/frames.yaml``.
"""

from lisa_micro.datasets.texts.programs.generator import all_pairs, compose
from lisa_micro.datasets.texts.programs.sample import as_program, from_turns, picture_kinds, sample, sample_about
from lisa_micro.datasets.texts.programs.written import Conversation, Exchange, conversations

__all__ = [
    "Conversation",
    "Exchange",
    "all_pairs",
    "as_program",
    "compose",
    "conversations",
    "from_turns",
    "picture_kinds",
    "sample",
    "sample_about",
]
