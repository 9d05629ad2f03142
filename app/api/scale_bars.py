"""Scale bars for programs: mark one, say that there is none, or read it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lisa_micro_app import scale_bars
from lisa_micro_app.api.programs import Programs
from lisa_micro_app.state.session import Session


def set_scale_bar(
    programs: Programs, session: Session, image: object, action: str, ends: Sequence[float], length: str
) -> dict[str, Any]:
    """Change the scale bar of a micrograph; return its pixel size, its scale bar and the notes about it.

    Args:
        programs: of the app.
        session: of the program.
        image: as for :meth:`Programs.image`.
        action, ends, length: as for :func:`lisa_micro_app.scale_bars.change`.

    Raises:
        InputError: as both.
    """
    programs.image(session, image)
    session.state = scale_bars.change(session.state, action, ends, length)
    picture = session.state.picture
    assert picture is not None  # Programs.image opened it
    bar = picture.micrograph.scale_bar
    return {
        "image": picture.key,
        "pixel_size_nm": picture.micrograph.pixel_size_nm,
        "pixel_size_origin": picture.micrograph.pixel_size_origin,
        "scale_bar": None if bar is None else asdict(bar),
        "text": scale_bars.told(picture),
        "notes": list(picture.micrograph.notes),
    }
