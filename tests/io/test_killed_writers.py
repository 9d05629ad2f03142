"""Sets of files of a process that was killed while it wrote them: undone, completed or left alone, never mixed."""

from __future__ import annotations

import os

import pytest
from killing import Child, Moment

from lisa_micro.io.files import check_output, temporary_prefix, write_files
from lisa_micro.types import InputError

NAMES = ("labels.tif", "coco.json", "answer.json")


def write(folder, text: str) -> int:
    write_files(folder, {name: lambda path, name=name: path.write_text(f"{text} {name}") for name in NAMES})
    return 0


def texts(folder) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def killed(folder, text: str, log, operation: int) -> bool:
    """Write in a process that is killed before one of its operations; whether that moment came."""
    return Child(lambda: write(folder, text), [folder], log, Moment(operation=operation)).end().code is None


def whole(text: str) -> dict[str, str]:
    return {name: f"{text} {name}" for name in NAMES}


def test_a_new_set_is_there_as_a_whole_or_not_at_all_for_who_writes_next(tmp_path):
    reached, incomplete = 1, 0
    while killed(tmp_path / f"{reached}", "new", tmp_path / "log", reached):
        folder = tmp_path / f"{reached}"
        folder.mkdir(exist_ok=True)
        visible = [name for name in texts(folder) if not name.startswith(".")]
        incomplete += 0 < len(visible) < len(NAMES)
        assert len(visible) == len(NAMES) or "answer.json" not in visible
        if len(visible) == len(NAMES):
            with pytest.raises(InputError, match="already holds results"):
                check_output(folder)
            assert texts(folder) == whole("new")  # leftovers are gone, results are not
        else:
            check_output(folder)  # --force is not needed
            assert texts(folder) == {}
        write(folder, "again")
        assert texts(folder) == whole("again")
        reached += 1
    assert incomplete == len(NAMES) - 1


def test_a_set_that_replaces_another_is_never_a_mixture_for_readers(tmp_path):
    reached = 1
    while True:
        folder = tmp_path / f"{reached}"
        write(folder, "old")
        if not killed(folder, "new", tmp_path / "log", reached):
            break
        found = {name: text for name, text in texts(folder).items() if not name.startswith(".")}
        # readers go by the last file
        assert "answer.json" not in found or found in (whole("old"), whole("new"))
        with pytest.raises(InputError, match="already holds results"):
            check_output(folder)
        assert texts(folder) in (whole("old"), whole("new"))
        reached += 1
    assert reached > 2 * len(NAMES)


def test_what_others_write_stays(tmp_path):
    (tmp_path / "labels.tif").write_text("the user's own")
    mine = tmp_path / f"{temporary_prefix()}abc.tif"
    mine.write_text("being written by this process")
    foreign = tmp_path / ".lisa-micro-00000000-1-abc.tif"
    foreign.write_text("written on another computer")
    (tmp_path / ".hidden").write_text("of another program")
    dead = tmp_path / f"{temporary_prefix().replace(str(os.getpid()), str(dead_process()))}abc.tif"
    dead.write_text("half")
    (folder := dead.with_name(f"{dead.name}.zarr")).mkdir()
    (folder / "part").write_text("half")
    check_output(tmp_path, force=True)
    assert sorted(texts(tmp_path)) == sorted([".hidden", foreign.name, mine.name, "labels.tif"])


def dead_process() -> int:
    number = os.fork()
    if number == 0:
        os._exit(0)
    os.waitpid(number, 0)
    return number


def test_a_note_that_was_being_written_undoes_nothing(tmp_path):
    write(tmp_path, "old")
    prefix = temporary_prefix().replace(str(os.getpid()), str(dead_process()))
    (tmp_path / f"{prefix}0.set").write_text('{"new": tr')
    check_output(tmp_path, force=True)
    assert texts(tmp_path) == whole("old")
