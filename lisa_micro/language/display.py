"""Replies for people: what the language model wrote, with numbers filled in and tokens taken out.

Reading a reply is in :mod:`lisa_micro.language` (``parse_reply`` is offered here too); this module turns
a parsed reply into the text that is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lisa_micro.language import (
    DEFAULT_VOCABULARY,
    Between,
    Clause,
    Compare,
    Flag,
    Nearest,
    Rank,
    Region,
    Reply,
    Target,
    Text,
    ValueSlot,
    Vocabulary,
    parse_reply,
    render_clauses,
    render_reply,
)
from lisa_micro.types import Value

UNREADABLE_VALUE = "(not understood)"
_COMPARATORS = {">": "above", ">=": "of at least", "<": "below", "<=": "of at most", "~": "of about"}
_UNITS = {"um": "µm", "A": "Å", "nm2": "nm²", "px2": "px²", "um2": "µm²"}


def display(
    reply: Reply,
    values: Sequence[Value] = (),
    absent: Collection[int] = (),
    empty: Collection[int] = (),
    vocabulary: Vocabulary = DEFAULT_VOCABULARY,
) -> str:
    """The reply as shown to the user.

    Args:
        reply: a parsed reply.
        values: one value for each value slot of the reply, in order; a slot without one shows that.
        absent: numbers (from 1) of targets that turned out not to be in the image: the text says so in place
            of pointing at them. Where these are all targets, the whole text is that nothing is there.
        empty: numbers of targets of which there is something in the image, but nothing that fulfils the
            constraint. Values stay: a count of 0 is an answer.
        vocabulary: the concepts that the model knows.

    Returns:
        plain text: constraints in words, no special tokens.
    """
    targets = reply.targets
    numbers = range(1, len(targets) + 1)
    if reply.values:
        empty = ()
    missing = [k for k in numbers if k in absent or k in empty]
    if missing and (not reply.values or len(missing) == len(targets)):
        return _without(targets, missing, absent, vocabulary)
    out: list[str] = []
    slots = iter(values)
    for part in reply.parts:
        if isinstance(part, Target):
            text = out.pop() if out else ""
            out.append(_with_phrase(text, part, vocabulary))
        elif isinstance(part, ValueSlot):
            value = next(slots, None)
            shown = UNREADABLE_VALUE if value is None else value.text
            # the tokens of the reply language swallow the space before them
            out.append(f" {shown}" if out and out[-1][-1:].isalnum() else shown)
        else:
            # a target may have left its text unfinished: go on behind it
            joined = "".join(out) + part.text
            out = [joined]
    return " ".join("".join(out).split())


def noun_phrase(concept: str | None, clauses: Sequence[Clause], vocabulary: Vocabulary = DEFAULT_VOCABULARY) -> str:
    """What a target is, in words and without article: ``3 largest particles in the left half``.

    >>> from lisa_micro.language import parse_clauses
    >>> noun_phrase("neck", parse_clauses("neck width > 5 nm; not touching border")[0])
    'necks with neck width above 5 nm and not touching the border'
    """
    ranked = [c for c in clauses if isinstance(c, Rank | Nearest)]
    one = any(c.n == 1 and not getattr(c, "percent", False) for c in ranked)
    noun = vocabulary.nouns(concept)[0 if one else 1]
    if len(ranked) > 1 or (ranked and clauses[-1] is not ranked[0]):
        return f"{noun} ({render_clauses(tuple(clauses))})"  # the order matters: say it as it is executed
    before, after = [], []
    for clause in clauses:
        words = _words(clause, one)
        (before if isinstance(clause, Rank) or words == "isolated" else after).append(words)
    before.sort(key=lambda words: words == "isolated")
    return " ".join([*before, noun, *([" and ".join(after)] if after else [])])


def _words(clause: Clause, one: bool) -> str:
    match clause:
        case Rank(by, n, percent):
            return f"{by} {n} % of the" if percent else by if n == 1 else f"{n} {by}"
        case Nearest(n, to):
            place = f"the {to}" if isinstance(to, str) else f"the point ({to[0]:g}, {to[1]:g})"
            return f"nearest to {place}" + (f" ({n})" if n > 1 else "")
        case Compare(prop, op, value, unit):
            number = f"the {value}" if isinstance(value, str) else _number(value, unit)
            return f"with {prop} {_COMPARATORS[op]} {number}"
        case Between(prop, low, high, unit):
            return f"with {prop} between {low:g} and {_number(high, unit)}"
        case Region(name):
            return f"in the {name}"
        case Flag("isolated"):
            return "isolated"
        case Flag(name, negated):
            named = {"touching border": "touching the border", "in contact": "in contact with others"}
            words = named.get(name, f"in {'an ' if one else ''}agglomerate{'' if one else 's'}")
            return f"not {words}" if negated else words
    raise TypeError(f"not a clause: {clause!r}")


def _number(value: float, unit: str) -> str:
    return f"{value:g} {_UNITS.get(unit, unit)}".rstrip()


def _with_phrase(text: str, target: Target, vocabulary: Vocabulary) -> str:
    """The text before a target with its last noun replaced by the noun and its constraint."""
    text = text.rstrip()
    if not target.clauses:
        return text
    phrase = noun_phrase(target.concept, target.clauses, vocabulary)
    nouns = vocabulary.nouns(target.concept) if vocabulary.knows(target.concept) else ()
    for noun in sorted(nouns, key=len, reverse=True):
        if text.lower().endswith(noun):
            head = text[: -len(noun)].rstrip()
            # "the number of 3 largest particles" needs its article
            if isinstance(target.clauses[-1], Rank) and not head.lower().endswith("the"):
                phrase = f"the {phrase}"
            return f"{head} {phrase}".lstrip()
    return f"{text} ({render_clauses(target.clauses)})".lstrip()


def _without(targets: Sequence[Target], missing: list[int], absent: Collection[int], vocabulary: Vocabulary) -> str:
    there = [target for k, target in enumerate(targets, 1) if k not in missing]
    names = []
    for k in missing:
        target = targets[k - 1]
        # ranks cannot be what leaves nothing over
        filters = () if k in absent else tuple(c for c in target.clauses if not isinstance(c, Rank | Nearest))
        names.append(noun_phrase(target.concept, filters, vocabulary))
    gone = _list(list(dict.fromkeys(names)), " or ")
    verb = "is" if gone == "substrate" else "are"
    sentence = f"There {verb} no {gone} in this micrograph."
    if not there:
        return sentence
    shown = _list([f"the {noun_phrase(t.concept, t.clauses, vocabulary)}" for t in there], " and ")
    return f"Here {'is' if shown == 'the substrate' else 'are'} {shown}. {sentence}"


def _list(pieces: list[str], last: str) -> str:
    return pieces[0] if len(pieces) == 1 else ", ".join(pieces[:-1]) + last + pieces[-1]


__all__ = ["Text", "display", "noun_phrase", "parse_reply", "render_reply"]
