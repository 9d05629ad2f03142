"""Tracking of videos with known truth: track IDs, files, resuming after an interruption, and invalid input."""

from __future__ import annotations

import json
from dataclasses import fields
from types import FunctionType

import numpy as np
import pandas as pd
import pytest
import tifffile

import lisa_micro
from lisa_micro.cli.main import main
from lisa_micro.io import LabelStack, read_video
from lisa_micro.io.video import VideoStream
from lisa_micro.measure.waists import body_gap, divide, waist_ratio
from lisa_micro.models.trackers.linking import link, moved
from lisa_micro.models.trackers.overlap import OverlapTracker
from lisa_micro.protocols import Capabilities, Detections, Tracker
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.sim import simulate_sintering
from lisa_micro.types import InputError, Micrograph
from lisa_micro.video.checkpoint import CHECKPOINT_FILE, Checkpoint, SavedFrame
from lisa_micro.video.detectors import FunctionDetector, IndependentDetector
from lisa_micro.video.drift import Drift
from lisa_micro.video.track import TrackKeywords, TrackOptions, track
from lisa_micro.video.track_run import RunOptions, link_detections
from lisa_micro.video.tracks import Tracks

FRAMES = 14


def disc(shape, x, y, r):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(columns - x, rows - y) <= r


@pytest.fixture(scope="module")
def video():
    return simulate_sintering(
        seed=7_000_100, frames=FRAMES, shape=(160, 160), n_particles=8, radius_nm=2.4, mechanism="viscous flow"
    )


class Shuffled(IndependentDetector):
    """True labels, renumbered in each frame; may be interrupted at one of them."""

    def __init__(self, video, stop: int | None = None):
        super().__init__()
        self.video, self.stop = video, stop
        self.asked: list[int] = []

    def detect(self, frame: Micrograph, number: int) -> Detections:
        t = number
        if t == self.stop:
            raise KeyboardInterrupt
        self.asked.append(t)
        if t == 2:
            self.state.notes.append("A remark of frame 2.")
        labels = self.video.labels(t)
        order = np.random.default_rng(t).permutation(labels.max()) + 1
        return Detections(np.concatenate([[0], order]).astype(np.int32)[labels], None, 0.9, 0.8)


def linked(video, detect, request=None, tracker=None, **options):
    """Link the detections of a detector or a function."""
    detector = FunctionDetector(detect) if isinstance(detect, FunctionType) else detect
    stream = video if isinstance(video, VideoStream) else read_video(video)
    return link_detections(stream, detector, RunOptions(**options), tracker=tracker, request=request)


# ------------------------------------------------------------------------------------------------ geometry


def test_waist_of_two_discs():
    shape = (60, 100)
    one, other = disc(shape, 30, 30, 15), disc(shape, 59, 30, 15)
    assert waist_ratio(one, other & ~one) < 0.5
    body = disc(shape, 45, 30, 20)
    left = body & (np.arange(100) < 45)
    assert waist_ratio(left, body & ~left) == 1
    assert waist_ratio(one, disc(shape, 80, 30, 10)) == 0
    assert waist_ratio(one, np.zeros(shape, bool)) == 0


def test_contours_that_bulge_towards_each_other_are_not_a_contact():
    shape = (80, 120)
    labels = np.where(disc(shape, 35, 40, 20), 1, 0) + np.where(disc(shape, 83, 40, 20), 2, 0)  # 7 px apart
    assert body_gap(labels, 1, 2) == pytest.approx(7, abs=1)
    bridged = labels.copy()
    bridged[36:45, 53:59], bridged[36:45, 59:66] = 1, 2
    assert body_gap(bridged, 1, 2) > 3.5
    met = np.where(disc(shape, 35, 40, 20), 1, 0)
    met[disc(shape, 76, 40, 20) & (met == 0)] = 2
    assert body_gap(met, 1, 2) < 1.5
    assert body_gap(labels, 1, 9) == np.inf
    frames = np.zeros((6, *shape), np.float32)

    def detect(image, t):
        return Detections((bridged if t < 3 else met).astype(np.int32))

    tracks = linked(read_video(frames, 1.0, 1.0), detect)
    assert tracks.events.loc[tracks.events["kind"] == "contact", "frame"].tolist() == [3]
    assert tracks.necks["frame"].tolist() == [3, 4, 5]


