"""How the thresholds of the newer concepts are chosen."""

import numpy as np

from lisa_micro_finetune.calibrate import Seen
from lisa_micro_finetune.concepts.calibrate import (
    MASK_THRESHOLDS,
    Scored,
    cautious,
    choose_mask_threshold,
    mask_scores,
    thresholds,
)


def scored(concept, kind, sure, count=6):
    """Maps of a square of which the inner part has the probability ``sure`` and the outer one slightly less."""
    truth = np.zeros((60, 60), int)
    truth[10:50, 10:50] = 1
    out = []
    for k in range(count):
        mask = np.where(truth, sure - 0.01 * k, 0.02)
        mask[25:35, 25:35] = 0.9
        out.append(mask_scores(concept, kind, mask, truth))
    return out


def test_unsure_masks_get_a_lower_threshold_and_sure_ones_keep_theirs():
    low, score, before = choose_mask_threshold(scored("hole", "simulated", 0.42))
    assert low < 0.4 and score > 0.95 and before < 0.2
    assert choose_mask_threshold(scored("hole", "simulated", 0.9))[0] == 0.5


def test_a_threshold_moves_neither_for_few_micrographs_nor_for_grains_nor_by_chance():
    assert choose_mask_threshold(scored("hole", "simulated", 0.42, count=3))[0] == 0.5
    assert choose_mask_threshold(scored("grain", "simulated", 0.42))[0] == 0.5
    assert choose_mask_threshold([])[0] == 0.5
    rng = np.random.default_rng(0)
    noise = [Scored("hole", "a", 0.5 + 0.2 * rng.normal(size=len(MASK_THRESHOLDS))) for _ in range(4)]
    assert choose_mask_threshold(noise)[0] in MASK_THRESHOLDS


def test_sets_count_the_same_however_many_micrographs_they_have():
    up, down = np.linspace(0.4, 0.6, len(MASK_THRESHOLDS)), np.linspace(0.9, 0.1, len(MASK_THRESHOLDS))
    many = [Scored("hole", "large set", up) for _ in range(40)]
    assert choose_mask_threshold([*many, *[Scored("hole", "small set", down)] * 4])[0] < 0.5


def test_few_examples_make_a_presence_threshold_cautious():
    assert cautious(0.9, 60) == 0.9
    assert 0.75 < cautious(0.9, 5) < 0.8
    assert cautious(0.4, 5) == 0.4


def test_calibration_writes_only_what_differs():
    seen = [Seen("hole", True, 0.6, True)] * 6 + [Seen("hole", False, 0.1, True)] * 30
    found = thresholds({"presence_threshold": {"particle": 0.5}}, seen, scored("hole", "a", 0.42), 0.02)
    assert found["presence_threshold"]["particle"] == 0.5 and found["mask_threshold"].keys() == {"hole"}
    assert 0.1 < found["presence_threshold"]["hole"] <= 0.6
