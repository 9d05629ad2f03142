"""Questions about videos of discs with exact truth: selections, units, growth laws, and what cannot be measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from known_engine import KnownEngine

from lisa_micro.assistant.assistant import Assistant
from lisa_micro.assistant.language_engine import RawReply
from lisa_micro.io import read_video
from lisa_micro.language.program import parse_program
from lisa_micro.protocols import Detections
from lisa_micro.types import InputError
from lisa_micro.video.detectors import FunctionDetector
from lisa_micro.video.questions.answer import answer_program
from lisa_micro.video.questions.dialogue import draw_labels
from lisa_micro.video.questions.lineage import descendants, neck_lines
from lisa_micro.video.questions.values import VideoMeasurements
from lisa_micro.video.track_run import link_detections

SHAPE = (96, 128)
NM, SECONDS = 0.5, 2.0


def discs(*rows: tuple[float, float, float], shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Labels of discs x, y, r; where two overlap, each pixel goes to the nearer centre."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    labels, best = np.zeros(shape, np.int32), np.full(shape, np.inf)
    for k, (cx, cy, r) in enumerate(rows, start=1):
        distance = np.hypot(x - cx, y - cy)
        mine = (distance <= r) & (distance < best)
        labels[mine], best[mine] = k, distance[mine]
    return labels


def tracked(frames: list[np.ndarray], nm: float | None = NM, seconds: float | None = SECONDS, concept="particle"):
    stream = read_video(np.zeros((len(frames), *frames[0].shape), np.float32), nm, seconds)
    return link_detections(stream, FunctionDetector(lambda image, t: Detections(frames[t]), concept))


def ask(tracks, measure: str, noun: str = "particles", where: str = ""):
    clause = f"<where>{where}</where>" if where else ""
    reply = f"Of the {noun} [SEG]{clause} it is <value>{measure}</value>."
    return answer_program(VideoMeasurements(tracks), parse_program(reply))


def diameter(labels: np.ndarray, k: int) -> float:
    return NM * 2 * np.sqrt((labels == k).sum() / np.pi)


@pytest.fixture(scope="module")
def fates():
    """1 and 2 coalesce in frame 6 and then grow, in contact with 3 throughout; 4 shrinks and vanishes in frame 10; 5
    appears in frame 4."""
    frames = []
    for t in range(16):
        rows = [(24, 40, 13), (48, 40, 13), (74, 40, 13)] if t < 6 else [(40, 40, 17 + 0.2 * (t - 6)), (72, 40, 14)]
        rows += [(20, 80, 9 - 0.3 * t)] if t < 10 else []
        rows += [(110, 80, 7)] if t >= 4 else []
        frames.append(discs(*rows))
    return frames, tracked(frames)


def test_descendants_and_necks_after_coalescence(fates):
    _, tracks = fates
    (new,) = [k for k, entry in tracks.lineage.items() if len(entry["parents"]) == 2]
    assert descendants(tracks.lineage, [1]) == {1, new}
    assert descendants(tracks.lineage, [3, 99]) == {3, 99}
    lines = neck_lines(tracks.necks, tracks.lineage)
    of = {}
    for line, a, b in zip(lines, tracks.necks["particle_a"], tracks.necks["particle_b"], strict=True):
        of.setdefault((a, b), set()).add(line)
    # the neck between 2 and 3 continues between 3 and the new track; that between 1 and 2 has ended
    assert of[2, 3] == of[3, new] != of[1, 2]
    assert len(np.unique(lines)) == 2


def test_selected_tracks_continue_through_coalescence(fates):
    frames, tracks = fates
    answer = ask(tracks, "mean diameter change", where="nearest 1 to top left corner")
    assert answer.values[0].value == pytest.approx(diameter(frames[-1], 1) - diameter(frames[0], 1))
    assert answer.values[0].unit == "nm" and answer.targets[0].identities == (1,)
    assert any("Tracks that result from them are included" in note for note in answer.notes)
    small = ask(tracks, "mean diameter rate", where="smallest 1")
    sizes = [diameter(frames[t], int(frames[t][80, 20])) for t in range(10)]
    assert small.values[0].value == pytest.approx(np.polyfit(SECONDS * np.arange(10), sizes, 1)[0])
    assert small.values[0].unit == "nm/s" and small.values[0].text.endswith(" nm/s")
    assert any("frame 0 (0 s) to frame 9 (18 s)" in note for note in small.notes)


def test_changes_of_several_selected_tracks_are_individual(fates):
    frames, tracks = fates
    answer = ask(tracks, "mean diameter change", where="in left half; smallest 2")
    one = diameter(frames[9], int(frames[9][80, 20])) - diameter(frames[0], int(frames[0][80, 20]))
    # the middle one touches both neighbours
    other = diameter(frames[-1], 1) - diameter(frames[0], 2)
    assert answer.targets[0].identities == (2, 4)
    assert answer.values[0].value == pytest.approx((one + other) / 2)
    assert "individual changes" in answer.notes[0]


def test_statistics_without_a_constraint_are_of_all_instances(fates):
    frames, tracks = fates
    mean = [np.mean([diameter(f, k) for k in np.unique(f[f > 0])]) for f in frames]
    assert ask(tracks, "mean diameter change").values[0].value == pytest.approx(mean[-1] - mean[0])
    assert ask(tracks, "mean diameter rate").values[0].value == pytest.approx(
        np.polyfit(SECONDS * np.arange(16), mean, 1)[0]
    )
    covered = [100 * (f > 0).mean() for f in frames]
    change = ask(tracks, "area fraction change")
    assert change.values[0].value == pytest.approx(covered[-1] - covered[0])
    assert change.values[0].text.endswith("percentage points")
    touching = ask(tracks, "count change", where="in contact")
    assert touching.values[0].text == "-1"  # three at the start, two at the end
    assert "The constraint was applied to each frame separately." in touching.notes


def test_events_of_all_and_of_selected_tracks(fates):
    _, tracks = fates
    assert ask(tracks, "first coalescence time").values[0].value == 6 * SECONDS
    assert ask(tracks, "last disappearance time").values[0].text == "20 s"
    assert ask(tracks, "first appearance time").values[0].value == 4 * SECONDS
    assert ask(tracks, "coalescence count", where="in right half").values[0].value == 0
    assert ask(tracks, "coalescence count", where="in left half").values[0].value == 1
    assert ask(tracks, "appearance count", where="diameter > 100 nm").values[0].value == 0
    assert ask(tracks, "appearance count", where="in right half").values[0].value == 1
    left, right = (f"nearest 1 to top {side} corner" for side in ("left", "right"))
    assert ask(tracks, "first coalescence time", "necks", left).values[0].value == 6 * SECONDS
    assert ask(tracks, "coalescence count", "necks", right).values[0].value == 0
    never = ask(tracks, "first disappearance time", where="nearest 1 to top left corner")
    assert never.text.startswith("No disappearance of the particle nearest to the top left corner")
    assert any("1 coalesced after frame 5 (10 s)" in note for note in never.notes)
    contact = ask(tracks, "first contact time")
    assert contact.text == "No contact begins in this video."
    assert any("2 pairs were in contact in the first frame already" in note for note in contact.notes)
    assert ask(tracks, "contact count").values[0].value == 0


def test_without_a_moment_the_last_frame_counts_and_a_note_gives_the_first(fates):
    frames, tracks = fates
    answer = ask(tracks, "count")
    assert answer.values[0].value == len(np.unique(frames[-1])) - 1
    assert any("last frame, frame 15 (30 s); in the first frame it is 4." in note for note in answer.notes)
    assert any(note == "Frames count from 0, as in the tables." for note in answer.notes)
    assert any(f"{len(tracks.lineage)} tracks" in note for note in answer.notes)


# ------------------------------------------------------------------------------------------- necks, pores


@pytest.fixture(scope="module")
def pair():
    """Two discs of radius 36 px whose neck grows as x = 0.8 R ((t + 1) / 36)^(1/3)."""
    radius, n, frames, x = 36.0, 3.0, [], []
    for t in range(36):
        x.append(0.8 * radius * ((t + 1) / 36) ** (1 / n))
        half = np.sqrt(radius**2 - x[-1] ** 2)
        frames.append(discs((90 - half, 50, radius), (90 + half, 50, radius), shape=(100, 180)))
    return tracked(frames), np.array(x)


def test_a_neck_grows_at_the_rate_of_its_law(pair):
    tracks, x = pair
    rate = ask(tracks, "mean neck width rate", "neck", "largest 1")
    true = np.polyfit(SECONDS * np.arange(36), 2 * NM * x, 1)[0]
    assert rate.values[0].value == pytest.approx(true, rel=0.03)
    assert rate.targets[0].pairs == ((1, 2),)
    radius = ask(tracks, "mean neck radius rate", "necks")
    assert radius.values[0].value == pytest.approx(true / 2, rel=0.03)
    change = ask(tracks, "mean neck width change", "necks").values[0]
    assert change.value == pytest.approx(2 * NM * (x[-1] - x[0]), abs=2 * NM)
    ratio = ask(tracks, "mean neck ratio at frame 20", "necks").values[0]
    row = tracks.pair(1, 2).set_index("frame").loc[20]
    assert ratio.value == pytest.approx(row["x_over_R"]) and ratio.unit == ""
    none = ask(tracks, "mean neck width rate", "necks", "neck width > 900 nm")
    assert np.isnan(none.values[0].value) and none.text.startswith(
        "There are no necks that have a neck width above 900 nm"
    )


def test_the_exponent_is_that_of_the_law_with_and_without_a_frame_time(pair):
    tracks, _ = pair
    answer = ask(tracks, "growth exponent", "necks")
    fitted = tracks.findings.growth.iloc[0]
    assert answer.values[0].value == fitted["n"]
    assert fitted["n_low"] <= 3 <= fitted["n_high"]
    assert "1 of 1 necks could be fitted" in answer.notes[0] and "95 % interval" in answer.notes[0]
    assert ask(tracks, "growth exponent", "particles", "largest 1").values[0].value == fitted["n"]
    untimed = replace(tracks, frame_time_s=None)
    assert ask(untimed, "growth exponent", "necks").values[0].value == pytest.approx(3, rel=0.35)
    still = tracked([discs((30, 40, 14), (54, 40, 14))] * 8)
    refused = ask(still, "growth exponent", "necks")
    assert np.isnan(refused.values[0].value)
    assert refused.text == "The growth of the neck could not be fitted: x does not grow beyond its scatter."


def test_pores_and_agglomerates_from_labels():
    ring = [(64 + 24 * np.cos(a), 48 + 24 * np.sin(a), 13.2) for a in np.arange(6) * np.pi / 3]
    frames = [discs(*ring)] * 4 + [discs(*ring, (64, 48, 15))] * 4
    tracks = tracked(frames)
    assert [ask(tracks, f"count at frame {t}", "pores").values[0].value for t in (0, 7)] == [1, 0]
    assert ask(tracks, "count at end", "agglomerate").values[0].value == 1
    porosity = ask(tracks, "area fraction at start", "pores").values[0]
    assert 0 < porosity.value < 100 * np.pi * 15**2 / np.prod(SHAPE) and porosity.unit == "%"
    assert ask(tracks, "area fraction change", "pores").values[0].value == -porosity.value
    assert "Events are not determined for pores" in ask(tracks, "disappearance count", "pores").text


# ------------------------------------------------------------------------------------------- unknown facts


def test_without_pixel_size_and_frame_time():
    tracks = tracked([discs((30, 40, 12 + t), (100, 60, 8)) for t in range(6)], None, None)
    rate = ask(tracks, "max diameter rate")
    assert rate.values[0].unit == "px/frame" and rate.values[0].value == pytest.approx(2, rel=0.05)
    assert any("pixel size is unknown" in note for note in rate.notes)
    assert any("frame time is unknown" in note for note in rate.notes)
    later = tracked([discs((30, 40, 12), *([(100, 60, 8)] if t > 2 else [])) for t in range(8)], None, None)
    first = ask(later, "first appearance time")
    assert (first.values[0].value, first.values[0].unit, first.values[0].text) == (3, "frame", "frame 3")
    assert "give it when tracking" in " ".join(first.notes)
    assert "frame time is unknown" in ask(later, "count at 3 s").text


@pytest.mark.parametrize(
    ("measure", "noun", "says"),
    [
        ("count at frame 6", "necks", "There is no frame 6; the video has 6 frames, 0 to 5 (10 s)."),
        ("count at 2 min", "necks", "2 min is after the end"),
        ("count at end", "particles", "This video has tracks of necks, not of particles"),
        ("growth exponent", "necks", "no tracks of particles"),
        ("first contact time", "necks", "no tracks of particles"),
        ("mean neck ratio at end", "necks", "not defined"),
    ],
)
def test_a_video_of_which_the_necks_were_tracked(measure, noun, says):
    tracks = tracked([discs((30, 40, 6 + t), (100, 60, 8)) for t in range(6)], concept="neck")
    answer = ask(tracks, measure, noun)
    assert np.isnan(answer.values[0].value)
    assert says in answer.text
    assert ask(tracks, "count at end", "necks").values[0].value == 2


def test_a_single_frame_no_instance_and_a_selection():
    single = tracked([discs((30, 40, 12))])
    assert "single frame" in ask(single, "mean diameter rate").text
    assert ask(single, "count").values[0].value == 1
    empty = tracked([np.zeros(SHAPE, np.int32)] * 5)
    assert ask(empty, "count at end").values[0].value == 0
    for measure in ("mean diameter at end", "mean diameter change", "growth exponent", "first coalescence time"):
        answer = ask(empty, measure, "necks" if "growth" in measure else "particles")
        assert np.isnan(answer.values[0].value) and answer.text.endswith(".") and "no value" not in answer.text
    assert ask(empty, "mean diameter change", where="largest 1").text
    some = replace(single, record={"where": "largest 1"})
    assert any("Only the instances that 'largest 1' selects were tracked" in note for note in ask(some, "count").notes)


def test_one_of_two_values_fails():
    tracks = tracked([discs((30, 40, 12))] * 4)
    reply = parse_program("Of the particles [SEG]: <value>count at start</value> and <value>count at frame 9</value>.")
    answer = answer_program(VideoMeasurements(tracks), reply)
    assert answer.text == "There is 1 particle at the start."
    unread = answer_program(VideoMeasurements(tracks), parse_program("Of the particles [SEG]: <value>colour</value>."))
    assert "not understood" in unread.text and np.isnan(unread.values[0].value)


# ------------------------------------------------------------------------------------------- the conversation


class Turns(KnownEngine):
    """Writes one reply after the other, and records the frames and turns that it was given."""

    def __init__(self, *replies: str):
        super().__init__("")
        self.replies, self.recited, self.shown = list(replies), [], []

    def encode(self, pixels, tokens=True):
        self.shown.append(pixels.copy())
        return super().encode(pixels, tokens)

    def generate(self, cache, text, first):
        reply = self.replies.pop(0)
        return RawReply(reply, [], np.zeros((reply.count("[SEG]"), 4))), 0

    def prefill_turn(self, cache, text, reply, first):
        self.recited.append((text, reply))


def test_what_is_absent_from_the_shown_frame_is_searched_in_other_frames():
    ring = [(64 + 24 * np.cos(a), 48 + 24 * np.sin(a), 13.2) for a in np.arange(6) * np.pi / 3]
    frames = [discs(*ring[:5])] * 3 + [discs(*ring)] * 3
    tracks = tracked(frames)
    pixels = np.stack([np.where(f > 0, 0.2 + 0.1 * t, 0.9) for t, f in enumerate(frames)])
    engine = Turns(
        "The particles are [SEG].",
        "<absent>There are no pores in this micrograph.",
        "The number of pores [SEG] is <value>count at end</value>.",
        "<absent>There are no cats in this micrograph.",
    )
    chat = tracks.chat(Assistant(engine, "known", ""), pixels)
    assert len(chat.ask("follow the particles").targets[0].identities) == len(tracks.lineage)
    assert len(engine.shown) == 1
    answer = chat.ask("how many pores are there at the end?")
    assert answer.text == "There is 1 pore at the end." and len(engine.shown) == 2
    assert engine.recited == [("follow the particles", "The particles are [SEG].")]
    cats = chat.ask("and cats?")
    assert cats.declined and cats.text == "There are no cats in frame 3, with which the question was read."
    assert len(engine.shown) == 2
    none = Turns("<absent>There are no agglomerates in this micrograph.")
    alone = tracked([discs((30, 40, 12))] * 4)
    assert alone.ask(Assistant(none, "known", ""), "clusters?").text == "There are no agglomerates in any frame."


def test_videos_that_cannot_be_used():
    tracks = tracked([discs((30, 40, 12))] * 4)
    assistant = Assistant(KnownEngine("The particles are [SEG]."), "known", "")
    with pytest.raises(InputError, match="same video"):
        tracks.chat(assistant, np.zeros((4, 10, 10), np.float32))
    with pytest.raises(InputError):
        tracks.chat(assistant, "no such file.mp4")
    late = tracked([np.zeros(SHAPE, np.int32)] * 3 + [discs((30, 40, 12))] * 4)
    with pytest.raises(InputError, match="ends before frame 3"):
        late.ask(assistant, "how many?", np.zeros((2, *SHAPE), np.float32))
    picture = draw_labels(tracks.labels[0])
    assert picture.shape == SHAPE and picture[40, 30] < 0.3 < 0.7 < picture[90, 120]