def test_divide_finds_the_waist():
    shape = (60, 100)
    one, other = disc(shape, 30, 30, 15), disc(shape, 57, 30, 15)
    seeds = np.zeros(shape, np.int32)
    seeds[disc(shape, 27, 30, 12)], seeds[disc(shape, 61, 30, 12)] = 7, 9
    parts = divide(one | other, seeds)
    assert set(np.unique(parts)) == {0, 7, 9}
    assert ((parts == 7) ^ (one & ~other)).mean() < 0.03
    assert (divide(one, np.zeros(shape, np.int32)) == 0).all()


def test_link_is_one_to_one_and_by_overlap():
    expected = np.zeros((40, 60), np.int32)
    expected[5:15, 5:15], expected[5:15, 15:25], expected[30:38, 50:58] = 4, 6, 9
    found = np.zeros((40, 60), np.int32)
    found[5:15, 8:18], found[5:15, 18:28] = 1, 2
    links = link(expected, found)
    pairs = {(int(links.expected.ids[i]), int(links.found.ids[j])) for i, j in links.pairs}
    assert pairs == {(4, 1), (6, 2)}
    assert (moved(found, (-3, 0))[5:15, 5:15] == 1).all()
    assert not moved(found, (100, 0)).any()


# ------------------------------------------------------------------------------------------------ the tracker


def test_overlap_keeps_the_track_ids_of_the_caller():
    tracker = OverlapTracker()
    assert isinstance(tracker, Tracker)
    shape = (50, 90)
    first = np.where(disc(shape, 20, 25, 9), 17, 0) + np.where(disc(shape, 60, 25, 9), 5, 0)
    frame = np.zeros(shape, np.float32)
    tracker.reset(frame, first)
    for t in range(1, 6):
        labels = np.where(disc(shape, 20 + 3 * t, 25, 9), 1, 0) + np.where(disc(shape, 60 + t, 25, 9), 2, 0)
        out = tracker.step(frame, labels)
        assert out.dtype == np.int32
        assert out[25, 20 + 3 * t] == 17
        assert out[25, 60 + t] == 5
    carried = tracker.step(frame)
    assert set(np.unique(carried)) == {0, 5, 17}


def test_overlap_starts_a_new_track_after_coalescence():
    tracker = OverlapTracker()
    shape = (60, 100)
    first = np.where(disc(shape, 38, 30, 13), 1, 0) + np.where(disc(shape, 63, 30, 11), 2, 0)
    frame = np.zeros(shape, np.float32)
    tracker.reset(frame, first)
    out = tracker.step(frame, disc(shape, 48, 30, 17).astype(np.int32))
    assert set(np.unique(out)) == {0, 3}
    assert tracker.births[3].parents == (1, 2)


def test_overlap_survives_a_jump_of_the_whole_image():
    tracker = OverlapTracker()
    frame = np.zeros((120, 160), np.float32)
    spots = [(30, 30), (80, 35), (50, 80), (110, 85)]

    def image(shift):
        return sum(np.where(disc(frame.shape, x + shift, y, 9), k, 0) for k, (x, y) in enumerate(spots, start=1))

    tracker.reset(frame, image(0))
    out = tracker.step(frame, image(12)[::1])
    assert [out[y, x + 12] for x, y in spots] == [1, 2, 3, 4]
    out = tracker.step(frame, image(24))
    assert [out[y, x + 24] for x, y in spots] == [1, 2, 3, 4]


