"""Concepts that users taught a model: read in replies, outlined from their maps, exported, beside the default ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lisa_micro.assistant.targets import custom_labels
from lisa_micro.language import Concept, Vocabulary, parse_clauses, parse_reply
from lisa_micro.language.display import display, noun_phrase
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.results.answer import Segmentation
from lisa_micro.results.export import coco
from lisa_micro.types import InputError, Micrograph

SHELL = Concept("shell", "shell", "shells")
CORE_SHELL = Vocabulary((SHELL, Concept("grain_boundary", "grain boundary", "grain boundaries", instances=False)))


def test_a_reply_is_read_with_the_vocabulary_of_its_model():
    text = "Here are the shells [SEG]<where>largest 3</where> and the particles [SEG]."
    assert [t.concept for t in parse_reply(text, CORE_SHELL).targets] == ["shell", "particle"]
    # another model, in the same process, knows nothing of it
    assert [t.concept for t in parse_reply(text).targets] == [None, "particle"]
    assert parse_reply("Here are the Grain boundaries [SEG].", CORE_SHELL).targets[0].concept == "grain_boundary"


def test_replies_for_people_use_its_nouns():
    reply = parse_reply("Here are the shells [SEG]<where>largest 3</where>.", CORE_SHELL)
    assert display(reply, vocabulary=CORE_SHELL) == "Here are the 3 largest shells."
    assert display(reply, absent={1}, vocabulary=CORE_SHELL) == "There are no shells in this micrograph."
    assert noun_phrase("shell", parse_clauses("largest 1")[0], CORE_SHELL) == "largest shell"


@pytest.mark.parametrize(
    "concept",
    [
        ("particle", "bead", "beads"),
        ("Shell", "shell", "shells"),
        ("shell", "neck", "shells"),
        ("shell", "", "shells"),
        ("shell", "shell [SEG]", "shells"),
    ],
)
def test_names_and_nouns_that_cannot_be_used(concept):
    with pytest.raises(ValueError, match="cannot be"):
        Concept(*concept)


def test_two_concepts_with_one_noun():
    with pytest.raises(ValueError, match="two concepts"):
        Vocabulary((SHELL, Concept("coat", "coat", "shells")))


def test_a_model_folder_names_its_concepts(tmp_path):
    config = {"concepts": {"shell": {"nouns": ["shell", "shells"]}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert LisaConfig.read(tmp_path).vocabulary.names[-1] == "shell"
    config["concepts"]["shell"]["nouns"] = ["neck", "necks"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="noun"):
        LisaConfig.read(tmp_path)


def rings() -> np.ndarray:
    """Probabilities of two rings that meet, a third apart, and a speck."""
    y, x = np.mgrid[:80, :120]
    found = np.zeros((80, 120))
    for cx, cy in ((25, 40), (57, 40), (98, 40)):
        r = np.hypot(x - cx, y - cy)
        found[(r < 17) & (r > 11)] = 0.9
    found[2, 2] = 0.9
    return found


def test_rings_keep_their_holes_and_are_told_apart_where_they_meet():
    probability = rings()
    assert custom_labels(probability, SHELL, 12).max() == 2  # those that meet are one piece of the map
    border = np.zeros_like(probability)
    border[:, 40:43] = 0.8
    labels = custom_labels(probability, SHELL, 12, border)
    assert labels.max() == 3
    assert labels[40, 25] == labels[40, 57] == labels[40, 98] == 0  # holes
    assert ((labels > 0) == (probability > 0.5))[3:].all()  # nothing is lost to the cut, the speck is


def test_a_region_is_one():
    labels = custom_labels(rings(), CORE_SHELL.own[1], 12)
    assert labels.max() == 1 and labels[2, 2] == 1


def test_export_gives_it_a_category_of_its_own():
    labels = np.zeros((8, 8), np.int32)
    labels[2:5, 2:5] = 1
    files = coco([Segmentation(labels, 0.9, 0.9, "shell")], Micrograph(np.zeros((8, 8), np.float32)))
    names = {category["id"]: category["name"] for category in files["categories"]}
    assert names[files["annotations"][0]["category_id"]] == "shell"
    assert list(names.values())[:5] == ["particle", "neck", "pore", "agglomerate", "substrate"]


def test_a_taught_concept_stands_in_for_a_built_in_one_of_its_name_or_noun():
    from lisa_micro.models.lisa.config import LisaConfig
    from lisa_micro.types import VISION_CONCEPTS

    taught = {"shell": {"nouns": ("shell", "shells")}, "fissure": {"nouns": ("crack", "cracks")}}
    config = LisaConfig(reply_language=2, built_in=VISION_CONCEPTS, concepts=taught)
    names = config.vocabulary.names
    assert names.count("shell") == 1 and "crack" not in names and "layer" in names
    assert config.code_number("shell") == len(VISION_CONCEPTS)
    assert config.vocabulary.named_in("the cracks") == "fissure"
