"""A stand-in for the model of a batch that worker processes can load, with known answers and known faults."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lisa_micro.measure import measure_particles
from lisa_micro.protocols import Capabilities
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import InputError, Micrograph


class Thresholding:
    """Segments what is brighter than 128: each connected region is a particle. The corner pixel can ask for a fault:
    255 kills the process, 254 raises a defect."""

    preset, weights_sha256, device = "stand-in", "ab" * 32, "cpu"
    capabilities = Capabilities(words=True)

    def __init__(self, seconds: float = 0.0):
        self.seconds = seconds

    def open_conversation(self, image: Micrograph, tiling="auto", **_):
        return _Conversation(self, image)


class _Conversation:
    def __init__(self, assistant: Thresholding, image: Micrograph):
        self.assistant, self.image = assistant, image

    def ask(self, prompt: str) -> Answer:
        image = self.image
        corner = int(image.pixels[0, 0])
        if corner == 255:
            os.kill(os.getpid(), signal.SIGKILL)
        if corner == 254:
            raise RuntimeError("the model broke")
        if "nothing" in prompt:
            return Answer("There is nothing.", (), prompt, declined=True)
        if image.shape[0] < 4:
            raise InputError("The image is too small.")
        time.sleep(self.assistant.seconds)
        labels, _ = ndimage.label(image.pixels > 128)
        labels = labels.astype(np.int32)
        if not labels.any():
            return Answer("There are no particles.", (), prompt, declined=True)
        table = measure_particles(labels, image.pixel_size_nm, image.pixels)
        segment = Segmentation(
            labels, 0.9, 0.8, "particle", "particles", "", image.pixel_size_nm, table, target=1, image=image
        )
        return Answer("Here they are.", (segment,), prompt, seconds={"masks": 0.01})


@dataclass(frozen=True)
class StandInSource:
    """Loads the stand-in; instances travel to worker processes."""

    seconds: float = 0.0

    def __call__(self) -> Thresholding:
        return Thresholding(self.seconds)