def test_a_missing_particle_gets_its_track_id_back_within_the_gap():
    tracker = OverlapTracker(gap=3)
    shape = (40, 40)
    labels, frame = disc(shape, 20, 20, 8).astype(np.int32) * 6, np.zeros(shape, np.float32)
    nothing = np.zeros(shape, np.int32)
    tracker.reset(frame, labels)
    for _ in range(3):
        assert not tracker.step(frame, nothing).any()
    assert tracker.step(frame, labels).max() == 6
    for _ in range(4):
        tracker.step(frame, nothing)
    assert tracker.step(frame, labels).max() == 7


@pytest.mark.parametrize(
    ("labels", "message"),
    [(np.zeros((5, 6), int), "size"), (np.full((8, 8), -1), "must be in"), (np.full((8, 8), 0.5), "whole numbers")],
)
def test_overlap_refuses_invalid_labels(labels, message):
    tracker = OverlapTracker()
    frame = np.zeros((8, 8), np.float32)
    with pytest.raises(InputError, match="reset"):
        tracker.step(frame, np.zeros((8, 8), int))
    tracker.reset(frame, np.zeros((8, 8), int))
    with pytest.raises(InputError, match=message):
        tracker.step(frame, labels)
    with pytest.raises(InputError):
        OverlapTracker(confirm=0)


# ------------------------------------------------------------------------------------------------ drift


def test_drift_is_measured_to_a_fraction_of_a_pixel():
    from scipy import ndimage

    rng = np.random.default_rng(3)
    scene = ndimage.gaussian_filter(rng.normal(size=(260, 260)), 4) * 30
    drift, errors = Drift(), []
    for t in range(12):
        where = np.array([0.8 * t, -0.45 * t])  # x, y
        frame = ndimage.shift(scene, where[::-1], order=3, mode="wrap")[20:180, 20:180]
        errors.append(drift.step(frame + rng.normal(0, 0.5, frame.shape)) - where)
    assert np.abs(errors).max() < 0.3


def test_drift_is_zero_without_structure():
    drift = Drift()
    for frame in (np.zeros((20, 30)), np.full((20, 30), np.nan), np.ones((20, 30))):
        assert drift.step(frame).tolist() == [0, 0]
    with pytest.raises(InputError):
        drift.step(np.zeros((4, 4)))


# ------------------------------------------------------------------------------------------------ track runs


def truth_matches(video, tracks) -> None:
    """Every true particle has one track ID in all frames, and no two share one."""
    names: dict[int, set[int]] = {}
    for t in range(len(tracks)):
        true, labels = video.labels(t), tracks.labels[t]
        for k in np.unique(true[true > 0]).tolist():
            names.setdefault(k, set()).add(int(np.bincount(labels[true == k]).argmax()))
    assert all(len(found) == 1 for found in names.values())
    assert len({next(iter(found)) for found in names.values()}) == len(names)
    true_events = [e["frame"] for e in video.events if e["kind"] == "coalesce"]
    assert tracks.events.loc[tracks.events["kind"] == "coalesce", "frame"].tolist() == true_events


def test_true_labels_give_true_tracks(video):
    tracks = linked(video, Shuffled(video))
    truth_matches(video, tracks)
    assert len(tracks) == FRAMES
    assert tracks.pixel_size_nm == video.pixel_size_nm
    assert tracks.tracks["time_s"].max() == FRAMES - 1
    assert tracks.counts().tolist() == [len(np.unique(video.labels(t))) - 1 for t in range(FRAMES)]
    one = tracks.track(tracks.identities[0])
    assert one.boxes.shape == (len(one.frames), 4)
    with pytest.raises(InputError, match="no track 999"):
        tracks.track(999)


