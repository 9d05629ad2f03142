"""Suite ``language``: held-out requests parsed into targets, constraints and measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lisa_micro.datasets.texts import SuiteItem, held_out_suite
from lisa_micro.datasets.texts.programs.sample import as_program
from lisa_micro.evaluate.context import Context
from lisa_micro.evaluate.results import Metric, Row, SuiteResult, share
from lisa_micro.evaluate.scenes import FIRST_SEED, micrograph_of, scene_with_everything
from lisa_micro.language.program import Program, parse_program, render_program, same_program
from lisa_micro.language.words import ABSENT
from lisa_micro.types import InputError

ITEMS = 400
SCENES = 4
FOLLOW_UP = "follow-up"
T = TypeVar("T")


def language(context: Context) -> SuiteResult:
    """Evaluate the held-out requests of the texts, and those of a file if one is given.

    They are asked on simulated scenes in which every concept is present.

    Raises:
        InputError: the file of requests cannot be used.
    """
    suite = held_out_suite(context.limit or ITEMS, context.seed)
    given = context.limited(read_prompts(context.prompts)) if context.prompts else []
    rows, left_out = _read_all(context, [("held out", suite), ("file", given)])
    held_out = [row for row in rows if row["from"] == "held out"]
    figures = list(_metrics(held_out, ""))
    tables: dict[str, Sequence[Row]] = {"Held-out requests by category": by_category(held_out)}
    if given:
        from_file = [row for row in rows if row["from"] == "file"]
        figures += _metrics(from_file, "file_")
        tables["Requests of the file by category"] = by_category(from_file)
    notes = []
    if left_out:
        notes.append(
            f"{left_out} requests refer to earlier ones and were left out: this assistant's parse takes no history."
        )
    failures = [row for row in rows if not row["right"]]
    return SuiteResult("language", tuple(figures), tables, {"language-failures.csv": failures}, tuple(notes))


def _read_all(context: Context, sources: list[tuple[str, list[SuiteItem]]]) -> tuple[list[dict], int]:
    """One row per request, and the number of requests that were left out."""
    total = sum(len(items) for _, items in sources)
    pictures, first = [], FIRST_SEED
    for _ in range(SCENES if total >= 10 * SCENES else 1):
        scene = scene_with_everything(first)
        pictures.append(micrograph_of(scene))
        first = scene.seed + 1
    rows, left_out, done = [], 0, 0
    with context.steps("language", total) as step:
        for source, items in sources:
            for item in items:
                # consecutive requests share a scene, so that it is encoded once
                micrograph = pictures[done * len(pictures) // total]
                done += 1
                step()
                if item.history and not context.reads_history:
                    left_out += 1
                    continue
                raw = context.read(micrograph, item.prompt, item.history)
                rows.append({"from": source, **score_reply(item, raw)})
    return rows, left_out


def score_reply(item: SuiteItem, raw: str) -> dict[str, Any]:
    """Compare a raw reply with the expected one.

    Returns:
        ``right`` (same targets, constraints, measures and absence, in order); ``targets right`` (targets and
        constraints only); ``parse failure`` (empty, or a part of the reply is not in the language); ``wrong decline``
        (declined although it is present); ``missed decline``; ``should decline``; the expected meaning, the parsed one
        and the raw reply as text.
    """
    reply = parse_program(raw)
    declines = is_decline(reply)
    should_decline = is_decline(item.expected)
    both = declines and should_decline
    return {
        "category": item.category,
        "prompt": item.prompt,
        "right": both or same_program(reply, item.expected),
        "targets right": both or same_program(Program(reply.targets), Program(item.expected.targets)),
        "parse failure": bool(reply.notes) or not raw.strip(),
        "wrong decline": declines and not should_decline,
        "missed decline": should_decline and not declines,
        "should decline": should_decline,
        "expected": render_program(item.expected),
        "read": render_program(reply),
        "raw": raw,
        "history": " / ".join(f"{user} -> {said}" for user, said in item.history),
        "held back": " ".join(item.novel),
    }


def is_decline(program: Program) -> bool:
    """Whether a reply only says that something is absent, unknown or impossible."""
    return bool(program.refusals) and not program.targets


def _metrics(rows: list[dict], prefix: str) -> tuple[Metric, ...]:
    def of(key: str, chosen: list[dict] = rows) -> list[bool]:
        return [row[key] for row in chosen]

    where = "held-out wordings" if not prefix else "the file's requests"
    positive = [row for row in rows if not row["should decline"]]
    absent = [row for row in rows if row["should decline"]]
    return (
        Metric(
            f"{prefix}exact",
            f"{where}: exactly right",
            share(of("right")),
            "Share of the requests whose reply has the expected targets, constraints, measures and absence, "
            "in order (units in nm, commuting clauses in any order).",
            0.95,
            0.99,
            unit="%",
            n=len(rows),
        ),
        Metric(
            f"{prefix}targets",
            f"{where}: targets and constraints",
            share(of("targets right")),
            "The same without comparing measures.",
            unit="%",
            n=len(rows),
        ),
        Metric(
            f"{prefix}parse_failures",
            f"{where}: replies outside the language",
            share(of("parse failure")),
            "Share of the replies that are empty or of which a part could not be read.",
            lower=True,
            unit="%",
            n=len(rows),
        ),
        Metric(
            f"{prefix}wrong_declines",
            f"{where}: wrong declines",
            share(of("wrong decline", positive)),
            "Share of the requests for something in the scene that the reply declines.",
            0.03,
            0.01,
            lower=True,
            unit="%",
            n=len(positive),
        ),
        Metric(
            f"{prefix}declined",
            f"{where}: declines that are due",
            share([not missed for missed in of("missed decline", absent)]),
            "Share of the requests for things outside the vocabulary that the reply declines.",
            0.9,
            0.98,
            unit="%",
            n=len(absent),
        ),
    )


def by_category(rows: list[dict]) -> list[dict]:
    """Fractions of correct replies by category; all kinds of follow-ups are listed after single requests."""
    names = sorted({row["category"] for row in rows}, key=lambda name: (name.startswith(FOLLOW_UP), name))
    table = []
    for name in [*names, "all"]:
        chosen = [row for row in rows if name in ("all", row["category"])]
        table.append(
            {
                "category": name,
                "n": len(chosen),
                "exact": round(share([row["right"] for row in chosen]), 3),
                "targets": round(share([row["targets right"] for row in chosen]), 3),
                "outside the language": sum(row["parse failure"] for row in chosen),
                "wrong declines": sum(row["wrong decline"] for row in chosen),
                "missed declines": sum(row["missed decline"] for row in chosen),
            }
        )
    return table


# ------------------------------------------------------------------------------------------ files of requests


def read_prompts(path: Path) -> list[SuiteItem]:
    """Read requests with their expected meaning from a YAML file, a list of mappings.

    - ``say``: the request;
    - ``expect``: a reply of the expected meaning in either version of the reply language, such as
      ``necks [SEG]<where>largest 3</where>`` (words do not count);
    - ``about`` (optional): the category it is counted in;
    - ``before`` (optional): earlier turns, a list of pairs (request, reply in the reply language) or of mappings with
      ``say`` and ``reply``.

    Raises:
        InputError: unreadable or invalid; the message has the number of the entry.
    """
    return read_entries(path, _item, "'say' and 'expect'")


def read_entries(path: Path, convert: Callable[[object], T], keys: str) -> list[T]:
    """Read a YAML file that holds a list of mappings.

    Args:
        path: the file.
        convert: makes something of one entry; raises ``ValueError`` or ``TypeError`` for an invalid one.
        keys: the keys that a mapping needs, as in a message.

    Raises:
        InputError: unreadable or invalid; the message has the number of the entry.
    """
    import yaml

    try:
        entries = yaml.safe_load(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"The requests in {path} cannot be read: {str(error).splitlines()[0]}.") from error
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path} holds no list of requests; each is a mapping with {keys}.")
    items = []
    for number, entry in enumerate(entries, start=1):
        try:
            items.append(convert(entry))
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}, request {number}: {error}.") from error
    return items


def _item(entry: Any) -> SuiteItem:
    if not isinstance(entry, Mapping) or not all(isinstance(entry.get(key), str) for key in ("say", "expect")):
        raise ValueError("it needs the texts 'say' and 'expect'")
    unknown = set(entry) - {"say", "expect", "about", "before"}
    if unknown:
        raise ValueError(f"unknown key {sorted(map(str, unknown))[0]!r}")
    expected = meaning_of(entry["expect"])
    notes = parse_program(entry["expect"]).notes
    if notes:
        raise ValueError(f"what is expected is not in the reply language: {notes[0].rstrip('.')}")
    history = tuple(_turn(turn) for turn in entry.get("before") or ())
    return SuiteItem(entry["say"], expected, str(entry.get("about", "other")), history)


def _turn(turn: Any) -> tuple[str, str]:
    """An earlier turn: the request, and the reply in version 2 of the reply language."""
    said, reply = (turn["say"], turn["reply"]) if isinstance(turn, Mapping) else turn
    return str(said), render_program(meaning_of(str(reply)))


def meaning_of(reply: str) -> Program:
    """The program of a reply in either version of the reply language."""
    denies = reply.startswith(ABSENT) or " in this micrograph." in reply
    return as_program(reply) if denies else parse_program(reply)
