"""Downloads: what the command line writes, packed, with the commands that write it again."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

from lisa_micro.io import write_labels
from lisa_micro.results import save_answer
from lisa_micro.types import InputError
from lisa_micro_app.archives import plain_name, zip_folder
from lisa_micro_app.state.conversation import State, Turn
from lisa_micro_app.state.pages import Compared
from lisa_micro_app.state.session import Session

MOST_INPUT_BYTES = 256 * 1024 * 1024
"""A larger input file is not packed again; the user has it."""
HEAD = """#!/bin/sh
# Writes the results of this folder again, into again/. Run it here, where lisa-micro is installed.
set -eu
cd "$(dirname "$0")"
"""


def groups(state: State) -> list[list[Turn]]:
    """Turns by micrograph and pixel size, in the order of the first of each: what one command repeats."""
    found: dict[tuple[str, float | None], list[Turn]] = {}
    for turn in state.turns:
        found.setdefault((turn.picture, turn.given_nm), []).append(turn)
    return list(found.values())


def _names(state: State) -> dict[str, str]:
    """Key of a micrograph -> its file's name in the archive; no two alike."""
    names: dict[str, str] = {}
    for turn in state.turns:
        if turn.picture not in names:
            name, number = plain_name(turn.name), 1
            while name in names.values():
                number += 1
                path = Path(plain_name(turn.name))
                name = f"{path.stem}_{number}{path.suffix}"
            names[turn.picture] = name
    return names


def commands(turns: list[Turn], image: str, out: str, preset: str) -> str:
    """The command that repeats some turns about one micrograph.

    Args:
        turns: in order, about one micrograph with one pixel size.
        image, out: path of its file, and of the folder that gets a folder for each turn.
        preset: of the assistant.
    """
    options = "" if preset == "micro" else f" --preset {shlex.quote(preset)}"
    if turns[0].given_nm is not None:
        options += f" --pixel-size {turns[0].given_nm:.12g}"
    image, out = shlex.quote(image), shlex.quote(out)
    asked = " ".join(shlex.quote(turn.answer.prompt) for turn in turns)
    return f"printf '%s\\n' {asked} | lisa-micro chat {image} --out {out}{options} --force"


def pack(session: Session, preset: str, weights_sha256: str | None, device: str = "") -> Path:
    """All results of a conversation as one archive, in the session's folder: a folder for each micrograph with a folder
    for each answer, holding what ``lisa-micro`` writes; the micrographs; and ``repeat.sh``.

    Raises:
        InputError: nothing was answered yet.
    """
    state = session.state
    if not state.turns:
        raise InputError("There is nothing to download yet; ask something first.")
    work = session.new_file()
    work.mkdir()
    try:
        names, script, written = _names(state), [HEAD], set()
        for turns in groups(state):
            first = turns[0]
            name = names[first.picture]
            folder = Path(name).stem
            if folder in written:  # asked about again with another pixel size
                folder = f"{folder}_{sum(other.startswith(folder) for other in written) + 1}"
            written.add(folder)
            for k, turn in enumerate(turns, 1):
                details: dict[str, Any] = {"device": device, "turn": k}
                save_answer(
                    turn.answer,
                    turn.micrograph,
                    work / folder / str(k),
                    preset=preset,
                    weights_sha256=weights_sha256,
                    details=details,
                )
            script.append(_input(state, first, work / "input" / name))
            script.append(commands(turns, f"input/{name}", f"again/{folder}", preset) + "\n")
            script += _corrections(session, turns, work, folder, name)
        (work / "repeat.sh").write_text("\n".join(filter(None, script)), encoding="utf-8")
        return zip_folder(work, session.new_file(".zip"))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _corrections(session: Session, turns: list[Turn], work: Path, folder: str, name: str) -> list[str]:
    """Keep the logs of what was corrected by hand; the commands that repeat it."""
    from lisa_micro_app.state.correction import write_logs

    nm = "" if turns[0].given_nm is None else f" --pixel-size {turns[0].given_nm:.12g}"
    lines = []
    for k, turn in enumerate(turns, 1):
        for before, log in write_logs(session, turn, work / folder / str(k)):
            tail = log.stem.removeprefix("corrections")
            files = f"input/{name} {before.relative_to(work)} {log.relative_to(work)}"
            lines.append(f"lisa-micro correct {files}{nm} --out again/{folder}/{k}/corrected{tail} --force")
    return [*lines, ""] if lines else []


def _input(state: State, turn: Turn, path: Path) -> str:
    """Put the micrograph's own file into the archive; a remark for the script where it is not."""
    source = next((p.path for p in state.pictures if p.key == turn.picture), None)
    if source is None or not Path(source).is_file() or Path(source).stat().st_size > MOST_INPUT_BYTES:
        return f"# input/{path.name} is not in the archive: put your own file there"
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        shutil.copyfile(source, path)
    return ""


def pack_comparison(session: Session, kept: Compared, preset: str) -> Path:
    """A comparison as one archive: the report of ``lisa-micro compare``, the boxes, the truth, and ``repeat.sh``.

    Args:
        kept: what :func:`lisa_micro_app.state.comparison.compare` left in the session.
    """
    from lisa_micro.io import write_json

    work = session.new_file()
    work.mkdir()
    try:
        comparison, name = kept.comparison, plain_name(kept.name)
        comparison.save(work / "comparison")
        options = "" if preset == "micro" else f" --preset {shlex.quote(preset)}"
        if kept.given_nm is not None:
            options += f" --pixel-size {kept.given_nm:.12g}"
        if kept.boxes:
            write_json(work / "boxes.json", kept.boxes)
            options += " --boxes boxes.json"
        if comparison.truth is not None:
            write_labels(work / "truth.tif", comparison.truth, comparison.image.pixel_size_nm)
            options += " --truth truth.tif"
        script = [HEAD]
        source = Path(kept.path or "")
        if source.is_file() and source.stat().st_size <= MOST_INPUT_BYTES:
            (work / "input").mkdir()
            shutil.copyfile(source, work / "input" / name)
        else:
            script.append(f"# input/{name} is not in the archive: put your own file there")
        words = shlex.quote(kept.words) if kept.words else "''"
        script.append(f"lisa-micro compare input/{name} {words}{options} --out again --force\n")
        (work / "repeat.sh").write_text("\n".join(script), encoding="utf-8")
        return zip_folder(work, session.new_file(".zip"))
    finally:
        shutil.rmtree(work, ignore_errors=True)
