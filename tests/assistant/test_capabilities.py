"""What a model can do is a plain fact that can be read before it is asked."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
from known_engine import KnownEngine
from stand_in_app import StandIn

from lisa_micro.assistant.assistant import Assistant
from lisa_micro.protocols import Capabilities, TilingMode
from lisa_micro.types import CONCEPTS, InputError


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


def test_an_unknown_tiling_mode_is_named():
    assert TilingMode.parse("cascade") is TilingMode.CASCADE
    with pytest.raises(InputError) as caught:
        TilingMode.parse("x")
    assert str(caught.value) == "Unknown tiling mode 'x'; choose auto, off, tiled or cascade."
