"""Tiles are grouped by source image, and groups are never split between parts."""

from __future__ import annotations

from pathlib import Path

from foreign_sources import (
    clean,
    discs,
    picture,
    save,
    write_labels_at,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from lisa_micro.datasets.preparation.converting import Choices, convert
from lisa_micro.datasets.preparation.parts import choose_parts, tile_sources
from lisa_micro.datasets.records import read_records
from lisa_micro.io import read_micrograph


def test_tiles_are_recognised_by_their_names():
    assert tile_sources(["f_tile_1", "f-patch-02", "f_r1_c2", "f_x0_y512", "f (1)", "g_1", "g_2"]) == [
        *["f"] * 4,
        "f (1)",
        "g_1",
        "g_2",
    ]
    assert set(tile_sources([f"film_{y}_{x}" for y in (0, 256) for x in (0, 256, 512)])) == {"film"}
    assert len(set(tile_sources(["2024_03_11", "2024_04_12"]))) == 2


def test_tiles_and_crops_that_overlap_go_to_one_part(tmp_path):
    source = tmp_path / "in"
    large = picture(100, (256, 256))
    for k in range(6):
        save(source / f"images/other{k}.png", picture(k, (128, 128)))
    save(source / "images/alpha.png", large[:160, :160])
    save(source / "images/beta.png", large[60:220, 40:200])  # the same area under another name
    for k in range(3):
        save(source / f"images/film_tile{k}.png", picture(50 + k, (96, 96)))
    for image in (source / "images").iterdir():
        shape_ = read_micrograph(image).shape
        write_labels_at(source / f"labels/{image.stem}.tif", discs((40, 40, 15), (70, 60, 8), shape=shape_))
    for seed in range(4):
        done = convert(source, tmp_path / str(seed), Choices(validation=0.4, seed=seed))
        assert done.sources == 8
        split = {Path(r.file_name).stem: (r.split, r.source) for r in read_records(tmp_path / str(seed))}
        assert split["alpha"] == split["beta"]
        assert len({split[f"film_tile{k}"] for k in range(3)}) == 1
        assert 3 <= sum(part == "validation" for part, _ in split.values()) <= 6
        assert not any("overlap" in w or "one part" in w for w in clean(tmp_path / str(seed)))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.floats(0, 0.9), st.integers(0, 5))
def test_groups_are_never_split_and_training_is_never_empty(leaders, share, seed):
    grouped = [leaders.index(leader) for leader in leaders]
    parts = choose_parts([f"n{k}" for k in range(len(leaders))], grouped, share, seed)
    assert all(len({p for p, g in zip(parts, grouped, strict=True) if g == k}) == 1 for k in set(grouped))
    assert "train" in parts and (share > 0 or "validation" not in parts)
