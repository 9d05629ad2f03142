"""The open video of a session: its pixel size, its frame time, and closing it."""

from __future__ import annotations

from dataclasses import replace

from lisa_micro.io.times import check_frame_time
from lisa_micro.io.units import check_pixel_size
from lisa_micro.types import InputError
from lisa_micro_app.errors import Advice, AdvisedError
from lisa_micro_app.state.clip import NO_VIDEO, Clip
from lisa_micro_app.state.session import Session


def check_idle(session: Session) -> None:
    """Raises:
    InputError: the video is being tracked, or a question about it is being answered.
    """
    if session.video.busy:
        raise AdvisedError("The video is being processed", Advice.WAIT)


def current_clip(session: Session) -> Clip:
    """The open video.

    Raises:
        InputError: no video is open.
    """
    if session.video.clip is None:
        raise InputError(NO_VIDEO)
    return session.video.clip


def close_video(session: Session) -> None:
    """Close the video and remove its results.

    Raises:
        InputError: it is being processed.
    """
    check_idle(session)
    session.video.forget()


def _number_text(text: object, unit: str) -> str | None:
    """A typed number without its unit, with a decimal point; ``None`` for an empty text."""
    return None if text is None else str(text).strip().lower().removesuffix(unit).strip().replace(",", ".") or None


def set_pixel_size(session: Session, text: object) -> bool:
    """Set the pixel size as typed, in nm; an empty text restores that of the file.

    Returns:
        whether it has changed.

    Raises:
        InputError: not a positive number, no video is open, or it is being processed.
    """
    value, clip = check_pixel_size(_number_text(text, "nm")), current_clip(session)
    if value is not None and _as_shown(value, clip.pixel_size_nm):
        return False
    return _set(session, replace(clip, given_nm=None if value == clip.facts.pixel_size_nm else value))


def set_frame_time(session: Session, text: object) -> bool:
    """Set the frame time as typed, in s; as :func:`set_pixel_size`."""
    value, clip = check_frame_time(_number_text(text, "s")), current_clip(session)
    if value is not None and _as_shown(value, clip.frame_time_s):
        return False
    return _set(session, replace(clip, given_s=None if value == clip.facts.frame_time_s else value))


def _as_shown(value: float, current: float | None) -> bool:
    """Whether a value equals the current one as the page shows it: leaving the field sends the rounded value back."""
    return current is not None and f"{value:.6g}" == f"{current:.6g}"


def _set(session: Session, changed: Clip) -> bool:
    if changed == session.video.clip:
        return False
    check_idle(session)
    session.video.clip = changed
    return True
