"""Instances of the newer concepts from the decoder's maps."""

import numpy as np
import pytest
from scipy import ndimage

from lisa_micro.assistant.concept_labels import concept_labels, mask_threshold
from lisa_micro.large_images.split import separate_large
from lisa_micro.large_images.tiled import Stitched, new_labels
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.models.lisa.instances import SplitConfig, bodies, separate
from lisa_micro.types import VISION_CONCEPTS


def maps_of(labels, sure=0.95, border=None):
    """Maps as the decoder gives them: mask, distance to the own edge over the largest, border between instances."""
    distance = np.zeros(labels.shape, np.float32)
    for k in range(1, int(labels.max()) + 1):
        own = ndimage.distance_transform_edt(labels == k)
        distance = np.where(labels == k, own / own.max(), distance)
    meet = np.zeros(labels.shape, np.float32)
    high, low = ndimage.maximum_filter(labels, 3), ndimage.minimum_filter(np.where(labels, labels, 999), 3)
    meet[(labels > 0) & (high != low) & (low < 999)] = 0.9
    return np.stack([np.where(labels > 0, sure, 0.02), distance, meet if border is None else border]).astype(np.float32)


def dumbbell(bridge):
    """A body of two bulges 50 px across and 90 px apart, the part between them ``bridge`` px wide."""
    y, x = np.mgrid[:120, :220]
    body = (np.hypot(x - 65, y - 60) < 25) | (np.hypot(x - 155, y - 60) < 25)
    body |= (np.abs(y - 60) < bridge / 2) & (x > 65) & (x < 155)
    return body.astype(np.int32)


def test_a_body_that_is_not_convex_stays_whole():
    maps = maps_of(dumbbell(36))
    middle = np.abs(np.mgrid[:120, :220][1] - 110) < 25
    maps[1] = np.where(middle, 0.4, maps[1])  # several maxima, as large bodies have
    assert separate(*maps).max() > 1
    found = concept_labels(maps, "precipitate", SplitConfig(), 0.5)
    assert found.max() == 1 and np.array_equal(found > 0, dumbbell(36) > 0)


def test_a_body_is_split_at_a_narrow_neck():
    maps = maps_of(dumbbell(10))
    maps[1] = np.where(np.abs(np.mgrid[:120, :220][1] - 110) < 30, 0.1, maps[1])
    assert concept_labels(maps, "precipitate", SplitConfig(), 0.5).max() >= 2


def test_grains_that_meet_are_split_at_their_border():
    rows, columns = np.mgrid[:96, :96]
    grains = (1 + rows // 32 * 3 + columns // 32).astype(np.int32)
    found = concept_labels(maps_of(grains), "grain", SplitConfig(), 0.5)
    assert found.max() == 9
    for k in range(1, 10):  # each true grain is one instance but for its rim
        inner = ndimage.binary_erosion(grains == k, iterations=3)
        assert len(np.unique(found[inner])) == 1


def test_unsure_bodies_are_kept_from_a_lower_threshold_if_one_pixel_is_sure():
    labels = np.zeros((60, 120), np.int32)
    labels[10:50, 10:50], labels[10:50, 70:110] = 1, 2
    maps = maps_of(labels, sure=0.4)
    assert not concept_labels(maps, "hole", SplitConfig(), 0.5).any()
    maps[0, 30, 30] = 0.6
    found = concept_labels(maps, "hole", SplitConfig(), 0.3)
    assert np.array_equal(found > 0, labels == 1)


@pytest.mark.parametrize(("concept", "instances"), [("crack", 2), ("shell", 2), ("grain_boundary", 1), ("layer", 1)])
def test_lines_are_components_and_regions_are_one(concept, instances):
    labels = np.zeros((40, 80), np.int32)
    labels[5:8, 5:70], labels[30:33, 5:70] = 1, 2
    assert concept_labels(maps_of(labels), concept, SplitConfig(), 0.5).max() == instances


def test_a_layer_is_without_scattered_spots_and_holes():
    labels = np.zeros((120, 160), np.int32)
    labels[50:80] = 1
    truth = labels > 0
    maps = maps_of(labels)
    maps[0, 60:63, 20:80] = 0.05  # a crack in the layer
    maps[0, 5:15, 5:15] = maps[0, 100:110, 140:150] = 0.9  # spots of the same grey
    assert np.array_equal(concept_labels(maps, "layer", SplitConfig(), 0.6) > 0, truth)
    assert concept_labels(maps, "substrate", SplitConfig(), 0.6)[10, 10] == 1  # other regions keep them


def test_two_layers_stay_two_and_nothing_stays_nothing():
    labels = np.zeros((120, 160), np.int32)
    labels[20:40], labels[60:68] = 1, 2
    assert np.array_equal(concept_labels(maps_of(labels), "layer", SplitConfig(), 0.6) > 0, labels > 0)
    assert not concept_labels(maps_of(np.zeros_like(labels)), "layer", SplitConfig(), 0.6).any()


def test_specks_beside_a_crack_are_dropped():
    labels = np.zeros((120, 300), np.int32)
    labels[50:56, 10:290], labels[100:104, 20:25], labels[20:25, 100:140] = 1, 2, 3
    found = concept_labels(maps_of(labels), "crack", SplitConfig(), 0.5)
    assert found.max() == 2 and not found[labels == 2].any()


def test_every_newer_concept_has_a_rule():
    labels = dumbbell(50)
    for concept in VISION_CONCEPTS[5:]:
        found = concept_labels(maps_of(labels), concept, SplitConfig(), 0.5)
        assert found.shape == labels.shape and found.max() == 1
        assert not concept_labels(np.zeros((3, 20, 20), np.float32), concept, SplitConfig(), 0.5).any()


def test_large_micrographs_give_the_same_bodies():
    maps = np.rint(255 * maps_of(np.pad(dumbbell(36), 20))).astype(np.uint8)
    at_once = bodies(*(maps.astype(np.float32) / 255))
    assert np.array_equal(separate_large(maps, SplitConfig(), separator=bodies), at_once)
    outers = np.array([[0, 160, 0, 130], [0, 160, 130, 260]])
    stitched = Stitched(maps, outers, np.array([0.9, 0.9]), 0.9, 1.0)
    assert np.array_equal(new_labels(stitched, "precipitate", 0.5, 0.5), at_once)
    absent = Stitched(maps, outers, np.array([0.2, 0.1]), 0.9, 1.0)
    assert not new_labels(absent, "precipitate", 0.5, 0.5).any()
    # of a region only the part in tiles without it is removed
    half = new_labels(Stitched(maps, outers, np.array([0.9, 0.1]), 0.9, 1.0), "layer", 0.5, 0.5)
    assert half[:, :130].any() and not half[:, 130:].any()


def test_mask_thresholds_are_in_the_configuration():
    config = LisaConfig(built_in=VISION_CONCEPTS, mask_threshold={"hole": 0.3})
    assert mask_threshold(config, "hole") == 0.3 and mask_threshold(config, "crack") == 0.5
    for wrong in ({"particle": 0.3}, {"unicorn": 0.3}, {"hole": 1.5}):
        with pytest.raises(ValueError, match="mask_threshold"):
            LisaConfig(built_in=VISION_CONCEPTS, mask_threshold=wrong)
