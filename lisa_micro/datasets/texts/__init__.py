"""Generate requests of users and the replies that the language model must learn.

The wordings are in the YAML and text files of this folder, which are meant to be read and extended; the modules turn
them into turns of conversations. A fixed fifth of all wordings, synonyms and phrasings is held out (``store.py``,
``held_out.txt``).
"""

from lisa_micro.datasets.texts.conversations import sample_conversation
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
