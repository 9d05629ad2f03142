"""The words of a reply that stand for its segments, and the question that an unsure answer asks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lisa_micro.language import FULL_VOCABULARY
from lisa_micro.results.answer import UNDERSTOOD, Answer, Segmentation
from lisa_micro.viz.answer_plots import plot_title


def reply_parts(answer: Answer) -> list[dict[str, Any]]:
    """Split the reply into ``{"text": ..., "layer": k or None}``, so that the words for segment k are parts of their
    own. The texts together are the reply."""
    text = answer.text
    # what an unsure answer repeats of the request tells what was understood, not what was found
    head = f"{UNDERSTOOD}{answer.understood}. "
    start = len(head) if answer.understood and text.startswith(head) else 0
    spans: dict[int, tuple[int, int]] = {}
    longest_first = sorted(enumerate(answer.segments), key=lambda item: -len(item[1].phrase))
    for words in (lambda segment: [segment.phrase], _nouns):
        for k, segment in longest_first:
            if k not in spans:
                found = _first_free(text, words(segment), start, list(spans.values()))
                if found is not None:
                    spans[k] = found
    return list(_cut(text, spans))


def _nouns(segment: Segmentation) -> list[str]:
    """Nouns of a segment's concept, the longest first; of a custom concept its name."""
    if FULL_VOCABULARY.knows(segment.concept):
        nouns = set(FULL_VOCABULARY.nouns(segment.concept))
    else:
        name = segment.concept.replace("_", " ")
        nouns = {name, f"{name}s", segment.phrase.removesuffix("s")}
    return sorted(nouns, key=len, reverse=True)


def _first_free(text: str, words: list[str], start: int, taken: list[tuple[int, int]]) -> tuple[int, int] | None:
    """The first place of any of some words that does not overlap the places that are taken."""
    for phrase in filter(None, words):
        pattern = re.compile(rf"(?<!\w){re.escape(phrase)}(?!\w)", re.IGNORECASE)
        for match in pattern.finditer(text, start):
            begin, end = match.span()
            if all(end <= low or begin >= high for low, high in taken):
                return begin, end
    return None


def _cut(text: str, spans: dict[int, tuple[int, int]]) -> Iterator[dict[str, Any]]:
    last = 0
    for k, (begin, end) in sorted(spans.items(), key=lambda item: item[1]):
        if begin > last:
            yield {"text": text[last:begin], "layer": None}
        yield {"text": text[begin:end], "layer": k}
        last = end
    if last < len(text):
        yield {"text": text[last:], "layer": None}


def doubt_view(answer: Answer, replaced: bool, last: bool) -> dict[str, Any] | None:
    """What an unsure answer asks: ``question`` and ``reading`` of its button, and whether it can be pressed.

    Args:
        answer: the answer.
        replaced: whether it replaced another reading, which it offers.
        last: whether it is the last one about its micrograph; later ones refer to it.

    Returns:
        ``None`` for an answer that offers no other reading.
    """
    if answer.alternative is None:
        return None
    question = "Back to the first reading:" if replaced else "Did you mean:"
    return {"question": question, "reading": answer.alternative.text, "open": last}


def plot_names(answer: Answer) -> list[str]:
    """Titles of the plots of an answer that could be drawn."""
    return [plot_title(plot) for plot in answer.plots if not plot.problem]
