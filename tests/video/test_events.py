"""Events and lineage of videos of discs with known truth: kinds, frames, and no duplicates."""

from __future__ import annotations

import numpy as np
import pytest

from lisa_micro.io import read_video
from lisa_micro.measure import find_necks, particle_properties
from lisa_micro.models.trackers.linking import Birth
from lisa_micro.protocols import Detections
from lisa_micro.video.ctc import ctc_rows
from lisa_micro.video.detectors import FunctionDetector
from lisa_micro.video.events import EventLog, Onset, event_table
from lisa_micro.video.track_run import link_detections

SHAPE = (96, 128)


def discs(*rows: tuple[float, float, float]) -> np.ndarray:
    """Labels of discs x, y, r; where two overlap, each pixel goes to the nearer centre."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    labels, best = np.zeros(SHAPE, np.int32), np.full(SHAPE, np.inf)
    for k, (cx, cy, r) in enumerate(rows, start=1):
        distance = np.hypot(x - cx, y - cy)
        mine = (distance <= r) & (distance < best)
        labels[mine], best[mine] = k, distance[mine]
    return labels


def tracked(frames: list[np.ndarray]):
    stream = read_video(np.zeros((len(frames), *SHAPE), np.float32))
    return link_detections(stream, FunctionDetector(lambda image, t: Detections(frames[t])))


def events_of(tracks, *kinds: str) -> list[tuple]:
    rows = tracks.events[tracks.events["kind"].isin(kinds)] if kinds else tracks.events
    return list(rows[["kind", "frame", "before", "after"]].itertuples(index=False, name=None))


def test_contact_neck_and_coalescence_are_timed():
    # the left disc approaches by 1 px per frame, touches, overlaps, and coalesces in frame 22
    frames = [discs((30 + min(t, 20), 40, 14), (76, 40, 14)) for t in range(22)]
    frames += [discs((61, 40, 18)) for _ in range(8)]
    gap = [76 - 30 - t - 28 for t in range(22)]
    touch = next(t for t in range(22) if len(find_necks(frames[t])))
    assert gap[touch] <= 3
    tracks = tracked(frames)
    ((_, begun, *who),) = events_of(tracks, "contact")
    # the row of pixels where discs first meet is too thin to count as contact
    assert touch <= begun <= touch + 2 and who == [(1, 2), (1, 2)]
    assert [kind for kind, *_ in events_of(tracks)] == ["contact", "neck", "coalesce"]
    assert events_of(tracks, "coalesce") == [("coalesce", 22, (1, 2), (3,))]
    assert tracks.lineage[3]["parents"] == [1, 2]
    assert tracks.lineage[1]["children"] == [3]
    assert tracks.lineage[1]["end"] == "coalesced"
    assert tracks.lineage[1]["last_frame"] == 21
    assert set(np.unique(tracks.labels[21])) == {0, 1, 2}
    assert set(np.unique(tracks.labels[22])) == {0, 3}
    assert tracks.events["uncertainty_frames"].tolist() == [1, 1, 1]


def test_a_contact_in_the_first_frame_has_no_onset():
    tracks = tracked([discs((30, 40, 14), (56, 40, 14))] * 6)
    contact = tracks.events[tracks.events["kind"] == "contact"].iloc[0]
    assert contact["frame"] == 0
    assert contact["uncertainty_frames"] == 0


def test_flicker_of_the_segmentation_is_not_an_event():
    apart = discs((30, 40, 14), (54, 40, 14))
    joined = (apart > 0).astype(np.int32)
    lost = np.where(apart == 1, 1, 0).astype(np.int32)
    frames = [apart] * 4 + [joined] + [apart] * 3 + [joined] * 2 + [apart] * 3 + [lost] + [apart] * 4
    tracks = tracked(frames)
    assert events_of(tracks) == [("contact", 0, (1, 2), (1, 2)), ("neck", 0, (1, 2), (1, 2))]
    assert tracks.identities == [1, 2]


def test_particles_joined_with_a_waist_remain_two():
    apart = discs((30, 40, 14), (54, 40, 14))
    frames = [apart] * 3 + [(apart > 0).astype(np.int32)] * 12
    tracks = tracked(frames)
    assert tracks.identities == [1, 2]
    assert not events_of(tracks, "coalesce")
    areas = tracks.tracks[tracks.tracks["frame"] == 14]["area_px2"]
    assert np.abs(areas - (apart == 1).sum()).max() < 0.1 * (apart == 1).sum()


def test_split_appear_leave_and_vanish():
    frames = []
    for t in range(24):
        rows = [(64, 20, 13)] if t < 8 else [(57 - t + 8, 20, 9), (71 + t - 8, 20, 9)]
        rows.append((108 + 2 * t, 70, 10))  # leaves on the right
        if t >= 5:
            rows.append((20, 80, 8))
        if t < 10:
            rows.append((20, 45, 8))
        frames.append(discs(*rows))
    tracks = tracked(frames)
    first = frames[0]
    middle, right, gone = (int(first[y, x]) for x, y in ((64, 20), (108, 70), (20, 45)))
    (split,) = events_of(tracks, "split")
    assert split[:3] == ("split", 8, (middle,))
    assert len(split[3]) == 2
    assert all(tracks.lineage[k]["parents"] == [middle] for k in split[3])
    (appear,) = events_of(tracks, "appear")
    assert appear[1] == 5
    (leave,) = events_of(tracks, "leave")
    assert leave[2] == (right,)
    assert leave[1] == next(t for t in range(24) if 108 + 2 * t - 10 > 127)
    assert events_of(tracks, "vanish") == [("vanish", 10, (gone,), ())]
    assert tracks.lineage[gone]["end"] == "vanished"
    assert tracks.lineage[right]["end"] == "left"


def test_a_contact_of_a_parent_is_not_reported_again_for_the_child():
    # three in a row; the two on the left coalesce, and remain in contact with the third
    frames = [discs((24, 40, 13), (48, 40, 13), (74, 40, 13))] * 5 + [discs((40, 40, 17), (70, 40, 14))] * 6
    tracks = tracked(frames)
    assert len(events_of(tracks, "contact")) == 2
    assert events_of(tracks, "coalesce") == [("coalesce", 5, (1, 2), (4,))]
    assert len(tracks.pair(3, 4)) == 6


def test_coalescence_in_the_last_frame_counts():
    frames = [discs((40, 40, 14), (66, 40, 14))] * 5 + [discs((53, 40, 18))]
    assert events_of(tracked(frames), "coalesce") == [("coalesce", 5, (1, 2), (3,))]


@pytest.mark.parametrize(
    ("pattern", "onset", "uncertainty"),
    [
        ("0001111", 3, 1),
        ("0100111", 4, 4),
        ("0101111", 1, 1),
        ("0100000", None, None),
        ("1111", 0, 0),
        ("00000000010000001", None, None),
    ],
)
def test_onset_needs_two_of_three(pattern, onset, uncertainty):
    watch = Onset()
    told = [watch.since for t, value in enumerate(pattern) if watch.update(t, value == "1")]
    assert told == ([] if onset is None else [onset])
    if onset is not None:
        assert watch.uncertainty() == uncertainty


def test_a_contact_may_start_again_after_it_ended():
    near, far = discs((30, 40, 12), (55, 40, 12)), discs((25, 40, 12), (60, 40, 12))
    log = EventLog()
    for t in range(30):
        labels = far if t < 5 or 10 <= t < 20 else near
        log.update(t, particle_properties(labels), find_necks(labels), {})
    log.finish(29)
    assert [(e.kind, e.frame) for e in log.events if e.kind == "contact"] == [("contact", 5), ("contact", 20)]


def test_event_table_in_units():
    log = EventLog()
    labels = discs((40, 40, 10))
    for t in range(3):
        log.update(t, particle_properties(labels), [], {})
    log.update(3, particle_properties(discs((40, 40, 10), (90, 40, 10))), [], {2: Birth(3)})
    log.finish(3)
    table = event_table(log.events, 0.5, 0.2)
    row = table.iloc[0]
    assert (row["kind"], row["frame"], row["time_s"], row["after"]) == ("appear", 3, 1.5, (2,))
    assert row["x_nm"] == pytest.approx(18, abs=0.1)
    assert np.isnan(event_table(log.events)["time_s"]).all()


def test_cell_tracking_rows_have_one_parent_and_no_gaps():
    import pandas as pd

    rows = [(t, 1, 100) for t in range(5)] + [(t, 2, 300) for t in range(5)]
    rows += [(t, 3, 400) for t in (5, 6, 9, 10)]
    tracks = pd.DataFrame(rows, columns=["frame", "identity", "area_px2"])
    result, of = ctc_rows(tracks, {1: {"parents": []}, 2: {"parents": []}, 3: {"parents": [1, 2]}})
    assert result == [(1, 0, 4, 0), (2, 0, 4, 0), (3, 5, 6, 2), (4, 9, 10, 3)]
    assert of[9, 3] == 4
