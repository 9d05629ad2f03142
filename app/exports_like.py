"""Downloads of the page Find all like this: results as ``lisa-micro segment --like`` writes them, and the exemplar."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from lisa_micro.exemplar import Exemplar
from lisa_micro.results import save_answer
from lisa_micro.results.answer import Answer
from lisa_micro_app.archives import SCRIPT_HEAD, command_options, copy_input, plain_name, zip_folder
from lisa_micro_app.jobs import JobQueue
from lisa_micro_app.state.like import sentence
from lisa_micro_app.state.pages import FoundAlike
from lisa_micro_app.state.session import Session

EXEMPLAR_FILE = "exemplar.json"


def put_exemplar(session: Session, exemplar: Exemplar) -> str:
    """Offer an exemplar to the browser; return its path on the server."""
    path = exemplar.save(session.new_file(".json"))
    return session.put(path, "application/json", EXEMPLAR_FILE)


def pack_alike(session: Session, found: FoundAlike, queue: JobQueue) -> Path:
    """Pack what is alike into one archive: results, exemplar, micrograph and ``repeat.sh``.

    Args:
        session: whose folder gets the archive.
        found: left in the session by :func:`lisa_micro_app.state.like.find`.
        queue: with the assistant.

    Raises:
        InputError: the archive cannot be written.
    """
    root = session.new_file()
    root.mkdir()
    try:
        picture, assistant = found.picture, queue.assistant
        segments = (found.segment,) if found.segment.count else ()
        notes = found.notes if segments else (*found.notes, *found.segment.notes)
        answer = Answer(sentence(found), segments, found.words, declined=not segments, notes=notes)
        save_answer(
            answer,
            picture.micrograph,
            root / "alike",
            preset=assistant.preset,
            weights_sha256=assistant.weights_sha256,
            details={"device": str(assistant.device), "like_px": found.like, "unlike_px": found.unlike},
        )
        found.exemplar.save(root / EXEMPLAR_FILE)
        name = plain_name(picture.name)
        comment = copy_input(picture.path, root / "input" / name)
        words = f" {shlex.quote(found.words)}" if found.words else ""
        options = command_options(assistant.preset, picture.given_nm, picture.looking)
        command = f"lisa-micro segment input/{name}{words} --like {EXEMPLAR_FILE}{options} --out again --force\n"
        (root / "repeat.sh").write_text("\n".join(filter(None, [SCRIPT_HEAD, comment, command])), encoding="utf-8")
        return zip_folder(root, session.new_file(".zip"))
    finally:
        shutil.rmtree(root, ignore_errors=True)
