"""Replies in the app: other readings of a request, plots, and the words that stand for segments."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
from app_requests import LIMITS, ask, opened
from PIL import Image
from stand_in_app import StandIn

from lisa_micro.execution import PlotData, Series
from lisa_micro.language import FULL_VOCABULARY
from lisa_micro.language.program.syntax import Plot
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import InputError, Micrograph
from lisa_micro_app import exports, handlers
from lisa_micro_app.api.programs import answer_record
from lisa_micro_app.state import conversation as state
from lisa_micro_app.state import correction as correct
from lisa_micro_app.state.conversation import Turn
from lisa_micro_app.views import turns as views
from lisa_micro_app.views.answer_plots import answer_figure, has_plots
from lisa_micro_app.views.replies import reply_parts

STAND_IN = StandIn


def take(user, queue, number):
    return list(handlers.reinterpret(user, queue, number))


# ----------------------------------------------------------------------------------------------- other readings


def test_an_unsure_answer_asks_and_the_other_reading_takes_its_place(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "x")
    ask(user, queue, "unsure")
    doubt = views.chat_view(user)["turns"][1]["doubt"]
    assert doubt == {"question": "Did you mean:", "reading": "the necks", "open": True}
    assert views.chat_view(user)["turns"][0]["doubt"] is None
    before = views.viewer_view(user, LIMITS)["layers"]
    assert take(user, queue, 2)[0].again == 2
    turn = user.state.turns[1]
    assert [one.number for one in user.state.turns] == [1, 2] and user.state.shown == 2
    assert turn.answer.text == "Here are the necks of film.tif, 1." and turn.answer.prompt == "unsure"
    after = views.viewer_view(user, LIMITS)["layers"]
    assert after[0]["count"] == 1 and after[0]["url"] != before[0]["url"]  # no masks of the first reading are kept
    # a later request goes on from the new answer, and the conversation is not read again
    kept = user.conversation
    ask(user, queue, "y")
    assert user.conversation is kept and [a.raw for a in kept.answers] == ["", "b", ""]


def test_the_first_reading_can_be_taken_back(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "unsure")
    take(user, queue, 1)
    assert views.chat_view(user)["turns"][0]["doubt"]["question"] == "Back to the first reading:"
    take(user, queue, 1)
    assert user.state.turns[0].answer.text.startswith("Here are the particles")
    assert views.chat_view(user)["turns"][0]["doubt"]["question"] == "Did you mean:"


def test_readings_work_after_undo_and_with_several_micrographs(user, queue, tmp_path):
    opened(user, queue, tmp_path, "a.tif")
    first = user.state.current
    ask(user, queue, "unsure")
    ask(user, queue, "later")
    assert not views.chat_view(user)["turns"][0]["doubt"]["open"]
    with pytest.raises(InputError, match="Later requests refer to this answer"):
        take(user, queue, 1)
    handlers.undo(user)
    opened(user, queue, tmp_path, "b.tif", seed=1)
    ask(user, queue, "x")
    assert views.chat_view(user)["turns"][0]["doubt"]["open"]  # the last one about its micrograph
    take(user, queue, 1)
    assert user.state.turns[0].answer.text == "Here are the necks of a.tif, 0."
    assert user.state.picture.name == "b.tif" and user.state.shown == 3  # what is shown stays
    user.state = state.choose_picture(user.state, first)
    ask(user, queue, "z")
    assert user.state.turns[-1].answer.text == "Here are the particles of a.tif, 1."


def test_a_reading_keeps_the_pixel_size_of_its_request(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "unsure")
    user.state = handlers.set_pixel_size(user.state, "2")
    take(user, queue, 1)
    assert user.state.turns[0].micrograph.pixel_size_nm == user.state.turns[0].answer.segments[0].pixel_size_nm == 0.5


def test_what_offers_no_other_reading_is_left_alone(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "x")
    for number, said in ((1, "no other reading"), (9, "no longer part"), (None, "no longer part"), ("1", "no longer")):
        with pytest.raises(InputError, match=said):
            take(user, queue, number)
    steps = handlers.ask(user, queue, "slow", LIMITS)
    ask_first = next(steps)
    assert ask_first.words == "slow"
    list(steps)
    ask(user, queue, "unsure")
    waiting = handlers.ask(user, queue, "slow", LIMITS)
    next(waiting)
    with pytest.raises(InputError, match="still being answered"):
        take(user, queue, 3)
    list(waiting)


def test_corrections_of_the_replaced_answer_are_dropped(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "unsure")
    list(correct.act(user, queue, {"action": "remove", "instances": [1]}, LIMITS))
    take(user, queue, 1)
    _, _, edit = correct.current(user)
    assert edit.correction.actions == () or not edit.correction.actions
    assert edit.segment is user.state.turns[0].answer.segments[0]


def test_the_download_repeats_the_reading_that_was_taken(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "unsure")
    take(user, queue, 1)
    ask(user, queue, "plot")
    archive = zipfile.ZipFile(exports.pack(user, "micro", None))
    assert "printf '%s\\n' unsure '?' plot | lisa-micro chat" in archive.read("repeat.sh").decode()
    record = json.loads(archive.read("film/1/answer.json"))
    assert record["raw"] == "b" and record["alternative"] == {"raw": "a", "text": "the particles"}
    assert {"film/2/plot_1.png", "film/2/plot_1.csv"} <= set(archive.namelist())


# --------------------------------------------------------------------------------------------------------- plots


def test_a_plot_is_named_in_the_reply_and_drawn_from_the_measured_values(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "x")
    assert not has_plots(user.state.turn) and not has_plots(None)
    ask(user, queue, "plot")
    assert views.chat_view(user)["turns"][1]["plots"] == ["Histogram of diameter"]
    turn = user.state.turn
    figure = answer_figure(turn)
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert sum(bars[0].y) == 3 and bars[0].marker.color == turn.colours[0]
    assert figure.layout.xaxis.title.text == "diameter (nm)"
    d50 = float(np.median(turn.answer.plots[0].series[0].values))
    assert any(line.x0 == pytest.approx(d50) for line in figure.layout.shapes)


def test_all_plots_of_an_answer_are_drawn_below_each_other(tmp_path):
    image = Micrograph(np.zeros((8, 8), np.float32), 1.0)
    one, other = (Series(k, f"the set {k}", np.arange(5.0) + k, np.arange(5.0)) for k in (1, 2))
    empty = Series(3, "the set 3", np.zeros(0), np.zeros(0))
    plots = (
        PlotData(Plot("scatter", "area", "circularity", (1, 3)), (one, empty), "nm2"),
        PlotData(Plot("cumulative", "diameter", of=(1, 2)), (one, other), "nm"),
        PlotData(Plot("histogram", "neck width", of=(1,)), problem="the neck width was not measured"),
    )
    labels = np.ones((8, 8), np.int32)
    segments = tuple(Segmentation(labels, target=k) for k in (1, 2))
    turn = Turn(1, "p", "f", image, Answer("x", segments, plots=plots), ("#ff0000", "#00ff00"))
    figure = answer_figure(turn)
    assert [trace.marker.color for trace in figure.data[:1]] == ["#ff0000"]
    assert [trace.line.color for trace in figure.data[2:]] == ["#ff0000", "#00ff00"]
    assert figure.data[1].marker.color not in ("#ff0000", "#00ff00")
    assert figure.layout.yaxis.title.text == "area (nm²)" and figure.layout.yaxis2.title.text.startswith("cumulative")
    assert len(figure.data) == 4


def test_programs_get_picture_and_numbers_of_a_plot(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "plot")
    record = json.loads(json.dumps(answer_record(user, user.state.turns[0], 2)))["plots"][0]
    values = user.state.turns[0].answer.plots[0].series[0].values
    series = record["series"][0]
    assert (record["kind"], record["property"], record["unit"]) == ("histogram", "diameter", "nm")
    assert series["values"] == pytest.approx(values[:2].tolist(), rel=1e-5) and series["values_left_out"] == 1
    assert series["D50"] == pytest.approx(float(np.median(values))) and series["n"] == 3
    picture = user.asset(record["png"].rsplit("/", 1)[1])
    assert Image.open(io.BytesIO(picture.content)).width > 400
    table = pd.read_csv(io.BytesIO(user.asset(record["csv"].rsplit("/", 1)[1]).content))
    assert table["diameter_nm"].tolist() == pytest.approx(values.tolist())


def test_programs_are_told_how_sure_an_answer_is(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "unsure")
    record = answer_record(user, user.state.turns[0], 5)
    assert record["confidence"] == 0.4 and record["understood"] == "the particles"
    assert record["alternative"] == {"raw": "b", "text": "the necks"} and record["refusal"] == ""


# --------------------------------------------------------------------------------------------------------- words


def answer(text, *segments, understood=""):
    empty = np.zeros((4, 4), np.int32)
    found = tuple(Segmentation(empty, concept=concept, phrase=phrase) for concept, phrase in segments)
    return Answer(text, found, understood=understood)


def marked(answer):
    parts = reply_parts(answer)
    assert "".join(part["text"] for part in parts) == answer.text
    return {part["layer"]: part["text"] for part in parts if part["layer"] is not None}


@pytest.mark.parametrize("concept", FULL_VOCABULARY.names)
def test_the_words_of_every_concept_are_found(concept):
    one, many = FULL_VOCABULARY.nouns(concept)
    assert marked(answer(f"5 {many}, mean width 5.9 nm (4.6 to 8.1).", (concept, many))) == {0: many}
    assert marked(answer(f"1 {one}, width 5.9 nm.", (concept, many))) == {0: one}
    told = answer(f"There are 3 of the {many} found.", (concept, f"{many} that touch the border"))
    assert marked(told) == {0: many}


def test_the_longer_words_are_found_first_and_in_any_order():
    text = "40 particles, mean diameter 5 nm (4 to 6). The three largest particles: 3 of 40, mean diameter 6 nm."
    both = answer(text, ("particle", "three largest particles"), ("particle", "particles"))
    assert marked(both) == {1: "particles", 0: "three largest particles"}
    text = "The three largest particles: 3 of 40. 5 necks."
    assert marked(answer(text, ("neck", "necks"), ("particle", "three largest particles"))) == {
        0: "necks",
        1: "three largest particles",
    }


def test_what_was_understood_is_not_what_was_found():
    text = "I understood: the necks. 5 necks, mean width 5 nm (4 to 6)."
    parts = reply_parts(answer(text, ("neck", "necks"), understood="the necks"))
    assert parts[0] == {"text": "I understood: the necks. 5 ", "layer": None} and parts[1]["text"] == "necks"


def test_words_are_whole_words_and_may_be_missing():
    assert marked(answer("Nanoparticles are here.", ("particle", "particles"))) == {}
    assert marked(answer("", ("particle", "particles"))) == {}
    assert marked(answer("3 whiskers, mean length 3 nm.", ("whisker", "whiskers"))) == {0: "whiskers"}
    assert marked(answer("1 whisker, length 3 nm.", ("whisker", "whiskers"))) == {0: "whisker"}
