"""The page Batch without a browser: files and zips within limits, runs that fill a table, stop and go on."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from batch_images import disc_image
from batch_stand_in import Thresholding
from PIL import Image

from lisa_micro.types import InputError
from lisa_micro_app.limits import Limits
from lisa_micro_app.state import batch_files, batch_run

STAND_IN = Thresholding
LIMITS = Limits(batch_images=6, batch_mib=1, upload_mib=2)


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(disc_image(seed)).save(buffer, format="PNG")
    return buffer.getvalue()


def give(user, content: bytes, name: str, limits=LIMITS) -> None:
    path = user.new_file(".upload")
    path.write_bytes(content)
    batch_files.keep(user, path, name, limits)


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def run(user, queue, words="segment particles", groups="", limits=LIMITS):
    return list(batch_run.run_files(user, queue, words, groups, limits))


def test_files_and_zips_become_a_table_a_report_and_an_archive(user, queue):
    give(user, png(0), "film 1.png")
    give(user, png(1), "film 1.png")
    give(
        user,
        zipped({"old/a.png": png(2), "new/b.png": png(3), "new/notes.txt": b"x", "__MACOSX/c.png": b"x"}),
        "lab.zip",
    )
    assert user.batch.files == ["film_1.png", "film_1_2.png", "old/a.png", "new/b.png"]
    run(user, queue, groups="folder")
    assert [row[0] for row in user.batch.rows] == ["film_1.png", "film_1_2.png", "new/b.png", "old/a.png"]
    assert all(" particles" in row[1] and row[2].endswith("px") for row in user.batch.rows)
    assert user.batch.result.counts.done == 4
    with zipfile.ZipFile(batch_run.pack_batch(user, "micro")) as archive:
        names = set(archive.namelist())
        script = archive.read("repeat.sh").decode()
    assert {f"results/{name}" for name in ("report.html", "report.pdf", "results.xlsx", "instances.csv")} <= names
    assert {"input/film_1.png", "input/new/b.png"} <= names
    assert script.endswith("lisa-micro batch --out again --group-by folder -- input 'segment particles'\n")
    assert b"plotly" in batch_run.report_file(user).read_bytes()[:200_000]


def test_a_broken_file_is_a_row_with_a_sentence_and_without_a_path(user, queue):
    give(user, png(0), "a.png")
    give(user, b"no picture", "b.png")
    run(user, queue)
    row = next(row for row in user.batch.rows if row[0] == "b.png")
    assert row[3].endswith(".") and str(user.folder) not in row[3]
    assert user.batch.result.counts.failed == 1


@pytest.mark.parametrize(
    "name", ["../../evil.png", "/etc/passwd.png", "..\\..\\evil.png", "a b;rm -rf.png", "\u202eevil.png"]
)
def test_no_name_leads_out_of_the_session(user, name):
    give(user, png(0), name)
    give(user, zipped({name: png(1)}), "lab.zip")
    inside = [path for path in batch_files.images_folder(user).rglob("*") if path.is_file()]
    assert len(inside) == 2
    for path in inside:
        assert path.resolve().is_relative_to(user.folder.resolve())


def test_limits_are_kept_with_one_sentence_each(user):
    with pytest.raises(InputError, match="no image"):
        give(user, b"x", "a.txt")
    with pytest.raises(InputError, match="no images"):
        give(user, zipped({"a.txt": b"x"}), "lab.zip")
    with pytest.raises(InputError, match="at most 1 MiB"):
        give(user, zipped({"bomb.tif": bytes(40_000_000)}), "lab.zip")
    for k in range(6):
        give(user, png(k), f"{k}.png")
    with pytest.raises(InputError, match="at most 6 images"):
        give(user, png(7), "7.png")
    assert not list(user.folder.glob("*.part")) and not list(user.folder.glob("*.upload"))
    batch_files.forget(user)
    assert user.batch.files == [] and not batch_files.images_folder(user).exists()


def test_what_cannot_be_run_is_one_sentence(user, queue):
    with pytest.raises(InputError, match="Drop images"):
        run(user, queue)
    give(user, png(0), "a.png")
    for words, groups in (("", ""), ("p", "colour"), ("p", "name:(")):
        with pytest.raises(InputError):
            run(user, queue, words, groups)
    with pytest.raises(InputError, match="Nothing to download"):
        batch_run.pack_batch(user, "micro")


class Waiting(Thresholding):
    """Waits at each image until it may go on."""

    def __init__(self):
        super().__init__()
        self.go, self.reached = threading.Semaphore(0), threading.Semaphore(0)

    def open_conversation(self, image, tiling="auto", **_):
        self.reached.release()
        assert self.go.acquire(timeout=30)
        return super().open_conversation(image, tiling)


def test_a_stopped_run_keeps_its_rows_and_goes_on(user, queue):
    queue.assistant = waiting = Waiting()
    for k in range(4):
        give(user, png(k), f"{k}.png")
    thread = threading.Thread(target=run, args=(user, queue))
    thread.start()
    for _ in range(2):
        assert waiting.reached.acquire(timeout=30)
        waiting.go.release()
    assert waiting.reached.acquire(timeout=30)  # at the third image
    with pytest.raises(InputError, match="going on"):
        give(user, png(9), "late.png")
    with pytest.raises(InputError, match="going on"):
        run(user, queue)
    assert user.batch.cancel()
    waiting.go.release()
    thread.join(30)
    assert user.batch.result is None and len(user.batch.rows) >= 2
    queue.assistant = Thresholding()
    run(user, queue)
    assert user.batch.result.counts.done == 4
    assert sorted(row[0] for row in user.batch.rows) == [f"{k}.png" for k in range(4)]


def test_another_request_begins_anew(user, queue):
    give(user, png(0), "a.png")
    run(user, queue)
    run(user, queue, "nothing")
    assert [row[1] for row in user.batch.rows] == ["nothing"]
    record = json.loads((batch_files.results_folder(user) / "run.json").read_text())
    assert record["requests"] == [{"kind": "words", "words": "nothing"}]


def test_sessions_do_not_see_each_other(sessions, user):
    other = sessions.get("two")
    give(user, png(0), "a.png")
    assert other.batch.files == [] and user.batch.files == ["a.png"]
    sessions.end("one")
    assert not user.folder.exists() and np.all([not user.batch.busy])


def test_a_long_run_ends_at_its_limit_and_says_so(user, queue):
    queue.assistant = Thresholding(seconds=0.2)
    for k in range(4):
        give(user, png(k), f"{k}.png")
    with pytest.raises(InputError, match="took longer"):
        run(user, queue, limits=replace(LIMITS, batch_seconds=0.3))
    assert user.batch.rows
