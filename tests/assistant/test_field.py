"""The model sees the field of view alone, and its results lie on the whole picture."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lisa_micro.assistant.field import (
    FieldConversation,
    answer_in_field,
    answer_on_picture,
    boxes_in_field,
    points_in_field,
    view_of,
)
from lisa_micro.io import Looking, read_micrograph
from lisa_micro.measure import particle_properties
from lisa_micro.measure.tables import particle_table
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.results.summary import summarise_segments
from lisa_micro.sim.burnt_in import simulate_burnt_in
from lisa_micro.types import BurntInScale, InputError, Micrograph


@pytest.fixture()
def image():
    pixels = np.full((100, 120), 0.5, np.float32)
    pixels[:10] = 0  # a data bar at the top
    pixels[60:64, 70:100] = 1  # a scale bar
    scale = BurntInScale(70.0, 100.0, 62.0, 4.0, "30 nm", 30.0, (72, 50, 98, 58))
    return Micrograph(pixels, 1.0, "a.png", "scale bar", field=(0, 10, 120, 100), scale_bar=scale)


class Inner:
    """A conversation that finds one square in whatever it is given."""

    def __init__(self, image):
        self.image, self.answers, self.notes, self.progress = image, [], (), None

    def ask(self, prompt):
        labels = np.zeros(self.image.shape, np.int32)
        labels[0:30, 20:40] = 1
        table = particle_table(particle_properties(labels), self.image.pixel_size_nm)
        segment = Segmentation(labels, concept="particle", pixel_size_nm=1.0, properties=table, image=self.image)
        return Answer("One.", (segment,), prompt, image=self.image)


def test_the_view_has_neither_data_bar_nor_scale_bar(image):
    view = view_of(image)
    assert view.shape == (90, 120)
    assert np.ptp(view.pixels) == 0  # the bar was replaced by the grey value around it
    assert view_of(image) is view and view_of(view) is view
    plain = replace(image, field=None, scale_bar=None)
    assert view_of(plain) is plain


def test_results_are_moved_to_the_picture_and_back(image):
    conversation = FieldConversation(Inner(view_of(image)), image)
    answer = conversation.ask("particles")
    (segment,) = answer.segments
    assert segment.labels.shape == image.shape and segment.labels[10:40, 20:40].all() and segment.count == 1
    row = segment.table().iloc[0]
    assert (row["box_y0_px"], row["box_y1_px"], row["centroid_y_px"]) == (10, 40, 24.5)
    assert row["touches_border"]  # of the field, not of the picture
    assert conversation.answers == [answer]
    back = answer_in_field(answer, image)
    assert back.segments[0].labels.shape == (90, 120)
    again = answer_on_picture(back, image)
    assert (again.segments[0].labels == segment.labels).all()
    assert again.segments[0].table().equals(segment.table())


def test_the_area_fraction_refers_to_the_field(image):
    answer = FieldConversation(Inner(view_of(image)), image).ask("particles")
    (row,) = summarise_segments(answer.segments)
    assert row.area_fraction == pytest.approx(30 * 20 / (90 * 120))


class Threshold(Inner):
    """A conversation that finds whatever is brighter than a grey value."""

    def ask(self, prompt):
        labels = (self.image.pixels > 110).astype(np.int32)
        return Answer("Some.", (Segmentation(labels, concept="particle", image=self.image),), prompt, image=self.image)


@pytest.mark.parametrize("seed", [31, 32, 33])
def test_the_area_fraction_of_a_picture_with_its_data_bar_is_that_of_the_picture_cut_by_hand(tmp_path, seed):
    drawn = simulate_burnt_in(seed, banner=True)
    height, (_, _, _, bottom) = drawn.pixels.shape[0], drawn.field
    assert bottom < 0.97 * height
    fractions = []
    for name, pixels in (("whole.png", drawn.pixels), ("cut.png", drawn.pixels[:bottom])):
        Image.fromarray(pixels).save(tmp_path / name)
        read = read_micrograph(tmp_path / name, looking=Looking(scale_bar=False))
        answer = FieldConversation(Threshold(view_of(read)), read).ask("particles")
        fractions.append(summarise_segments(answer.segments)[0].area_fraction)
    assert fractions[0] == pytest.approx(fractions[1], rel=0.01)


def test_boxes_and_points_are_given_on_the_picture(image):
    assert boxes_in_field([[10, 20, 30, 40]], image).tolist() == [[10, 10, 30, 30]]
    assert boxes_in_field([[10, 5, 30, 40]], image).tolist() == [[10, 0, 30, 30]]
    assert points_in_field([[15, 25]], None, image).tolist() == [[15, 15]]
    with pytest.raises(InputError, match="outside the field of view"):
        boxes_in_field([[10, 1, 30, 8]], image)
    with pytest.raises(InputError, match="outside the field of view"):
        points_in_field([[10, 1]], None, image)
