"""What users say, and what the language model must reply.

The wordings are in the YAML files of this folder and meant to be read and added to; the modules turn them
into turns of conversations. A fixed fifth of all wordings, synonyms and phrasings is held back (``store.py``,
``held_out.txt``).
"""

from lisa_micro.datasets.texts.conversation import sample_conversation
from lisa_micro.datasets.texts.facts import SceneFacts, describe
from lisa_micro.datasets.texts.replies import TargetTruth, Turn
from lisa_micro.datasets.texts.requests import sample_request
from lisa_micro.datasets.texts.suite import SuiteItem, held_out_suite

__all__ = [
    "SceneFacts",
    "SuiteItem",
    "TargetTruth",
    "Turn",
    "describe",
    "held_out_suite",
    "sample_conversation",
    "sample_request",
]
