"""What programs ask for: the page's own handlers, with plain values in and plain data out.
:mod:`lisa_micro_app.api.endpoints` offers them
as an API and to language models. A program has a session like a page has one, and names it by its token; files come
from the session's own uploads and from the samples alone."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lisa_micro import measure as measuring
from lisa_micro.correction.replay import log_text, make_log
from lisa_micro.io import write_labels
from lisa_micro.results.answer import Segmentation
from lisa_micro.types import InputError, Micrograph
from lisa_micro.viz import draw_overlay
from lisa_micro_app import handlers
from lisa_micro_app.jobs import Desk
from lisa_micro_app.limits import Limits
from lisa_micro_app.state import comparison as comparing
from lisa_micro_app.state import correction as correct
from lisa_micro_app.state import video_files as video_open
from lisa_micro_app.state.conversation import Turn, choose_picture, choose_turn
from lisa_micro_app.state.session import Session, Sessions
from lisa_micro_app.views.masks import png

ENDED = "There is no such session, or it has ended; open a new one with open_session."
_MOST_ROWS = 5000


@dataclass
class Programs:
    """The sessions of programs, and what they can have done.

    Attributes:
        sessions, desk, preset: those of the page.
    """

    sessions: Sessions
    desk: Desk
    preset: str = "micro"
    _keys: dict[str, str] = field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        """Those of the page."""
        return self.sessions.limits

    @property
    def shown_preset(self) -> str:
        """Name of the model, as commands take it."""
        return getattr(self.desk.opened, "preset", self.preset)

    def session(self, token: object) -> Session:
        """The session of a token.

        Raises:
            InputError: there is none.
        """
        found = self.sessions.by_token(token) if isinstance(token, str) and token in self._keys else None
        if found is None:
            raise InputError(ENDED)
        return found

    def open(self) -> dict[str, Any]:
        """A new session: its token, where to send files, and what there is.

        Raises:
            InputError: too many are open.
        """
        key = f"program/{secrets.token_urlsafe(16)}"
        session = self.sessions.get(key)
        self._keys = {t: k for t, k in self._keys.items() if self.sessions.by_token(t, touch=False) is not None}
        self._keys[session.token] = key
        return {
            "session": session.token,
            "upload": f"/lisa/upload/{session.token}",
            "largest_upload_mib": self.limits.upload_mib,
            "samples": handlers.sample_names(),
            "video_samples": list(video_open.SAMPLES),
            "ends_after_idle_seconds": self.limits.idle_seconds,
        }

    def close(self, token: object) -> None:
        """End a session and remove its files.

        Raises:
            InputError: there is none.
        """
        self.session(token)
        self.sessions.end(self._keys.pop(str(token)))

    def image(self, session: Session, name: object, pixel_size_nm: float | None = None) -> None:
        """Go on with a micrograph: the key of an upload, the name of a sample, or one that is open already.

        Raises:
            InputError: there is none of that name, it cannot be read, or the pixel size is not positive.
        """
        name = str(name or "")
        opened = session.programs.images
        there = {picture.key for picture in session.state.pictures}
        if opened.get(name, name) in there:
            session.state = choose_picture(session.state, opened.get(name, name))
        elif name in handlers.sample_names():
            handlers.open_sample(session, self.desk, name, self.limits)
        else:
            handlers.open_upload(session, self.desk, name, self.limits)
            opened[name] = str(session.state.current)
        if pixel_size_nm is not None:
            session.state = handlers.set_pixel_size(session.state, pixel_size_nm)

    def segment(
        self, session: Session, image: object, prompt: object, pixel_size_nm: float | None, rows: int
    ) -> dict[str, Any]:
        """Ask about a micrograph; the answer as :func:`answer_record`.

        Raises:
            InputError: as :meth:`image` and :func:`lisa_micro_app.handlers.ask`.
        """
        self.image(session, image, pixel_size_nm)
        before = session.state.counted
        for _ in handlers.ask(session, self.desk, prompt, self.limits):
            pass
        turn = next((turn for turn in session.state.turns if turn.number == before + 1), None)
        if turn is None:
            raise InputError("The request was called off.")
        return answer_record(session, turn, rows)

    def measure_answer(self, session: Session, answer: object, segment: int, rows: int) -> dict[str, Any]:
        """Measurements of a segment of an earlier answer.

        Raises:
            InputError: there is no such answer or segment.
        """
        turn = self._turn(session, answer)
        found = self._segment(turn, segment)
        return _measured(session, found.labels, turn.micrograph, found.table(), rows)

    def measure_labels(
        self, session: Session, labels: str, image: str, pixel_size_nm: float | None, rows: int
    ) -> dict[str, Any]:
        """Measurements of a label image that was sent.

        Args:
            image: the micrograph, for intensities and the pixel size; ``""``: none.

        Raises:
            InputError: it did not arrive, holds no labels, or does not fit the micrograph.
        """
        from lisa_micro.io.units import check_pixel_size

        if image:
            self.image(session, image)
        given, _ = comparing.read_label_upload(session, labels)
        nm = given.pixel_size_nm if pixel_size_nm is None else check_pixel_size(pixel_size_nm)
        micrograph = session.state.picture.micrograph if image and session.state.picture else None
        if micrograph is not None and micrograph.shape != given.shape:
            raise InputError("The labels and the micrograph have different sizes; they must be alike.")
        if nm is None and micrograph is not None:
            nm = micrograph.pixel_size_nm
        pixels = None if micrograph is None else micrograph.pixels
        table = measuring.measure_particles(given.pixels, nm, pixels)
        return _measured(session, given.pixels, Micrograph(pixels, nm) if pixels is not None else nm, table, rows)

    def compare(
        self, session: Session, image: object, words: object, boxes: Sequence[Sequence[float]], truth: str
    ) -> dict[str, Any]:
        """Words against boxes: a sentence, scores, pictures.

        Raises:
            InputError: as :meth:`image` and :func:`lisa_micro_app.state.comparison.compare`.
        """
        self.image(session, image)
        if truth:
            comparing.read_truth(session, truth)
        for _ in comparing.compare(session, self.desk, words, list(boxes or []), self.limits):
            pass
        view = comparing.outcome_view(session)
        return {
            "image": session.state.current,
            "sentence": view["sentence"],
            "against": view["against"],
            "scores": view["scores"],
            "notes": view["notes"],
            "pictures": {picture["name"]: picture["url"] for picture in view["pictures"]},
            "difference": (view["difference"] or {}).get("url"),
        }

    def correct(
        self, session: Session, answer: object, segment: int, actions: Sequence[Any], accept: bool, rows: int
    ) -> dict[str, Any]:
        """Correct a segment of an earlier answer, beginning with what the model outlined: all actions, or none.

        Raises:
            InputError: as :func:`lisa_micro_app.state.correction.act`, with the number of the action.
        """
        turn = self._turn(session, answer)
        self._segment(turn, segment)
        session.state = choose_turn(session.state, turn.number)
        correct.choose_layer(session, segment)
        work = correct.current(session)[2]
        before, undone = work.correction, list(work.undone)
        if work.correction.actions:
            correct.step(session, "reset")
        for number, action in enumerate(actions or [], 1):
            try:
                for _ in correct.act(session, self.desk, action, self.limits):
                    pass
            except InputError as error:
                work.correction, work.undone = before, undone
                raise InputError(f"action {number}: {error} Nothing was changed.") from error
        said = correct.accept(session) if accept else ""
        turn, _, work = correct.current(session)
        new = correct.measured(work.segment, work.correction, turn.micrograph)
        log = make_log(
            work.segment.labels,
            work.correction,
            image=turn.name,
            prompt=turn.answer.prompt,
            phrase=work.segment.phrase,
            concept=work.segment.concept,
        )
        return {
            "answer": turn.number,
            "segment": segment,
            "steps": list(work.correction.said),
            "accepted": said,
            "log": log_text(log),
            **_segment_record(session, new, rows),
            "overlay": _overlay(session, turn.micrograph, [new]),
        }

    def _turn(self, session: Session, answer: object) -> Turn:
        turn = next((turn for turn in session.state.turns if turn.number == answer), None)
        if turn is None:
            raise InputError("There is no such answer; use the number that segment gave as `answer`.")
        return turn

    def _segment(self, turn: Turn, segment: object) -> Segmentation:
        if not isinstance(segment, int) or not 0 <= segment < len(turn.answer.segments):
            raise InputError(f"The answer has {len(turn.answer.segments)} segments; they are counted from 0.")
        return turn.answer.segments[segment]


# ---------------------------------------------------------------------------------------------------- results


def answer_record(session: Session, turn: Turn, rows: int) -> dict[str, Any]:
    """An answer as plain data: reply, values, segments with their tables, addresses of labels and overlay.

    Args:
        rows: of each table, at most.
    """
    answer, image = turn.answer, turn.micrograph
    notes = dict.fromkeys((*answer.notes, *(note for segment in answer.segments for note in segment.notes)))
    return {
        "answer": turn.number,
        "image": turn.picture,
        "image_size_px": [image.shape[1], image.shape[0]],
        "pixel_size_nm": image.pixel_size_nm,
        "prompt": answer.prompt,
        "reply": answer.text,
        "found": bool(answer.segments),
        "values": [
            {"measure": v.measure, "value": v.value if np.isfinite(v.value) else None, "unit": v.unit}
            for v in answer.values
        ],
        "segments": [_segment_record(session, segment, rows) for segment in answer.segments],
        "overlay": _overlay(session, image, answer.segments),
        "notes": list(notes),
        "seconds": round(turn.seconds, 2),
    }


def _segment_record(session: Session, segment: Segmentation, rows: int) -> dict[str, Any]:
    path = session.new_file(".tif")
    write_labels(path, segment.labels, segment.pixel_size_nm)
    return {
        "what": segment.phrase or segment.concept,
        "concept": segment.concept,
        "where": segment.where,
        "count": int(len(np.unique(segment.labels[segment.labels > 0]))),
        "score": round(float(segment.score), 4),
        "area_fraction": float(segment.mask.mean()),
        "table": table_record(segment.table(), rows),
        "labels": session.put(path, "image/tiff", "labels.tif"),
    }


def _overlay(session: Session, image: Micrograph, segments: Sequence[Segmentation]) -> str:
    labels = [segment.labels for segment in segments] or np.zeros(image.shape, np.int32)
    names = [segment.phrase or segment.concept for segment in segments] or None
    return session.put(png(draw_overlay(image.pixels, labels, image.pixel_size_nm, names)), "image/png")


def _measured(
    session: Session, labels: np.ndarray, image: Micrograph | float | None, table: pd.DataFrame, rows: int
) -> dict[str, Any]:
    nm = image.pixel_size_nm if isinstance(image, Micrograph) else image
    pixels = image.pixels if isinstance(image, Micrograph) else None
    summary = measuring.summarise(labels, nm, pixels)
    return {
        "count": len(table),
        "pixel_size_nm": nm,
        "summary": {name: plain_value(value) for name, value in summary.items()},
        "necks": len(measuring.measure_necks(labels, nm)),
        "table": table_record(table, rows),
        "csv": session.put(table.to_csv(index=False).encode("utf-8"), "text/csv", "instances.csv"),
    }


def table_record(table: pd.DataFrame, rows: int) -> dict[str, Any]:
    """A table as ``columns`` (units in the names), ``rows`` (numbers, true or false, null), and how many are left
    out."""
    most = max(0, min(int(rows), _MOST_ROWS))
    shown = table.head(most).astype(object)
    return {
        "columns": list(table.columns),
        "rows": [[plain_value(value) for value in row] for row in shown.itertuples(index=False)],
        "rows_left_out": max(0, len(table) - most),
    }


def plain_value(value: Any) -> Any:
    """A value of a table as a number, text, true or false; none where it is not finite."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value