def test_an_interrupted_run_resumes_with_the_same_result(video, tmp_path):
    whole = linked(video, Shuffled(video), out=tmp_path / "whole", drift=True, request={"prompt": "a"})
    with pytest.raises(KeyboardInterrupt):
        linked(video, Shuffled(video, stop=9), out=tmp_path / "cut", drift=True, request={"prompt": "a"})
    assert [path.name for path in (tmp_path / "cut").iterdir()] == [CHECKPOINT_FILE]
    with (tmp_path / "cut" / CHECKPOINT_FILE).open("ab") as file:
        file.write(b"half of a record")
    with pytest.raises(InputError, match="interrupted run; continue it with --resume"):
        linked(video, Shuffled(video), out=tmp_path / "cut", request={"prompt": "a"})
    with pytest.raises(InputError, match="another request"):
        linked(video, Shuffled(video), out=tmp_path / "cut", resume=True, request={"prompt": "b"})
    detector = Shuffled(video)
    tracks = linked(video, detector, out=tmp_path / "cut", drift=True, resume=True, request={"prompt": "a"})
    assert detector.asked == list(range(9, FRAMES))
    assert tracks.notes == whole.notes
    assert "A remark of frame 2." in tracks.notes
    assert tracks.record["frames_resumed"] == 9
    for name in ("tracks.csv", "events.csv", "necks.csv", "lineage.json", "drift.csv", "ctc/res_track.txt"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    for one, other in zip(tracks.labels, whole.labels, strict=True):
        np.testing.assert_array_equal(one, other)
    # a complete run is read back and not repeated
    again = linked(video, Shuffled(video, stop=0), out=tmp_path / "cut", resume=True, request={"prompt": "a"})
    pd.testing.assert_frame_equal(again.events, whole.events)
    with pytest.raises(InputError, match="already holds"):
        linked(video, Shuffled(video), out=tmp_path / "cut")


def test_files_open_elsewhere_and_read_back(video, tmp_path):
    tracks = linked(video, Shuffled(video))
    tracks.save(tmp_path)
    assert tracks.record["events"]["coalesce"] >= 1
    with tifffile.TiffFile(tmp_path / "labels.tif") as file:
        assert file.asarray().shape == (FRAMES, 160, 160)
        assert file.imagej_metadata["unit"] == "nm"
        assert file.imagej_metadata["finterval"] == 1.0
    back = Tracks.load(tmp_path)
    pd.testing.assert_frame_equal(back.events, tracks.events)
    pd.testing.assert_frame_equal(back.necks, tracks.necks)
    assert back.lineage == tracks.lineage
    assert back.shape == tracks.shape
    masks = sorted((tmp_path / "ctc").glob("mask*.tif"))
    assert len(masks) == FRAMES
    rows = np.loadtxt(tmp_path / "ctc" / "res_track.txt", dtype=int)
    for t, path in enumerate(masks):
        expected = {int(row[0]) for row in rows if row[1] <= t <= row[2]}
        assert set(np.unique(tifffile.imread(path)).tolist()) - {0} == expected
    assert (rows[:, 3] > 0).sum() == tracks.record["events"]["coalesce"]
    with pytest.raises(InputError, match="--force"):
        tracks.save(tmp_path)
    (tmp_path / "lineage.json").unlink()
    with pytest.raises(InputError, match="does not hold"):
        Tracks.load(tmp_path)


def test_only_selected_instances_are_tracked(video):
    def detect(image, t):
        labels = video.labels(t)
        areas = np.bincount(labels.ravel())[1:]
        return Detections(labels, () if t == 0 else (int(areas.argmax()) + 1,))

    tracks = linked(video, detect)
    chosen = [k for k, entry in tracks.lineage.items() if not entry["parents"]]
    assert len(chosen) == 1
    assert not tracks.labels[0].any()
    assert tracks.tracks["frame"].min() == 1
    assert any("selects 1 instance in frame 1" in note for note in tracks.notes)
    assert all(set(entry["parents"]) & set(tracks.lineage) for k, entry in tracks.lineage.items() if k not in chosen)


def test_tracks_start_at_the_first_detection_and_a_note_says_so(video):
    tracks = linked(video, lambda image, t: Detections(video.labels(t) if t > 3 else np.zeros((160, 160), np.int32)))
    assert any("before frame 4" in note for note in tracks.notes)
    assert tracks.tracks["frame"].min() == 4
    nothing = link_detections(
        read_video(video), FunctionDetector(lambda image, t: Detections(np.zeros((160, 160), np.int32)))
    )
    assert any("in any frame" in note for note in nothing.notes)
    assert len(nothing.tracks) == len(nothing.events) == 0
    assert "identity" in nothing.tracks


class Squares:
    """Answers as an assistant does, with one moving square."""

    preset, weights_sha256, device = "stand-in", "12" * 32, "cpu"
    capabilities = Capabilities(words=True)

    def __init__(self):
        self.calls = 0

    def ask(self, image: Micrograph, prompt: str) -> Answer:
        labels = np.zeros(image.shape, np.int32)
        labels[5:15, 3 + self.calls : 13 + self.calls] = 1
        self.calls += 1
        return Answer("One.", (Segmentation(labels, 0.9, 0.8, "particle"),), prompt)


def test_any_assistant_with_words_and_invalid_requests(tmp_path):
    frames = np.zeros((5, 30, 40), np.float32)
    tracks = track(Squares(), frames, "the square", pixel_size_nm=0.5, frame_time_s=2.0)
    assert tracks.identities == [1]
    assert tracks.tracks["centroid_x_nm"].diff().dropna().tolist() == [0.5] * 4
    assert tracks.tracks["time_s"].tolist() == [0, 2, 4, 6, 8]
    untimed = track(Squares(), frames, "the square")
    assert untimed.tracks["time_s"].isna().all()
    assert any("frame time" in note for note in untimed.notes)
    square = np.eye(40, dtype=np.int32)[:30]
    for options in ({"words": ""}, {"words": "a", "boxes": [[1, 1, 5, 5]]}, {"words": "a", "labels": square}):
        with pytest.raises(InputError, match="exactly one of the four"):
            track(Squares(), frames, **options)
    with pytest.raises(InputError, match="Unknown tracker 'sam'"):
        track(Squares(), frames, "a", tracker="sam")
    with pytest.raises(InputError, match="frame time"):
        track(Squares(), frames, "a", frame_time_s=0)
    with pytest.raises(InputError, match="pass its results folder as out"):
        track(Squares(), frames, "a", resume=True)


def test_options_are_checked_by_name_and_are_those_of_the_dataclass():
    with pytest.raises(InputError, match="Unknown option 'avarage' of track; choose from average, boxes, checkpoint"):
        track(Squares(), np.zeros((3, 30, 40), np.float32), "the square", avarage=2)
    assert set(TrackKeywords.__annotations__) == {field.name for field in fields(TrackOptions)}


def test_tracks_show_themselves(video):
    tracks = linked(video, Shuffled(video))
    shown = repr(tracks)
    assert shown.startswith(f"<Tracks: {len(tracks.lineage)} tracks in {FRAMES} frames of 160 x 160 px, events: ")
    assert "coalesce" in shown and len(shown) < 150
    page = tracks._repr_html_()
    counts = tracks.counts()
    assert f"{counts[0]} and {counts[-1]}" in page and "<table" in page and "coalesce" in page
    assert "data:image/png;base64," in page and len(page) < 100_000
    assert tracks.summary()["coalesce"] == (tracks.events["kind"] == "coalesce").sum()


def test_another_tracker_predicts_the_positions():
    class Teleport:
        """Predicts that everything moves by 60 px."""

        name, weights_sha256 = "teleport", ""

        def reset(self, frame, labels):
            self.labels, self.told = labels, 0

        def step(self, frame, labels=None):
            if labels is None:
                self.labels = moved(self.labels, (60, 0))
            else:
                self.labels, self.told = labels, self.told + 1
            return self.labels

    shape = (40, 200)
    frames = [np.where(disc(shape, 20 + 60 * t, 20, 8), 1, 0).astype(np.int32) for t in range(3)]
    stream = np.zeros((3, *shape), np.float32)
    assert linked(stream, lambda image, t: Detections(frames[t])).identities != [1]
    helper = Teleport()
    assert link_detections(
        read_video(stream), FunctionDetector(lambda image, t: Detections(frames[t])), tracker=helper
    ).identities == [1]
    assert helper.told == 0


class Recalling:
    """Returns the truth of a video frame by frame; may be interrupted at one of them."""

    name, weights_sha256 = "recalling", "12" * 32

    def __init__(self, video, stop: int | None = None):
        self.video, self.stop = video, stop

    def reset(self, frame, labels):
        self.at, self.names = 0, labels

    def step(self, frame, labels=None):
        self.at += 1
        if self.at == self.stop:
            raise KeyboardInterrupt
        own = np.isin(self.video.labels(self.at), np.unique(self.names))
        return np.where(own, self.video.labels(self.at), 0).astype(np.int32)


def test_labels_of_the_first_frame_are_propagated(video, tmp_path):
    first = video.labels(0)
    chosen = np.unique(first)[[1, 3, 4]]
    given = np.where(np.isin(first, chosen), first, 0)
    whole = track(None, video, labels=given, tracker=Recalling(video), out=tmp_path / "whole")
    assert set(chosen) <= set(whole.identities) and whole.record["tracker"] == "recalling"
    np.testing.assert_array_equal(whole.labels[0], given)
    alive = [k for k in chosen if (video.labels(3) == k).any()]
    assert alive and all(((whole.labels[3] == k) == (video.labels(3) == k)).all() for k in alive)
    # a resumed run processes all frames again, since the memory of the tracker is not saved
    with pytest.raises(KeyboardInterrupt):
        track(None, video, labels=given, tracker=Recalling(video, stop=6), out=tmp_path / "cut")
    with pytest.raises(InputError, match="another request"):
        track(None, video, labels=first, tracker=Recalling(video), out=tmp_path / "cut", resume=True)
    again = track(None, video, labels=given, tracker=Recalling(video), out=tmp_path / "cut", resume=True)
    pd.testing.assert_frame_equal(again.tracks, whole.tracks)
    for refused, why in ((0 * first, "have no instance"), (first[1:], "frame's size"), (first + 0.5, "whole numbers")):
        with pytest.raises(InputError, match=why):
            track(None, video, labels=refused, tracker=Recalling(video))
    with pytest.raises(InputError, match="'overlap' cannot propagate"):
        track(None, video, labels=given, tracker="overlap")


def test_a_checkpoint_keeps_complete_records_only(tmp_path):
    labels = np.arange(12, dtype=np.int32).reshape(3, 4)
    checkpoint = Checkpoint(tmp_path, {"prompt": "a"}, resume=False)
    checkpoint.append(SavedFrame(Detections(labels, (2, 5), 0.5, 0.25), ["A note."], {"tried": 3}))
    checkpoint.append(SavedFrame(Detections(labels + 1)))
    checkpoint.close()
    size = (tmp_path / CHECKPOINT_FILE).stat().st_size
    with (tmp_path / CHECKPOINT_FILE).open("r+b") as file:
        file.truncate(size - 3)
    checkpoint = Checkpoint(tmp_path, {"prompt": "a"}, resume=True)
    assert checkpoint.saved == 1
    frame = checkpoint.read(0)
    assert (frame.detections.selected, frame.detections.score, frame.detections.presence) == ((2, 5), 0.5, 0.25)
    assert frame.notes == ["A note."] and frame.memory == {"tried": 3}
    np.testing.assert_array_equal(frame.detections.labels, labels)
    checkpoint.append(SavedFrame(Detections(labels)))
    checkpoint.close()
    again = Checkpoint(tmp_path, {"prompt": "a"}, resume=True)
    assert again.saved == 2 and again.read(1).detections.selected is None and again.read(1).memory is None


# ------------------------------------------------------------------------------------------------ command line


def run(*arguments) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code or 0


def test_track_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lisa_micro, "load_assistant", lambda preset, **how: Squares(), raising=False)
    tifffile.imwrite(tmp_path / "v.tif", np.zeros((4, 30, 40), np.uint8), photometric="minisblack")
    out = tmp_path / "out"
    assert run("track", tmp_path / "v.tif", "the square", "--out", out, "--frame-time", 0.5, "--pixel-size", 2) == 0
    printed = capsys.readouterr().out
    assert "1 track in 4 frames" in printed
    assert "labels.tif" in printed
    record = json.loads((out / "answer.json").read_text())
    assert record["video"]["frame_time_origin"] == record["video"]["pixel_size_origin"] == "user"
    assert len(LabelStack(out / "labels.tif")) == 4
    assert run("track", tmp_path / "v.tif", "the square", "--out", out) == 2
    assert "already holds" in capsys.readouterr().err
    assert run("track", tmp_path / "no.mp4", "a", "--out", tmp_path / "o2") == 2
    assert run("track", tmp_path / "v.tif", "a", "--out", tmp_path / "o3", "--frame-time", 0) == 2
    assert "frame time" in capsys.readouterr().err
    assert run("track", tmp_path / "v.tif", "--out", tmp_path / "o4") == 2


