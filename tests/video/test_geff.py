"""Tracks as a graph: what coalesces keeps both its parents."""

import pandas as pd
import pytest

from lisa_micro.video.geff import write_geff
from lisa_micro.video.track_data import TrackData

COLUMNS = ["frame", "identity", "centroid_x_px", "centroid_y_px", "area_px2"]


def test_a_coalescence_has_two_parents_and_axes_have_their_units(tmp_path):
    geff = pytest.importorskip("geff")
    rows = [(f, 1, 10.0 + f, 5.0, 20.0) for f in range(3)] + [(f, 2, 30.0, 5.0, 10.0) for f in range(3)]
    rows += [(f, 3, 20.0, 5.0, 30.0) for f in (3, 4)]
    lineage = {1: {"parents": []}, 2: {"parents": []}, 3: {"parents": [1, 2]}}
    table, empty = pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame()
    tracks = TrackData(table, empty, empty, lineage, [None] * 5, (50, 50), 2.0, 0.5)
    path = write_geff(tracks, tmp_path / "tracks.geff")
    write_geff(tracks, path)  # an earlier one is replaced
    graph, metadata = geff.read(path)
    merged = [node for node in graph if graph.in_degree(node) == 2]
    assert graph.number_of_nodes() == 8 and graph.number_of_edges() == 7
    assert [graph.nodes[node]["track"] for node in merged] == [3]
    assert sorted(graph.nodes[parent]["track"] for parent in graph.predecessors(merged[0])) == [1, 2]
    assert [axis.scale for axis in metadata.axes] == [0.5, 2.0, 2.0]
    assert [axis.scaled_unit for axis in metadata.axes] == ["second", "nanometer", "nanometer"]
