"""Requests of programs about micrographs: the handlers of the pages with plain values in and plain data out.

A program has a session as a page has, and names it by its token. It can use its own uploads and the samples, and no
other files. :mod:`lisa_micro_app.api.endpoints` offers these functions as an API and to language models.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lisa_micro import measure as measuring
from lisa_micro.correction.replay import log_text, make_log
from lisa_micro.execution import PlotData
from lisa_micro.io import write_labels
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.results.export import reading_record, value_record
from lisa_micro.types import InputError, Micrograph
from lisa_micro.viz import draw_overlay
from lisa_micro.viz.answer_plots import plot_png, plot_record, plot_table
from lisa_micro.viz.browser import png
from lisa_micro_app import handlers
from lisa_micro_app.jobs import JobQueue
from lisa_micro_app.limits import Limits
from lisa_micro_app.state import comparison as comparing
from lisa_micro_app.state import correction as correct
from lisa_micro_app.state import video_files as video_open
from lisa_micro_app.state.conversation import Turn, choose_picture, choose_turn
from lisa_micro_app.state.session import Session, Sessions
from lisa_micro_app.views.comparison import comparison_view

NO_SESSION = "There is no such session, or it has ended; open a new one with open_session."
_MAX_ROWS = 5000


@dataclass
class Programs:
    """The sessions of programs and their requests.

    Attributes:
        sessions, queue: shared with the pages.
        preset: name of the model, as commands take it, until it is loaded.
    """

    sessions: Sessions
    queue: JobQueue
    preset: str = "micro"
    _keys: dict[str, str] = field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        """The limits of the app."""
        return self.sessions.limits

    @property
    def shown_preset(self) -> str:
        """Name of the model, as commands take it."""
        return self.queue.preset(self.preset)

    def session(self, token: object) -> Session:
        """The session of a token.

        Raises:
            InputError: no program has a session with this token.
        """
        found = self.sessions.by_token(token) if isinstance(token, str) and token in self._keys else None
        if found is None:
            raise InputError(NO_SESSION)
        return found

    def open(self) -> dict[str, Any]:
        """Open a session; return its token, the address for uploads, and the samples.

        Raises:
            InputError: too many sessions are open.
        """
        key = f"program/{secrets.token_urlsafe(16)}"
        session = self.sessions.get(key)
        self._keys[session.token] = key
        # in place: another thread may open a session meanwhile, which a rebuilt dictionary would lose
        for token in list(self._keys):
            if self.sessions.by_token(token, touch=False) is None:
                self._keys.pop(token, None)
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
            InputError: no program has a session with this token.
        """
        self.session(token)
        self.sessions.end(self._keys.pop(str(token)))

    def image(self, session: Session, name: object, pixel_size_nm: float | None = None) -> None:
        """Make a micrograph the current one.

        Args:
            session: of the program.
            name: key of an upload, name of a sample, or key of an open micrograph.
            pixel_size_nm: to set; ``None``: unchanged.

        Raises:
            InputError: the name is unknown, the file cannot be read, or the pixel size is not positive.
        """
        name = str(name or "")
        opened = session.programs.images
        known = {picture.key for picture in session.state.pictures}
        if opened.get(name, name) in known:
            session.state = choose_picture(session.state, opened.get(name, name))
        elif name in handlers.sample_names():
            handlers.open_sample(session, self.queue, name, self.limits)
        else:
            handlers.open_upload(session, self.queue, name, self.limits)
            opened[name] = str(session.state.current)
        if pixel_size_nm is not None:
            session.state = handlers.set_pixel_size(session.state, pixel_size_nm)

    def segment(
        self, session: Session, image: object, prompt: object, pixel_size_nm: float | None, rows: int
    ) -> dict[str, Any]:
        """Ask about a micrograph; return :func:`answer_record`.

        Raises:
            InputError: as :meth:`image` and :func:`lisa_micro_app.handlers.ask`.
        """
        self.image(session, image, pixel_size_nm)
        before = session.state.counted
        for _ in handlers.ask(session, self.queue, prompt, self.limits):
            pass
        turn = next((turn for turn in session.state.turns if turn.number == before + 1), None)
        if turn is None:
            raise InputError("The request was cancelled.")
        return answer_record(session, turn, rows)

    def reinterpret(self, session: Session, answer: object, rows: int) -> dict[str, Any]:
        """Replace an answer by that of the other reading that it offers; return :func:`answer_record`.

        Raises:
            InputError: as :func:`lisa_micro_app.handlers.reinterpret`.
        """
        turn = self._turn(session, answer)
        for _ in handlers.reinterpret(session, self.queue, turn.number):
            pass
        new = self._turn(session, turn.number)
        if new.readings == turn.readings:
            raise InputError("The request was cancelled.")
        return answer_record(session, new, rows)

    def measure_answer(self, session: Session, answer: object, segment: int, rows: int) -> dict[str, Any]:
        """Measure a segment of an earlier answer.

        Raises:
            InputError: there is no such answer or segment.
        """
        turn = self._turn(session, answer)
        found = self._segment(turn, segment)
        return _measure_record(session, found.labels, turn.micrograph, found.table(), rows)

    def measure_labels(
        self, session: Session, labels: str, image: str, pixel_size_nm: float | None, rows: int
    ) -> dict[str, Any]:
        """Measure an uploaded label image.

        Args:
            session: of the program.
            labels: key of the upload.
            image: the micrograph, for intensities and the pixel size; ``""``: none.
            pixel_size_nm: of the labels; ``None``: as the files say.
            rows: maximum number of rows of the table.

        Raises:
            InputError: the file did not arrive, has no labels, or differs in size from the micrograph.
        """
        from lisa_micro.io.units import check_pixel_size

        if image:
            self.image(session, image)
        given, _ = comparing.read_label_upload(session, labels)
        nm = given.pixel_size_nm if pixel_size_nm is None else check_pixel_size(pixel_size_nm)
        micrograph = session.state.picture.micrograph if image and session.state.picture else None
        if micrograph is not None and micrograph.shape != given.shape:
            sizes = [f"{shape[1]} x {shape[0]} px" for shape in (given.shape, micrograph.shape)]
            raise InputError(f"The labels are {sizes[0]} and the micrograph {sizes[1]}; they must have the same size.")
        if nm is None and micrograph is not None:
            nm = micrograph.pixel_size_nm
        pixels = None if micrograph is None else micrograph.pixels
        table = measuring.measure_particles(given.pixels, nm, pixels)
        measured = nm if pixels is None else Micrograph(pixels, nm)
        return _measure_record(session, given.pixels, measured, table, rows)

    def compare(
        self, session: Session, image: object, words: object, boxes: Sequence[Sequence[float]], truth: str
    ) -> dict[str, Any]:
        """Compare words with boxes: a sentence, scores and pictures.

        Raises:
            InputError: as :meth:`image` and :func:`lisa_micro_app.state.comparison.compare`.
        """
        self.image(session, image)
        if truth:
            comparing.read_truth(session, truth)
        for _ in comparing.compare(session, self.queue, words, list(boxes or []), self.limits):
            pass
        view = comparison_view(session)
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
        self,
        session: Session,
        answer: object,
        segment: int,
        actions: Sequence[Mapping[str, Any]],
        accept: bool,
        rows: int,
    ) -> dict[str, Any]:
        """Correct a segment of an earlier answer, starting from the model's segmentation. If an action fails, none is
        applied.

        Args:
            session: of the program.
            answer: number of the answer.
            segment: index of the segment, from 0.
            actions: see :func:`lisa_micro_app.state.correction.act`.
            accept: whether to make the result part of the answer.
            rows: maximum number of rows of the table.

        Raises:
            InputError: as :func:`lisa_micro_app.state.correction.act`, with the number of the action.
        """
        turn = self._turn(session, answer)
        self._segment(turn, segment)
        session.state = choose_turn(session.state, turn.number)
        correct.choose_layer(session, segment)
        edit = correct.current(session)[2]
        before, undone = edit.correction, list(edit.undone)
        if edit.correction.actions:
            correct.step(session, "reset")
        for number, action in enumerate(actions or [], 1):
            try:
                for _ in correct.act(session, self.queue, action, self.limits):
                    pass
            except InputError as error:
                edit.correction, edit.undone = before, undone
                raise InputError(f"action {number}: {error} Nothing was changed.") from error
        message = correct.accept(session) if accept else ""
        turn, _, edit = correct.current(session)
        new = correct.measured(edit.segment, edit.correction, turn.micrograph)
        log = make_log(
            edit.segment.labels,
            edit.correction,
            image=turn.name,
            prompt=turn.answer.prompt,
            phrase=edit.segment.phrase,
            concept=edit.segment.concept,
        )
        return {
            "answer": turn.number,
            "segment": segment,
            "steps": list(edit.correction.said),
            "accepted": message,
            "log": log_text(log),
            **segment_record(session, new, rows),
            "overlay": overlay_url(session, turn.micrograph, [new]),
        }

    def _turn(self, session: Session, answer: object) -> Turn:
        turn = next((turn for turn in session.state.turns if turn.number == answer), None)
        if turn is None:
            raise InputError("There is no such answer; use the number that segment gave as `answer`.")
        return turn

    def _segment(self, turn: Turn, segment: object) -> Segmentation:
        if not isinstance(segment, int) or not 0 <= segment < len(turn.answer.segments):
            raise InputError(f"The answer has {len(turn.answer.segments)} segments, which are counted from 0.")
        return turn.answer.segments[segment]


