"""The command line called in this process, and a stand-in for the assistant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lisa_micro.cli.main import main
from lisa_micro.execution import PlotData, Series
from lisa_micro.language.program.syntax import Plot
from lisa_micro.results.answer import Answer, Reading, Segmentation
from lisa_micro.types import Micrograph


class StandIn:
    """Answers every request with one square, and remembers what it was asked; "plot" with a histogram, "unsure" with
    another reading."""

    preset = "stand-in"
    weights_sha256 = "12" * 32
    device = "cpu"

    def __init__(self):
        self.asked: list[str] = []

    def ask(self, image: Micrograph, prompt: str) -> Answer:
        self.asked.append(prompt)
        labels = np.zeros(image.shape, np.int32)
        labels[2:6, 3:9] = 1
        segment = Segmentation(labels, 0.9, 0.8, "particle", "the particle", "", image.pixel_size_nm)
        answer = Answer("There is 1 particle, 3 µm wide.", (segment,), prompt, notes=("A notice.",))
        if prompt == "plot":
            series = Series(1, "the particle", np.array([2.76]))
            answer = replace(answer, plots=(PlotData(Plot("histogram", "diameter", of=(1,)), (series,), "nm"),))
        if prompt == "unsure":
            answer = replace(answer, confidence=0.4, alternative=Reading("b", "the necks"))
        return answer

    def segment_boxes(self, image: Micrograph, boxes) -> Segmentation:
        self.boxes = np.asarray(boxes)
        labels = np.zeros(image.shape, np.int32)
        for k, (x0, y0, x1, y1) in enumerate(self.boxes.astype(int), start=1):
            labels[y0:y1, x0:x1] = k
        return Segmentation(labels)

    def open_conversation(self, image: Micrograph, tiling: str = "auto", *, progress=None) -> Conversation:
        return Conversation(self, image)

    def chat(self, image: Micrograph) -> Conversation:
        return self.open_conversation(image)


class Conversation:
    def __init__(self, assistant: StandIn, image: Micrograph):
        self.assistant, self.image = assistant, image

    def ask(self, prompt: str) -> Answer:
        return self.assistant.ask(self.image, prompt)

    def reinterpret(self, reading: Reading) -> Answer:
        return Answer(f"Here are {reading.text}.", prompt="unsure", raw=reading.raw)


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code


def failed(capsys, *arguments: object, code: int = 2) -> str:
    """Runs a command that must fail with ``code`` and one line; gives the line."""
    assert call(*arguments) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error