# ------------------------------------------------------------------------------------------------ with the model


@pytest.mark.slow
def test_words_are_read_once_and_resume_needs_no_words(tmp_path, monkeypatch):
    assistant = lisa_micro.load_assistant("micro", "cpu")
    video = simulate_sintering(seed=7_000_101, frames=5, shape=(192, 192), n_particles=7, radius_nm=3.0)
    written = []
    write = assistant.engine.generate
    monkeypatch.setattr(assistant.engine, "generate", lambda *a, **k: written.append(1) or write(*a, **k))
    whole = track(assistant, video, "segment all particles", out=tmp_path / "a")
    assert len(written) == 1
    assert len(whole.identities) >= 5
    encode, calls = assistant.engine.encode, []

    def killed(*arguments, **options):
        calls.append(1)
        if len(calls) > 4:
            raise KeyboardInterrupt
        return encode(*arguments, **options)

    monkeypatch.setattr(assistant.engine, "encode", killed)
    with pytest.raises(KeyboardInterrupt):
        track(assistant, video, "segment all particles", out=tmp_path / "b")
    monkeypatch.setattr(assistant.engine, "encode", encode)
    written.clear()
    track(assistant, video, "segment all particles", out=tmp_path / "b", resume=True)
    assert not written
    for name in ("tracks.csv", "events.csv", "lineage.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.slow
def test_boxes_select_the_particles_to_track():
    assistant = lisa_micro.load_assistant("micro", "cpu")
    video = simulate_sintering(seed=7_000_101, frames=3, shape=(192, 192), n_particles=7, radius_nm=3.0)
    labels = video.labels(0)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    rows, columns = np.nonzero(labels == areas.argmax())
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    tracks = track(assistant, video, boxes=[box])
    assert len([k for k, entry in tracks.lineage.items() if not entry["parents"]]) == 1
    found = tracks.labels[0] > 0
    true = labels == areas.argmax()
    assert (found & true).sum() / (found | true).sum() > 0.8


def test_the_overlap_tracker_is_built_by_name():
    tracker = lisa_micro.build_tracker("overlap", confirm=2)
    assert isinstance(tracker, Tracker) and tracker.confirm == 2
    for wrong in ({"checkpoint": "weights.pt"}, {"gop": 3}, {"confirm": 0}):
        with pytest.raises(InputError):
            lisa_micro.build_tracker("overlap", **wrong)
