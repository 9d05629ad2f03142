"""Every request of the page "What can be asked" is understood by the shipped preset as the page says."""

from __future__ import annotations

import re

import pytest
from paths import ROOT

import lisa_micro
from lisa_micro.language.program import describe, parse_program

ROW = re.compile(r"^\| (?!request|---)(.+?) \| (.+?) \|$", re.MULTILINE)
ROWS = ROW.findall((ROOT / "docs" / "what-can-be-asked.md").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def ask():
    assistant = lisa_micro.load_assistant("micro", device="cpu", precision="fp32")
    image = lisa_micro.read_micrograph(ROOT / "data" / "samples" / "sintering_tem.tif")
    return lambda request: describe(parse_program(assistant.parse(image, request)))


def test_the_page_has_requests_of_every_kind():
    assert len(ROWS) > 45


@pytest.mark.slow
@pytest.mark.parametrize(("request_", "understood"), ROWS)
def test_a_request_is_understood_as_the_page_says(ask, request_, understood):
    assert ask(request_) == understood
