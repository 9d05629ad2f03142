"""Measures of fibres, cracks, layers, shells and grains against what the simulator drew."""

import numpy as np
import pytest
from scipy import ndimage

from lisa_micro.execution import LabelledScene, execute
from lisa_micro.language.program import parse_program
from lisa_micro.measure import particle_table
from lisa_micro.measure.structures import (
    boundary_density,
    concept_properties,
    crack_measures,
    fibre_measures,
    grain_size_number,
    layer_measures,
    line_density,
    mean_grain_area,
    mean_intercept,
    phase_fraction,
    whole_measures,
)
from lisa_micro.sim.materials.cells import power_cells
from lisa_micro.sim.materials.cracks import crack_field, crack_tree
from lisa_micro.sim.materials.painters.layers import stack
from lisa_micro.sim.materials.strands import Fibre, bent_line, rasterise_fibres
from lisa_micro.types import InputError


def fibres(count, seed=0):
    """Fibres one by one: labels, true length and true width."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        radius, flat = rng.uniform(2, 9), bool(rng.random() < 0.5)
        length = min(rng.uniform(8, 25) * radius, 240)
        points = bent_line(rng, (150, 150), rng.uniform(0, 6.28), length, rng.uniform(0, 1.2), max(6, 1.5 * radius))
        labels = rasterise_fibres([Fibre(points, radius, flat)], (300, 300)).labels
        yield labels, np.hypot(*np.diff(points, axis=0).T).sum() + (0 if flat else 2 * radius), 2 * radius


def test_fibres_have_their_length_and_width_along_the_axis_however_they_bend():
    lengths, widths = [], []
    for labels, length, width in fibres(25):
        found = fibre_measures(labels)
        lengths.append(found["length"][0] / length - 1)
        widths.append(found["width"][0] - width)
    assert abs(np.mean(lengths)) < 0.01 and np.std(lengths) < 0.025
    assert abs(np.mean(widths)) < 0.1 and np.std(widths) < 0.2


def test_a_ring_shaped_fibre_is_longer_than_its_box():
    y, x = np.mgrid[:120, :120]
    radius = np.hypot(x - 60, y - 60)
    hook = (np.abs(radius - 40) < 3) & ~((x > 60) & (np.abs(y - 60) < 12))
    length = fibre_measures(hook.astype(int))["length"][0]
    assert length == pytest.approx(2 * np.pi * 40 - 24, rel=0.04)


def test_a_fibre_under_another_one_is_measured_across_the_gap():
    labels = np.zeros((80, 160), int)
    labels[38:43, 10:150] = 1
    labels[5:75, 70:80] = 2
    found = fibre_measures(labels)
    assert found["length"] == pytest.approx([140, 70], abs=2.5)
    assert found["width"] == pytest.approx([5, 10], abs=0.3)


def test_specks_and_cut_fibres_have_finite_measures():
    labels = np.zeros((30, 40), int)
    labels[0, 0], labels[5:7, 5:7], labels[10:14] = 1, 2, 3
    found = fibre_measures(labels)
    assert np.all(np.isfinite(found["length"])) and np.all(found["width"] > 0)
    assert found["length"][2] == pytest.approx(40, abs=1.5) and found["width"][2] == pytest.approx(4, abs=0.2)


def test_cracks_have_the_length_of_all_branches_and_their_mean_opening():
    rng = np.random.default_rng(1)
    lengths, openings = [], []
    for _ in range(15):
        half = rng.uniform(1, 4)
        tree = crack_tree(rng, (rng.uniform(100, 300), 20), np.pi / 2, rng.uniform(120, 250), half, 0.15)
        distance, _ = crack_field(rng, [tree], (400, 400), 0.0)
        length = area = 0.0
        for part in tree:
            steps = np.hypot(*np.diff(part.points, axis=0).T)
            along = np.linspace(0, steps.sum(), 2000)
            x, y = (np.interp(along, np.r_[0, np.cumsum(steps)], part.points[:, k]) for k in (0, 1))
            inside = (x > -0.5) & (x < 399.5) & (y > -0.5) & (y < 399.5)
            length += steps.sum() * inside.mean()
            area += steps.sum() * (inside * 2 * part.radius * (1 - part.taper * along / steps.sum())).mean()
        found = crack_measures((distance < 0).astype(int))
        lengths.append(found["length"][0] / length - 1)
        openings.append(found["opening"][0] / (area / length) - 1)
        assert found["opening_max"][0] >= found["opening"][0]
    assert abs(np.mean(lengths)) < 0.05 and abs(np.mean(openings)) < 0.05


def test_layers_have_the_thickness_between_their_interfaces():
    errors = []
    for seed in range(14):
        drawn = stack(np.random.default_rng(seed), (300, 400))
        layer = drawn.stratum == 1
        if drawn.layers != 1 or drawn.stratum[0].any() or not (drawn.stratum[-1] == 2).all():
            continue
        across = layer.sum(0)
        for mask in (layer, layer.T):
            found = layer_measures(mask.astype(int))
            errors.append(found["thickness"][0] / across.mean() - 1)
            assert found["thickness_min"][0] == pytest.approx(across.min(), rel=0.2, abs=4)
            assert found["thickness_max"][0] == pytest.approx(across.max(), rel=0.2, abs=4)
    assert len(errors) >= 8 and abs(np.mean(errors)) < 0.02 and np.max(np.abs(errors)) < 0.06


@pytest.mark.parametrize("degrees", [0, 17, 45, 70])
def test_a_tilted_layer_is_measured_along_its_normal(degrees):
    y, x = np.mgrid[:240, :240] - 120
    turn = np.deg2rad(degrees)
    layer = np.abs(y * np.cos(turn) - x * np.sin(turn) + 0.3) < 15
    layer[110:114, 100:118] = False  # a pore
    found = layer_measures(layer.astype(int))
    assert found["thickness"][0] == pytest.approx(30, abs=0.8)
    assert found["thickness_max"][0] < 34


def test_a_layer_that_fills_the_field_of_view_has_no_thickness():
    assert np.isnan(layer_measures(np.ones((40, 50), int))["thickness"][0])


def test_shells_have_the_difference_of_their_radii():
    y, x = np.mgrid[:140, :140]
    radius = np.hypot(x - 70, y - 68)
    labels = ((radius < 50) & (radius >= 38)).astype(int)
    assert concept_properties(labels, "shell")["thickness"][0] == pytest.approx(12, rel=0.03)


@pytest.fixture(scope="module")
def polycrystal():
    """Grains of a Poisson-Voronoi diagram, 1/400 a px^2."""
    rng = np.random.default_rng(5)
    y, x = (a.astype(np.float32) for a in np.mgrid[:600, :600])
    seeds = rng.uniform(-60, 660, (round(720 * 720 / 400), 2))
    cells = power_cells(x, y, seeds, np.zeros(len(seeds)))
    return cells.owner, cells.border


def test_grains_of_a_voronoi_diagram_have_their_known_sizes(polycrystal):
    # of a planar Poisson-Voronoi diagram with n seeds a px^2 (Moller, Adv. Appl. Probab. 21 (1989) 37): boundary length
    # 2 sqrt(n) a px^2, mean intercept pi / (4 sqrt(n)), mean area 1 / n
    grains, _ = polycrystal
    assert mean_intercept(grains) == pytest.approx(np.pi / 4 * 20, rel=0.04)
    assert boundary_density(grains) == pytest.approx(2 / 20, rel=0.04)
    assert mean_grain_area(grains) == pytest.approx(400, rel=0.05)


def test_grains_apart_by_their_boundaries_are_as_large_as_grains_that_meet(polycrystal):
    grains, border = polycrystal
    apart = np.where(border < 1.5, 0, grains)
    assert mean_intercept(apart) == pytest.approx(mean_intercept(grains), rel=0.04)
    assert mean_grain_area(apart) == pytest.approx(mean_grain_area(grains), rel=0.04)
    lines = (border < 1.5).astype(int)
    assert line_density(lines) == pytest.approx(2 / 20, rel=0.06)


def test_a_pore_is_no_grain():
    grains = np.ones((100, 100), int)
    grains[:, 50:] = 2
    whole = mean_intercept(grains)
    grains[30:70, 40:60] = 0
    assert mean_intercept(grains) < whole
    assert mean_grain_area(grains) == pytest.approx((10_000 - 800) / (2 - 2 / 2), rel=0.01)


def test_larger_grains_have_a_smaller_number():
    assert grain_size_number(intercept_nm=320_000) == pytest.approx(0.0, abs=0.01)
    assert grain_size_number(intercept_nm=320_000 / np.sqrt(2)) == pytest.approx(1.0, abs=0.01)
    assert grain_size_number(area_nm2=0.129e12) == pytest.approx(0.0, abs=0.01)


def test_programs_ask_for_the_measures_of_a_concept(polycrystal):
    layer = np.zeros((100, 200), int)
    layer[30:50] = 1
    crack = np.zeros((100, 200), int)
    crack[70:73, 20:120] = 1
    scene = LabelledScene({"layer": layer, "crack": crack}, pixel_size_nm=2.0)
    program = parse_program(
        "layer [SEG] <value>mean thickness of 1</value> crack [SEG] <value>max opening of 2</value> "
        "<value>total length of 2</value> <value>line density of 2</value>"
    )
    values = [m.number for m in execute(program, scene).values]
    assert [v.unit for v in values] == ["nm", "nm", "nm", "1/nm"]
    assert [v.value for v in values[:3]] == pytest.approx([40, 6, 200], rel=0.03)
    assert values[3].value == pytest.approx(100 / 20_000 / 2, rel=0.03)
    grains = LabelledScene({"grain": polycrystal[0]}, pixel_size_nm=10.0)
    told = execute(parse_program("grains [SEG] <value>intercept of 1</value>"), grains).values[0].number
    assert told.unit == "nm" and told.value == pytest.approx(np.pi / 4 * 200, rel=0.04)


def test_tables_name_lengths_along_an_axis_and_caliper_diameters():
    labels = np.zeros((60, 60), int)
    y, x = np.mgrid[:60, :60]
    labels[(np.abs(np.hypot(x - 30, y) - 40) < 3)] = 1
    table = particle_table(concept_properties(labels, "fibre"), 0.5)
    assert {"length_px", "width_px", "feret_max_px", "feret_min_px", "thickness_nm"} <= set(table.columns)
    assert table["length_px"][0] > table["feret_max_px"][0]
    assert "feret_max_px" in particle_table(concept_properties(labels, "particle")).columns


def test_other_concepts_are_measured_as_particles():
    labels, _ = ndimage.label(np.random.default_rng(0).random((40, 40)) > 0.7)
    found = concept_properties(labels, "precipitate")
    assert "thickness" not in found and "opening" not in found
    assert whole_measures(labels, "precipitate") == {} == whole_measures(np.zeros((5, 5), int), "grain")


def test_phase_fractions_leave_the_banner_out():
    mask, field = np.zeros((10, 10), bool), np.ones((10, 10), bool)
    mask[:4], field[8:] = True, False
    assert phase_fraction(mask) == 0.4 and phase_fraction(mask, field) == 0.5


@pytest.mark.parametrize(
    "call",
    [
        lambda: fibre_measures(np.zeros((4, 4))),
        lambda: crack_measures(-np.ones((4, 4), int)),
        lambda: mean_intercept(np.zeros((2, 3, 4), int)),
        lambda: line_density(np.zeros((0, 5))),
        lambda: phase_fraction(np.ones((3, 3)), np.ones((4, 4))),
        lambda: phase_fraction(np.ones((3, 3)), np.zeros((3, 3))),
        lambda: grain_size_number(),
        lambda: grain_size_number(1.0, 2.0),
        lambda: grain_size_number(intercept_nm=-3.0),
    ],
)
def test_unusable_input_gets_one_sentence(call):
    with pytest.raises(InputError) as error:
        call()
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_empty_labels_have_no_rows():
    empty = np.zeros((20, 20), int)
    for concept in ("fibre", "crack", "layer", "shell", "grain", "grain_boundary"):
        assert all(len(values) == 0 for values in concept_properties(empty, concept).values())
