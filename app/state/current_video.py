"""The open video of a session: whether it is busy, its pixel size and frame time, and its end."""

from __future__ import annotations

from dataclasses import replace

from lisa_micro.io.times import check_frame_time
from lisa_micro.io.units import check_pixel_size
from lisa_micro.types import InputError
from lisa_micro_app.errors import Advice, AdvisedError
from lisa_micro_app.state.clip import NO_VIDEO
from lisa_micro_app.state.session import Session


def check_idle(session: Session) -> None:
    """Raises:
    InputError: the video is being followed, or a question about it answered.
    """
    if session.video.busy:
        raise AdvisedError("The video is being processed", Advice.WAIT)


def close_video(session: Session) -> None:
    """Remove the video and all that came of it.

    Raises:
        InputError: it is being worked on.
    """
    check_idle(session)
    session.video.forget()


def _typed(text: object, unit: str) -> str:
    return "" if text is None else str(text).strip().lower().removesuffix(unit).strip().replace(",", ".")


def set_pixel_size(session: Session, text: object) -> bool:
    """The pixel size as typed, in nm; nothing brings back what the file says.

    Returns:
        whether it is another one now.

    Raises:
        InputError: not a positive number, no video is open, or it is being followed.
    """
    return _set(session, given_nm=check_pixel_size(_typed(text, "nm") or None))


def set_frame_time(session: Session, text: object) -> bool:
    """The frame time as typed, in s; as :func:`set_pixel_size`."""
    return _set(session, given_s=check_frame_time(_typed(text, "s") or None))  # type: ignore[arg-type]


def _set(session: Session, **given: float | None) -> bool:
    mine = session.video
    if mine.clip is None:
        raise InputError(NO_VIDEO)
    changed = replace(mine.clip, **given)
    for typed, now, own in (
        ("given_nm", mine.clip.pixel_size_nm, mine.clip.facts.pixel_size_nm),
        ("given_s", mine.clip.frame_time_s, mine.clip.facts.frame_time_s),
    ):
        # what is shown comes back when the field is left; rounded, it is no other value
        value = given.get(typed)
        if value is not None and now is not None and f"{value:.6g}" == f"{now:.6g}":
            return False
        if value is not None and own is not None and value == own:
            changed = replace(changed, **{typed: None})
    if changed == mine.clip:
        return False
    check_idle(session)
    mine.clip = changed
    return True
