"""Labels of all concepts, derived from those of the particles."""

from __future__ import annotations

import numpy as np
import pytest
from particle_ring import ring

from lisa_micro.datasets.derive import derive_truth, enclosed_background, from_semantic
from lisa_micro.types import InputError


def test_ring_has_a_pore():
    labels = ring()
    labels[2:8, 2:8] = 40
    truth = derive_truth(labels)
    assert {name: int(v.max()) for name, v in truth.items()} == {
        "particle": 9,
        "neck": 8,
        "pore": 1,
        "agglomerate": 1,
        "substrate": 1,
        "isolated": 1,
    }
    assert all(v.dtype == np.int32 and v.shape == labels.shape for v in truth.values())
    assert truth["pore"][100, 100] == 1 and truth["pore"][100, 5] == 0
    assert ((truth["pore"] > 0) <= (labels == 0)).all()
    assert ((truth["substrate"] > 0) == (labels == 0)).all()
    assert (truth["isolated"] > 0).sum() == 36
    assert ((truth["agglomerate"] > 0) >= ((labels > 0) & (labels < 40))).all()
    assert truth["agglomerate"][4, 4] == 0


@pytest.mark.parametrize(("gap", "closed"), [(1, True), (2, True), (4, False)])
def test_gap_in_a_ring(gap, closed):
    labels = np.zeros((80, 80), np.int32)
    labels[10:70, 10:70] = 1
    labels[25:55, 25:55] = 0
    labels[10:25, 40 : 40 + gap] = 0  # a slit from the pore to the outside
    labels[10:70, 40 + gap :][labels[10:70, 40 + gap :] == 1] = 2
    truth = derive_truth(labels)
    assert (truth["pore"].max() == 1) == closed
    if closed:
        assert (truth["pore"] > 0).sum() == pytest.approx(900, abs=4)


def test_agglomerate_takes_the_gap_pixels():
    labels = np.zeros((30, 60), np.int32)
    for k, left in enumerate((2, 14, 26, 50)):
        labels[10:20, left : left + 10] = k + 1
    truth = derive_truth(labels)
    assert truth["agglomerate"].max() == 1
    assert (truth["agglomerate"][12:18, 2:36] == 1).all()  # 2-px gaps included
    assert (truth["agglomerate"][:, 38:] == 0).all()
    assert truth["isolated"][15, 55] == 1 and (truth["isolated"] > 0).sum() == 100


def test_specks_and_border_background_are_no_pores():
    labels = np.ones((40, 40), np.int32)
    labels[5:8, 5:8] = 0  # 9 px
    labels[20:26, 20:26] = 0
    labels[0:10, 30:36] = 0  # open to the border of the image
    pore = derive_truth(labels)["pore"]
    assert pore.max() == 1 and pore[22, 22] == 1 and pore[6, 6] == 0 and pore[5, 32] == 0


def test_mask_without_instances():
    mask = np.zeros((30, 30), bool)
    mask[2:10, 2:10] = mask[15:25, 15:25] = mask[29, 29] = True
    mask[18:22, 18:22] = False
    truth = from_semantic(mask)
    assert set(truth) == {"particle", "pore", "substrate"}
    assert truth["particle"].max() == 3 and truth["pore"].max() == 1
    assert from_semantic(mask, min_area=2)["particle"].max() == 2
    with pytest.raises(InputError):
        from_semantic(mask[None])


def test_empty_truth():
    for shape in ((0, 0), (1, 1), (5, 9)):
        truth = derive_truth(np.zeros(shape, np.int32))
        assert [int(v.max(initial=0)) for k, v in truth.items() if k != "substrate"] == [0] * 5
    with pytest.raises(InputError):
        derive_truth(np.zeros((3, 3)))


def test_pores_are_found_despite_slightly_wide_gaps():
    rows, columns = np.mgrid[:60, :60]
    distance = np.hypot(columns - 30, rows - 30)
    ring = ((distance > 10) & (distance < 20)).astype(np.int32)
    assert enclosed_background(ring).max() == 1
    for gap, found in ((5, 1), (9, 0)):
        broken = ring.copy()
        broken[30 - gap // 2 : 31 + gap // 2, 30:] = 0
        assert derive_truth(broken)["pore"].max() == 0
        assert enclosed_background(broken).max() == found
    assert enclosed_background(np.zeros((20, 20), np.int32)).max() == 0
