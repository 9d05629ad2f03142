"""Decorate requests with polite phrases, spelling variants and typos."""

from __future__ import annotations

import re

from lisa_micro.datasets.texts.store import Voice, data

_IMPERATIVES = {
    "segment", "perform", "run", "do", "produce", "generate", "give", "create", "make", "mask",
    "return", "output", "compute", "calculate", "draw", "outline", "trace", "delineate", "contour",
    "circle", "encircle", "highlight", "mark", "label", "annotate", "tag", "colour", "paint", "shade",
    "fill", "put", "overlay", "show", "display", "visualise", "reveal", "indicate", "find", "locate",
    "localise", "detect", "identify", "recognise", "pick", "single", "select", "choose", "extract",
    "isolate", "separate", "cut", "crop", "get", "fetch", "grab", "provide", "deliver", "search",
    "scan", "look", "check", "go", "analyse", "concentrate", "focus", "map", "capture", "binarise",
    "classify", "assign", "list", "enclose", "surround", "count", "measure", "determine", "report",
    "tell", "turn", "convert", "start", "begin", "try", "exclude", "remove", "discard", "drop", "leave",
    "keep", "filter", "compare", "point", "estimate", "evaluate", "quantify", "characterise",
    "summarise", "verify", "distinguish", "take",
}  # fmt: skip
_KEYBOARD = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo",
    "j": "hk", "k": "jl", "l": "ko", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "w", "r": "et", "s":
    "ad", "t": "ry", "u": "yi", "v": "cb", "w": "qe", "x": "zc", "y": "tu", "z": "x",
}  # fmt: skip
# words that a slip could turn into their opposite or another word of the language
_KEEP = {"above", "below", "under", "least", "longer", "larger", "darker", "brightest", "without", "not"}
IMAGE_WORD = 0.5
"""Probability that the image is called "image"."""


def fill_images(voice: Voice, text: str) -> str:
    """Fill the slots ``{image}``, with the same word throughout."""
    if "{image}" not in text:
        return text
    word = "image" if voice.chance(IMAGE_WORD) else voice.pick("decorations/images")
    return text.replace("{image}", word)


def decorate(voice: Voice, text: str, kind: str) -> str:
    """Add polite phrases and small talk.

    Args:
        voice: source of wordings.
        text: a filled wording.
        kind: ``"command"``, ``"question"``, ``"telegraphic"`` or ``"follow"``.
    """
    if voice.chance(0.5):
        return text
    asks = text.rstrip().endswith("?")
    imperative = kind == "command" and re.split(r"[ :,]", text, maxsplit=1)[0] in _IMPERATIVES
    if imperative and voice.chance(0.4):
        before = voice.pick("decorations/polite_before")
        text = before + text
        if before.lstrip().startswith(("could", "can", "would")):
            text += "?"
            asks = True
    elif kind in ("command", "question") and not asks and not text.endswith("please") and voice.chance(0.3):
        text += voice.pick("decorations/polite_after")
    if kind in ("command", "question") and voice.chance(0.3):
        text = voice.pick("decorations/preambles") + text
    elif kind == "command" and voice.chance(0.12):
        text = text.rstrip(".?! ") + ("?" if asks else "")
        text = (text[:-1] + "?" if asks else text) + voice.pick("decorations/afterwords").lstrip("." if asks else "")
    return text


def spell(voice: Voice, text: str, keep: str = "") -> str:
    """Vary the spelling: American or British, capitals, final full stop, typos.

    Args:
        voice: source of wordings.
        text: the request.
        keep: words that must not change (a noun that the reply repeats).
    """
    if voice.chance(0.5) and americanise(keep) == keep:
        text = americanise(text)
    if voice.chance(0.1):
        for _ in range(voice.choose((1, 1, 2))):
            text = misspell(voice, text, keep)
    style = voice.weighted({"as is": 10, "sentence": 10, "lower": 3, "upper": 0.5})
    if style == "sentence":
        text = text[:1].upper() + text[1:]
    elif style == "lower" and not keep:
        text = text.lower()
    elif style == "upper" and not keep:
        text = text.upper()
    if text.endswith("?"):
        if voice.chance(0.2):
            text = text[:-1]
    elif text[-1:].isalnum() and voice.chance(0.2):
        text += voice.choose((".", ".", ".", "!"))
    return text


def americanise(text: str) -> str:
    """Convert to American spelling."""
    for british, american in data("decorations")["british_american"].items():
        text = re.sub(
            rf"\b{british}(s|d|r)?\b",
            lambda m, new=american: _like(m[0], new) + (m[1] or ""),
            text,
            flags=re.IGNORECASE,
        )
    return text


def _like(old: str, new: str) -> str:
    return new.capitalize() if old[:1].isupper() else new


def misspell(voice: Voice, text: str, keep: str = "") -> str:
    """Add one typo to a word of five letters or more: two letters swapped, or one lost, doubled or replaced by its
    neighbour
    on the keyboard."""
    protected = {word.lower() for word in re.findall(r"[A-Za-z]+", keep)} | _KEEP
    spots = [m for m in re.finditer(r"[A-Za-z]{5,}", text) if m[0].lower() not in protected]
    if not spots:
        return text
    spot = voice.choose(spots)
    word = spot[0]
    at = int(voice.rng.integers(1, len(word) - 1))
    kind = voice.choose(("swap", "swap", "drop", "double", "beside"))
    if kind == "swap":
        word = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    elif kind == "drop":
        word = word[:at] + word[at + 1 :]
    elif kind == "double":
        word = word[:at] + word[at] + word[at:]
    else:
        word = word[:at] + voice.choose(_KEYBOARD.get(word[at].lower(), word[at])) + word[at + 1 :]
    return text[: spot.start()] + word + text[spot.end() :]
