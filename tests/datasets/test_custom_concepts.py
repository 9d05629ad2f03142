"""Labels of other programs: built-in concepts, synonyms that are reported, and custom concepts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from foreign_sources import TWO, labelled, write_labels_at

from lisa_micro.cli.main import main
from lisa_micro.datasets.custom_concepts import concept_map, read_vocabulary
from lisa_micro.datasets.preparation.converting import Choices, convert
from lisa_micro.datasets.readers import read_record_folder
from lisa_micro.types import InputError


def source_with(folder, name: str, particles: bool = True):
    """A source whose labels include a folder of another name."""
    labelled(folder)
    for k in range(3):
        write_labels_at(folder / f"labels/{name}/scan {k}.tif", TWO)
        if not particles:
            (folder / f"labels/scan {k}.tif").unlink()
    return folder


@pytest.mark.parametrize(("name", "concept"), [("precipitate", "precipitate"), ("Holes", "hole"), ("twin", "twin")])
def test_another_material_is_a_custom_concept_and_never_merged(name, concept, tmp_path):
    source = source_with(tmp_path / "in", name)
    done = convert(source, tmp_path / "out", Choices(conversations=0))
    assert [c.name for c in done.custom_concepts] == [concept] and not done.notes
    for example in read_record_folder(tmp_path / "out"):
        assert np.array_equal(example.concept_labels[concept], TWO)
        assert example.labels.max() == (2 if np.array_equal(example.labels, TWO) else 3)
    assert concept in read_vocabulary(tmp_path / "out").names


def test_precipitates_alone_are_no_particles(tmp_path):
    source = source_with(tmp_path / "in", "precipitate", particles=False)
    convert(source, tmp_path / "out", Choices(conversations=0))
    assert all(
        e.labels is None and set(e.concept_labels) == {"precipitate"} for e in read_record_folder(tmp_path / "out")
    )


def test_a_synonym_is_used_with_a_note_alone(tmp_path, capsys):
    source = source_with(tmp_path / "in", "beads", particles=False)
    with pytest.raises(SystemExit) as ended:
        main(["data", "convert", str(source), "-o", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert ended.value.code == 0
    assert "the label 'beads' is taken as the built-in concept particle; --concept beads=NAME" in said.err
    assert all(np.array_equal(example.labels, TWO) for example in read_record_folder(tmp_path / "out"))
    done = convert(source, tmp_path / "apart", Choices(concepts={"beads": "bead"}, conversations=0))
    assert [c.name for c in done.custom_concepts] == ["bead"] and not done.notes


def test_a_synonym_beside_its_concept_is_a_custom_concept():
    named = concept_map(["particle", "grain"])
    assert dict(named.concepts) == {"particle": "particle", "grain": "grain"} and not named.notes
    both = concept_map(["beads", "spheres"])
    assert set(both.concepts.values()) == {"particle"} and len(both.notes) == 2


def test_names_that_cannot_be_concepts_are_refused_with_their_place():
    with pytest.raises(InputError, match="^a.json shape 2: the label '12' cannot become a concept"):
        concept_map({"12": "a.json shape 2"})
    with pytest.raises(InputError, match="no label is called 'x'; the labels are shell"):
        concept_map(["shell"], {"x": "particle"})


@pytest.mark.parametrize(
    "text", ["[" * 5000, "concepts: &a [*a]", "concepts: {shell: [1, 2]}", "concepts: {x: &y [*y, *y]}"]
)
def test_broken_vocabularies_are_refused_in_one_line(text, tmp_path):
    (tmp_path / "dataset.yaml").write_text(text)
    with pytest.raises(InputError, match=r"dataset\.yaml") as told:
        read_vocabulary(tmp_path)
    assert len(str(told.value).splitlines()) == 1 and len(json.dumps(str(told.value))) < 700
