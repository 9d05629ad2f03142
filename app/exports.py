"""Downloads of the pages Chat and Words against boxes: results as the command line writes them, with ``repeat.sh``."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from lisa_micro.io import Looking, write_json, write_labels
from lisa_micro.results import save_answer
from lisa_micro.types import InputError
from lisa_micro_app.archives import SCRIPT_HEAD, command_options, copy_input, plain_name, zip_folder
from lisa_micro_app.state.conversation import State, Turn
from lisa_micro_app.state.correction import write_logs
from lisa_micro_app.state.pages import Compared
from lisa_micro_app.state.session import Session


def group_turns(state: State) -> list[list[Turn]]:
    """Group turns by micrograph, pixel size and scale bar, in the order of their first turns; one command repeats each
    group."""
    groups: dict[tuple[str, float | None, Looking], list[Turn]] = {}
    for turn in state.turns:
        groups.setdefault((turn.picture, turn.given_nm, turn.looking), []).append(turn)
    return list(groups.values())


def _file_names(state: State) -> dict[str, str]:
    """Unique file names in the archive, by the keys of the micrographs."""
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


def chat_command(turns: Sequence[Turn], image: str, out: str, preset: str) -> str:
    """The command that repeats turns about one micrograph, follow-ups included.

    Args:
        turns: in order, about one micrograph with one pixel size.
        image: path of the micrograph.
        out: path of the folder that gets one folder per turn.
        preset: of the assistant.
    """
    # a line "?" takes the other reading of the request before it, as the button in the page does
    lines = [line for turn in turns for line in (turn.answer.prompt, *["?"] * (turn.readings % 2))]
    prompts = " ".join(map(shlex.quote, lines))
    options = command_options(preset, turns[0].given_nm, turns[0].looking)
    return f"printf '%s\\n' {prompts} | lisa-micro chat {shlex.quote(image)} --out {shlex.quote(out)}{options} --force"


def pack(session: Session, preset: str, weights_sha256: str | None, device: str = "") -> Path:
    """Pack all results of a conversation into one archive in the session's folder.

    It has one folder per micrograph with one folder per answer, as ``lisa-micro chat`` writes them; the micrographs;
    and ``repeat.sh``.

    Args:
        session: whose conversation.
        preset, weights_sha256, device: of the assistant, for ``answer.json``.

    Raises:
        InputError: there is no answer yet, or the archive cannot be written.
    """
    state = session.state
    if not state.turns:
        raise InputError("Nothing to download yet; ask something first.")
    root = session.new_file()
    root.mkdir()
    try:
        names, script, folders = _file_names(state), [SCRIPT_HEAD], set[str]()
        paths = {picture.key: picture.path for picture in state.pictures}
        for turns in group_turns(state):
            name = names[turns[0].picture]
            folder = Path(name).stem
            if folder in folders:  # the same micrograph with another pixel size
                folder = f"{folder}_{sum(other.startswith(folder) for other in folders) + 1}"
            folders.add(folder)
            for k, turn in enumerate(turns, 1):
                save_answer(
                    turn.answer,
                    turn.micrograph,
                    root / folder / str(k),
                    preset=preset,
                    weights_sha256=weights_sha256,
                    details={"device": device, "turn": k},
                )
            script.append(copy_input(paths.get(turns[0].picture), root / "input" / name))
            script.append(chat_command(turns, f"input/{name}", f"again/{folder}", preset) + "\n")
            script += _corrections(session, turns, root, folder, name)
        (root / "repeat.sh").write_text("\n".join(filter(None, script)), encoding="utf-8")
        return zip_folder(root, session.new_file(".zip"))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _corrections(session: Session, turns: Sequence[Turn], root: Path, folder: str, name: str) -> list[str]:
    """Write the logs of accepted corrections; return the commands that replay them."""
    options = command_options(pixel_size_nm=turns[0].given_nm, looking=turns[0].looking)
    lines = []
    for k, turn in enumerate(turns, 1):
        for before, log in write_logs(session, turn, root / folder / str(k)):
            tail = log.stem.removeprefix("corrections")
            files = f"input/{name} {before.relative_to(root)} {log.relative_to(root)}"
            lines.append(f"lisa-micro correct {files}{options} --out again/{folder}/{k}/corrected{tail} --force")
    return [*lines, ""] if lines else []


def pack_comparison(session: Session, compared: Compared, preset: str) -> Path:
    """Pack a comparison into one archive: the report of ``lisa-micro compare``, boxes, true labels and ``repeat.sh``.

    Args:
        session: whose folder gets the archive.
        compared: left in the session by :func:`lisa_micro_app.state.comparison.compare`.
        preset: of the assistant.

    Raises:
        InputError: the archive cannot be written.
    """
    root = session.new_file()
    root.mkdir()
    try:
        comparison, name = compared.comparison, plain_name(compared.name)
        comparison.save(root / "comparison")
        options = command_options(preset, compared.given_nm, compared.looking)
        if compared.boxes:
            write_json(root / "boxes.json", compared.boxes)
            options += " --boxes boxes.json"
        if comparison.truth is not None:
            write_labels(root / "truth.tif", comparison.truth, comparison.image.pixel_size_nm)
            options += " --truth truth.tif"
        comment = copy_input(compared.path, root / "input" / name)
        words = shlex.quote(compared.words) if compared.words else "''"
        command = f"lisa-micro compare input/{name} {words}{options} --out again --force\n"
        (root / "repeat.sh").write_text("\n".join(filter(None, [SCRIPT_HEAD, comment, command])), encoding="utf-8")
        return zip_folder(root, session.new_file(".zip"))
    finally:
        shutil.rmtree(root, ignore_errors=True)
