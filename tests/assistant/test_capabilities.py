"""What a model can do is a plain fact that can be read before it is asked."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from known_engine import KnownEngine
from stand_in_app import StandIn

from lisa_micro.assistant.assistant import Assistant
from lisa_micro.assistant.prompted import WordlessAssistant
from lisa_micro.protocols import Capabilities, TilingMode
from lisa_micro.types import CONCEPTS, InputError, Micrograph


def test_the_default_model_speaks_the_reply_language():
    known = Assistant(KnownEngine(""), "known", "").capabilities
    assert known.words and known.follow_ups and known.reply_language and known.video and known.video_questions
    assert known.boxes and known.points and known.everything and not known.exemplars
    assert set(CONCEPTS) <= set(known.concepts)


def test_capabilities_are_plain_frozen_facts():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Capabilities().words = True
    assert not any(getattr(Capabilities(), field.name) for field in dataclasses.fields(Capabilities))
    assert StandIn().capabilities.words


def test_protocols_import_without_torch():
    code = "import sys, lisa_micro.protocols; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_segmenter_has_no_words_and_says_so():
    segmenter = SimpleNamespace(name="sam2", weights_sha256="", device="cpu")
    assistant = WordlessAssistant(segmenter)
    known = assistant.capabilities
    assert known.boxes and known.points and known.everything and not (known.words or known.follow_ups or known.video)
    image = Micrograph(np.zeros((4, 4), np.float32))
    for refused in (
        lambda: assistant.ask(image, "x"),
        lambda: assistant.chat(image),
        lambda: assistant.open_conversation(image, "tiled"),
        lambda: assistant.parse(image, "x"),
    ):
        with pytest.raises(InputError, match="The segmenter 'sam2' takes no words"):
            refused()


def test_an_unknown_tiling_mode_is_named():
    assert TilingMode.parse("cascade") is TilingMode.CASCADE
    with pytest.raises(InputError) as caught:
        TilingMode.parse("x")
    assert str(caught.value) == "Unknown tiling mode 'x'; choose auto, off, tiled or cascade."
