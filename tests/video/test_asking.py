"""Questions about a tracked video: every number in an answer equals the simulated one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_engine import KnownEngine

import lisa_micro
from lisa_micro.assistant.assistant import Assistant
from lisa_micro.assistant.language_engine import RawReply
from lisa_micro.cli.main import main
from lisa_micro.io import read_video
from lisa_micro.language.program import parse_program
from lisa_micro.protocols import Capabilities, Detections
from lisa_micro.sim import simulate_sintering
from lisa_micro.types import InputError
from lisa_micro.video.detectors import FunctionDetector
from lisa_micro.video.questions.answer import answer_program
from lisa_micro.video.questions.dialogue import answer_question
from lisa_micro.video.questions.values import VideoMeasurements
from lisa_micro.video.track_run import link_detections

FRAMES = 40


@pytest.fixture(scope="module")
def sintering():
    return simulate_sintering(
        seed=11, frames=FRAMES, shape=(256, 256), n_particles=14, radius_nm=2.6, mechanism="viscous flow"
    )


@pytest.fixture(scope="module")
def tracks(sintering):
    return link_detections(
        read_video(sintering), FunctionDetector(lambda image, t: Detections(sintering.labels(t), None, 0.9, 0.9))
    )


@pytest.fixture(scope="module")
def measuring(tracks):
    return VideoMeasurements(tracks)


def value_of(measuring, measure: str, target: str = "particles [SEG]"):
    answer = answer_program(measuring, parse_program(f"The answer for {target} is <value>{measure}</value>."))
    return answer.values[0], answer


def count(sintering, t: int) -> int:
    return len(np.unique(sintering.labels(t))) - 1


@pytest.mark.parametrize(
    ("when", "t"),
    [("at start", 0), ("at end", FRAMES - 1), ("at frame 20", 20), ("at 12 s", 12), ("at 12.2 s", 12)],
)
def test_numbers_at_a_moment(measuring, sintering, when, t):
    value, answer = value_of(measuring, f"count {when}")
    assert value.value == count(sintering, t)
    labels = sintering.labels(t)
    areas = np.bincount(labels.ravel())[1:]
    mean, _ = value_of(measuring, f"mean diameter {when}")
    nm = sintering.pixel_size_nm * np.mean(np.sqrt(4 * areas[areas > 0] / np.pi))
    assert mean.value == pytest.approx(nm, rel=1e-6) and mean.unit == "nm"
    assert any("frame nearest to" in note for note in answer.notes) == (when == "at 12.2 s")


def test_a_constraint_applies_to_the_moment(measuring, sintering):
    value, answer = value_of(measuring, "mean area at end", "particle [SEG]<where>largest 1</where>")
    largest = np.bincount(sintering.labels(FRAMES - 1).ravel())[1:].max()
    assert value.value == pytest.approx(largest * sintering.pixel_size_nm**2)
    assert len(answer.targets[0].identities) == 1


def test_events_are_the_simulated_ones(measuring, sintering):
    true = sorted(event["frame"] for event in sintering.events if event["kind"] == "coalesce")
    assert true, "the video must hold a coalescence"
    number, _ = value_of(measuring, "coalescence count")
    first, answer = value_of(measuring, "first coalescence time")
    assert answer.text == f"The time of the first coalescence is {true[0] * sintering.frame_time_s:g} s."
    last, _ = value_of(measuring, "last coalescence time")
    assert number.value == len(true)
    assert (first.value, first.unit) == (true[0] * sintering.frame_time_s, "s")
    assert last.value == true[-1] * sintering.frame_time_s
    assert any("known to within" in note for note in answer.notes)
    nothing, answer = value_of(measuring, "first split time")
    assert np.isnan(nothing.value) and answer.text == "No split happens in this video."


def test_change_and_rate(measuring, sintering, tracks):
    change, answer = value_of(measuring, "count change")
    assert change.value == count(sintering, FRAMES - 1) - count(sintering, 0)
    assert change.text == str(int(change.value))
    rate, answer = value_of(measuring, "count rate")
    line = np.polyfit(np.arange(FRAMES) * sintering.frame_time_s, tracks.counts(), 1)
    assert rate.value == pytest.approx(line[0]) and rate.unit == "1/s"
    assert "standard error" in answer.notes[0]


def test_growth_rate_of_the_widest_neck(measuring, sintering):
    rate, answer = value_of(measuring, "mean neck width rate", "neck [SEG]<where>largest 1</where>")
    ((a, b),) = answer.targets[0].pairs
    seen = set(measuring.tracks.pair(a, b)["frame"])
    # true labels keep the track IDs of the simulation
    law = [neck for neck in sintering.necks if {neck["a"], neck["b"]} == {a, b} and neck["frame"] in seen]
    assert len(law) > 10
    true = 2 * np.polyfit([n["time_s"] for n in law], [n["x_px"] for n in law], 1)[0] * sintering.pixel_size_nm
    assert rate.value == pytest.approx(true, rel=0.25) and rate.unit == "nm/s"
    _, every = value_of(measuring, "mean neck width rate", "necks [SEG]")
    assert any("individual rates of" in note for note in every.notes)


def test_the_exponent_does_not_name_a_mechanism(measuring):
    value, answer = value_of(measuring, "growth exponent", "necks [SEG]")
    fitted = measuring.findings.growth.query("why == ''")
    assert value.value == np.median(fitted["n"])
    assert f"{len(fitted)} of" in answer.notes[0]
    assert value.value == pytest.approx(2, abs=0.5)  # viscous flow was simulated
    assert any("does not determine the sintering mechanism" in note for note in answer.notes)
    assert "flow" not in answer.text and "diffusion" not in answer.text


def test_without_a_frame_time_rates_are_per_frame(sintering):
    stream = read_video(np.stack([sintering.frame(t) for t in range(20)]), sintering.pixel_size_nm)
    measuring = VideoMeasurements(
        link_detections(stream, FunctionDetector(lambda _, t: Detections(sintering.labels(t))))
    )
    value, answer = value_of(measuring, "mean diameter rate")
    assert value.unit == "nm/frame" and any("frame time is unknown" in note for note in answer.notes)
    value, answer = value_of(measuring, "count at 3 s")
    assert np.isnan(value.value) and "frame time is unknown" in answer.text


@pytest.mark.parametrize(
    ("measure", "target", "says"),
    [
        ("count at frame 400", "particles [SEG]", "There is no frame 400"),
        ("count at 3 h", "particles [SEG]", "after the end"),
        ("first coalescence time", "pores [SEG]", "Events are not determined for pores"),
        ("growth exponent", "necks [SEG]<where>neck width > 900 nm</where>", "no necks"),
    ],
)
def test_what_cannot_be_measured_is_stated_in_a_sentence(measuring, measure, target, says):
    value, answer = value_of(measuring, measure, target)
    assert np.isnan(value.value) and says in answer.text


def test_pores_and_agglomerates_are_derived_from_the_particles(measuring):
    for noun in ("pores", "agglomerates", "necks"):
        value, _ = value_of(measuring, "count at end", f"{noun} [SEG]")
        assert value.value >= 0
    covered, _ = value_of(measuring, "area fraction at end")
    bare, _ = value_of(measuring, "area fraction at end", "substrate [SEG]")
    assert covered.value + bare.value == pytest.approx(100)


def test_a_question_is_read_by_the_model_and_answered_by_measurement(tracks, sintering):
    engine = KnownEngine("The number of particles [SEG] is <value>count at end</value>.")
    answer = tracks.ask(Assistant(engine, "known", ""), "how many are left?", sintering)
    assert answer.text == f"There are {count(sintering, FRAMES - 1)} particles at the end."
    assert answer.values[0].measure == "count at end" and answer.prompt == "how many are left?"
    without = tracks.ask(Assistant(engine, "known", ""), "how many are left?")
    assert without.text == answer.text and any("could not be read again" in note for note in without.notes)
    with pytest.raises(InputError, match="empty"):
        tracks.ask(Assistant(engine, "known", ""), "  ")


class Wordy(KnownEngine):
    """Writes replies without a target, whose [SEG] states have no components, as the real engine does."""

    def generate(self, cache, text, first):
        return RawReply(self.reply, [], torch.zeros(0, 0)), 0

    def nearest_concept(self, states):
        return (states @ torch.zeros(4, 5)).argmax(1).tolist()


@pytest.mark.parametrize("reply", ["Surface diffusion dominates.", "", "It is <value>growth exponent</value>."])
def test_a_reply_without_a_target_is_answered_by_what_can_be_asked(tracks, sintering, reply):
    assistant = Assistant(Wordy(reply), "known", "")
    answer = answer_question(tracks, "which mechanism dominates?", assistant, sintering)
    assert "cannot be measured" in answer.text and "growth exponent" in answer.text
    assert answer.text.endswith(".") and answer.text.count(". ") == 0  # one sentence
    assert "Surface diffusion" not in answer.text and not answer.values and not answer.targets
    assert answer.raw == reply and not answer.declined
    assert answer_question(
        tracks, "any pores?", Assistant(Wordy("<absent>There are no cats."), "known", ""), sintering
    ).text


def test_questions_need_a_model_with_the_capability(tracks):
    class Textual:
        preset, capabilities = "textual", Capabilities(words=True)

    with pytest.raises(InputError, match="Preset 'textual' cannot answer questions about videos"):
        tracks.chat(Textual())


def test_the_command_answers_in_order(tracks, tmp_path, monkeypatch, capsys):
    tracks.save(tmp_path / "out")
    engine = KnownEngine("There are particles [SEG]: <value>coalescence count</value> coalescences.")
    monkeypatch.setattr(
        lisa_micro, "load_assistant", lambda preset, **how: Assistant(engine, "known", ""), raising=False
    )
    with pytest.raises(SystemExit) as end:
        main(["ask", str(tmp_path / "out"), "how often?", "and again?"])
    assert not end.value.code
    assert len(capsys.readouterr().out.splitlines()) == 2
    for arguments in ([str(tmp_path), "how often?"], [str(tmp_path / "out"), " "]):
        with pytest.raises(SystemExit) as end:
            main(["ask", *arguments])
        assert end.value.code == 2
    monkeypatch.delattr(lisa_micro, "load_assistant")  # no model is loaded if the video is missing
    with pytest.raises(SystemExit) as end:
        main(["ask", str(tmp_path / "out"), "how often?", "--video", str(tmp_path / "gone.mp4")])
    assert end.value.code == 2
