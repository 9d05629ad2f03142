"""A stack of planes: which there are, and how one is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from lisa_micro.io.arrays import check_page
from lisa_micro.io.lazy.layout import Opened, Place
from lisa_micro.io.lazy.plane import Plane
from lisa_micro.types import InputError

_SHOWN_NAMES = 8


@dataclass(frozen=True, eq=False, repr=False)
class Stack:
    """Planes of a file, a folder or an array; nothing is read before it is asked for.

    ``len(stack)`` is the number of planes, ``stack[k]`` plane k, and iteration gives all of them. Use it in a ``with``
    statement, or call :meth:`close`, to close its files early.

    Attributes:
        source: path, or a description.
        pixel_size_nm, pixel_size_origin: as in :class:`lisa_micro.types.Micrograph`.
        step_nm: distance of neighbouring slices in nm, ``None`` if unknown.
        notes: what a user should know, one sentence each.
    """

    opened: Opened
    source: str
    pixel_size_nm: float | None
    pixel_size_origin: str
    step_nm: float | None
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """``(H, W)`` px of a plane."""
        return self.opened.layout.shape

    @property
    def sizes(self) -> dict[str, int]:
        """Number of planes along each axis other than y and x, slowest first, such as ``{"t": 1, "c": 2, "z": 64}``."""
        return dict(zip(self.opened.layout.axes, self.opened.layout.sizes, strict=True))

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels; empty without a channel axis."""
        return self.opened.layout.channels

    def __len__(self) -> int:
        return self.opened.layout.count

    def __getitem__(self, number: int) -> Plane:
        return self.plane(number)

    def __iter__(self) -> Iterator[Plane]:
        return (self.plane(number) for number in range(len(self)))

    def plane(self, page: int | str | None = None, channel: int | str | None = None) -> Plane:
        """One plane.

        Args:
            page: its number, from 0, over all planes or those of the channel (negative numbers count from the end); its
                name in the file; or its place such as ``"z=12"`` or ``"t=3,z=12"``. ``None``: the first one.
            channel: name or number of the channel; ``None``: the first one where ``page`` names none.

        Raises:
            InputError: there is no such plane, channel or axis, or a name that several planes have.
        """
        layout, name = self.opened.layout, _short(self.source)
        chosen = None if channel is None else self.channel_number(channel)
        page = 0 if page is None else page
        if isinstance(page, str):
            page = page.strip()
            if page.lstrip("+-").isdecimal():
                page = int(page)
            elif "=" in page:
                return self._at(self._place(page, chosen))
            else:
                return self._named(page, chosen)
        if chosen is None:
            number = check_page(page, layout.count, name)
            return self._at(tuple(int(k) for k in np.unravel_index(number, layout.sizes)) if layout.sizes else ())
        axis = layout.axes.index("c")
        rest = (*layout.sizes[:axis], *layout.sizes[axis + 1 :])
        number = check_page(page, int(np.prod(rest, dtype=int)), f"Channel {chosen} of {name}")
        place = [int(k) for k in np.unravel_index(number, rest)] if rest else []
        place.insert(axis, chosen)
        return self._at(tuple(place))

    def slices(self, page: str | None = None, channel: int | str | None = None) -> list[Plane]:
        """The planes along z, in order, for a volume.

        Without z, another axis with several planes takes its place.

        Args:
            page: place along the other axes, such as ``"t=3"``; ``None``: the only one.
            channel: as for :meth:`plane`.

        Raises:
            InputError: a single plane, other axes with several planes of which none was chosen, or as :meth:`plane`.
        """
        layout, name = self.opened.layout, _short(self.source)
        chosen = 0 if channel is None else self.channel_number(channel)
        fixed = dict(zip(layout.axes, self._place(page or "", chosen), strict=True))
        given = {part.partition("=")[0].strip().casefold() for part in (page or "").split(",") if part}
        several = [axis for axis, size in self.sizes.items() if size > 1 and axis != "c" and axis not in given]
        along = "z" if "z" in several else several[0] if several else None
        if along is None:
            raise InputError(f"{name} has a single plane, so it is no volume; leave out --volume.")
        others = [axis for axis in several if axis != along]
        if others:
            choice = ",".join(f"{axis}=0" for axis in others)
            raise InputError(
                f"{name} has several planes along {' and '.join(others)} as well; choose one, for example with "
                f'page "{choice}".'
            )
        return [
            self._at(tuple(k if axis == along else fixed[axis] for axis in layout.axes))
            for k in range(self.sizes[along])
        ]

    def channel_number(self, channel: int | str) -> int:
        """Number of a channel given by name or number.

        Raises:
            InputError: there is none, or no channel axis.
        """
        layout, name = self.opened.layout, _short(self.source)
        if "c" not in layout.axes:
            raise InputError(f"{name} has no channels, so there is no channel {channel!r}; leave out the channel.")
        count = self.sizes["c"]
        wanted = str(channel).strip()
        exact = [k for k, known in enumerate(layout.channels) if known == wanted]
        alike = exact or [k for k, known in enumerate(layout.channels) if known.casefold() == wanted.casefold() != ""]
        if len(alike) == 1:
            return alike[0]
        if wanted.lstrip("+-").isdecimal() and -count <= int(wanted) < count:
            return int(wanted) % count
        known = ", ".join(repr(one) if one else str(k) for k, one in enumerate(layout.channels)) or f"0 to {count - 1}"
        raise InputError(f"{name} has no channel {wanted!r}; its channels are {known}.")

    def _place(self, text: str, channel: int | None) -> Place:
        layout, name = self.opened.layout, _short(self.source)
        place = dict.fromkeys(layout.axes, 0)
        if channel is not None and "c" in place:
            place["c"] = channel
        for part in text.split(","):
            axis, _, value = (piece.strip() for piece in part.partition("="))
            if not part.strip():
                continue
            axis = axis.casefold()
            if axis not in place:
                known = ", ".join(layout.axes) or "none"
                raise InputError(f"{name} has no axis {axis!r}; its axes besides y and x are: {known}.")
            if axis == "c":
                place["c"] = self.channel_number(value)
                continue
            size = self.sizes[axis]
            if not value.lstrip("+-").isdecimal() or not -size <= int(value) < size:
                raise InputError(f"{name} has {size} planes along {axis}, 0 to {size - 1}; there is no {axis}={value}.")
            place[axis] = int(value) % size
        return tuple(place[axis] for axis in layout.axes)

    def _named(self, page: str, channel: int | None) -> Plane:
        layout, name = self.opened.layout, _short(self.source)
        found = [k for k, known in enumerate(layout.pages) if known == page]
        found = found or [k for k, known in enumerate(layout.pages) if known.casefold() == page.casefold()]
        if len(found) != 1:
            if found:
                raise InputError(f"{len(found)} pages of {name} are called {page!r}; give the number of one.")
            shown = [repr(one) for one in layout.pages[:_SHOWN_NAMES] if one]
            more = ", ..." if len(layout.pages) > _SHOWN_NAMES else ""
            names = f"its pages are called {', '.join(shown)}{more}" if shown else "its pages have no names"
            raise InputError(f"{name} has no page {page!r}; {names}, and are numbered 0 to {layout.count - 1}.")
        plane = self.plane(found[0])
        if channel is not None and plane.place[layout.axes.index("c")] != channel:
            raise InputError(f"The page {page!r} of {name} belongs to another channel than {channel}.")
        return plane

    def _at(self, place: Place) -> Plane:
        layout = self.opened.layout
        number = int(np.ravel_multi_index(place, layout.sizes)) if place else 0
        notes = list(self.notes)
        if layout.count > 1:
            where = ", ".join(f"{axis}={k}" for axis, k in zip(layout.axes, place, strict=True))
            named = f", channel {layout.channels[place[layout.axes.index('c')]]!r}" if any(layout.channels) else ""
            notes.append(f"The stack has {layout.count} planes; plane {number} ({where}{named}) is used.")
        return Plane(
            layout,
            place,
            self.source,
            number,
            self.pixel_size_nm,
            self.pixel_size_origin,
            tuple(notes),
            self.opened.read,
        )

    def close(self) -> None:
        """Close the files; planes cannot be read afterwards."""
        self.opened.close()

    def __enter__(self) -> Stack:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        sizes = " x ".join(f"{size} {axis}" for axis, size in self.sizes.items()) or "1"
        nm = "no pixel size" if self.pixel_size_nm is None else f"{self.pixel_size_nm:.4g} nm/px"
        step = "" if self.step_nm is None else f", slices {self.step_nm:.4g} nm apart"
        return f"<Stack {self.source!r}: {sizes} planes of {self.shape[1]} x {self.shape[0]} px, {nm}{step}>"


def _short(source: str) -> str:
    return source.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or source