# ---------------------------------------------------------------------------------------------------- results


def answer_record(session: Session, turn: Turn, rows: int) -> dict[str, Any]:
    """An answer as plain data: reply, values, segments with their tables, addresses of label images and overlay.

    Args:
        session: whose answer.
        turn: the answer.
        rows: maximum number of rows of each table.
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
        "understood": answer.understood,
        "confidence": answer.confidence,
        "alternative": reading_record(answer.alternative),
        "refusal": answer.refusal,
        "values": [
            {
                "measure": v.measure,
                "value": v.value if np.isfinite(v.value) else None,
                "unit": v.unit,
                "standard_error": v.standard_error,
            }
            for v in answer.values
        ],
        "segments": [segment_record(session, segment, rows) for segment in answer.segments],
        "plots": [_plot_record(session, answer, plot, rows) for plot in answer.plots],
        "overlay": overlay_url(session, image, answer.segments),
        "notes": list(notes),
        "seconds": round(turn.seconds, 2),
    }


def _area_fraction(segment: Segmentation) -> float:
    """Part of the field of view that is in any instance."""
    image = segment.image
    whole = image.field_area if image is not None and image.shape == segment.mask.shape else segment.mask.size
    return float(segment.mask.sum()) / max(whole, 1)


def _plot_record(session: Session, answer: Answer, plot: PlotData, rows: int) -> dict[str, Any]:
    """The numbers of a plot, at most ``rows`` of each series, with the addresses of its picture and its table."""
    most, record = _most(rows), plot_record(plot)
    for series in record["series"]:
        for name in {"values", "against"} & set(series):
            series[name] = [plain_value(value) for value in series[name][:most]]
        series["values_left_out"] = max(0, series["n"] - most)
    if plot.problem:
        return record | {"png": None, "csv": None}
    picture, table = plot_png(plot, answer.plot_colours(plot)), plot_table(plot).to_csv(index=False)
    return record | {
        "png": session.put(picture, "image/png", "plot.png"),
        "csv": session.put(table.encode("utf-8"), "text/csv", "plot.csv"),
    }


def segment_record(session: Session, segment: Segmentation, rows: int) -> dict[str, Any]:
    path = session.new_file(".tif")
    write_labels(path, segment.labels, segment.pixel_size_nm)
    return {
        "what": segment.phrase or segment.concept,
        "concept": segment.concept,
        "where": segment.where,
        "count": int(len(np.unique(segment.labels[segment.labels > 0]))),
        "score": round(float(segment.score), 4),
        "area_fraction": _area_fraction(segment),
        "mean_size": None if segment.mean_size is None else value_record(segment.mean_size),
        "table": table_record(segment.table(), rows),
        "labels": session.put(path, "image/tiff", "labels.tif"),
    }


def overlay_url(session: Session, image: Micrograph, segments: Sequence[Segmentation]) -> str:
    labels = [segment.labels for segment in segments] or np.zeros(image.shape, np.int32)
    names = [segment.phrase or segment.concept for segment in segments] or None
    return session.put(png(draw_overlay(image.pixels, labels, image.pixel_size_nm, names)), "image/png")


def _measure_record(
    session: Session, labels: np.ndarray, image: Micrograph | float | None, table: pd.DataFrame, rows: int
) -> dict[str, Any]:
    """Measurements of labels as plain data. image: the micrograph, or the pixel size alone, nm."""
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
    """A table as plain data: ``columns`` (names with units), ``rows`` (numbers, text, booleans, null) and
    ``rows_left_out``."""
    most = _most(rows)
    shown = table.head(most).astype(object)
    return {
        "columns": list(table.columns),
        "rows": [[plain_value(value) for value in row] for row in shown.itertuples(index=False)],
        "rows_left_out": max(0, len(table) - most),
    }


def _most(rows: int) -> int:
    return max(0, min(int(rows), _MAX_ROWS))


def plain_value(value: object) -> object:
    """A value of a table as a number (six significant digits), text or boolean; ``None`` if it is not finite."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value
