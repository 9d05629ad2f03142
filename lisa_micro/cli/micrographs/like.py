"""Options and results of ``--like``, shared by the commands that find all that is like an example."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lisa_micro.cli.loading import parse_boxes
from lisa_micro.types import InputError

if TYPE_CHECKING:
    from lisa_micro.exemplar import Exemplar

Like = Annotated[
    list[str] | None,
    typer.Option(
        metavar="X0,Y0,X1,Y1|FILE",
        help="Box in px around an example, or a file of --save-like: segment everything alike; repeatable.",
    ),
]
Unlike = Annotated[
    list[str] | None,
    typer.Option(metavar="X0,Y0,X1,Y1", help="With --like: box in px around what is not meant; repeatable."),
]


@dataclass(frozen=True)
class LikeOptions:
    """Examples in place of words, or beside them."""

    like: Like = None
    unlike: Unlike = None
    save_like: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Save what --like has learnt, for --like on other micrographs and videos."),
    ] = None


@dataclass(frozen=True)
class Examples:
    """What the options of ``--like`` say.

    Attributes:
        like, unlike: boxes XYXY px, corners not checked yet.
        exemplar: of the files, joined; ``None`` without a file.
    """

    like: list[list[float]]
    unlike: list[list[float]]
    exemplar: Exemplar | None = None

    def __bool__(self) -> bool:
        return bool(self.like) or self.exemplar is not None

    def record(self) -> dict[str, Any]:
        """Entries of ``answer.json``."""
        exemplar = None
        if self.exemplar is not None:
            one = self.exemplar
            exemplar = {"source": one.source, "like": one.like, "unlike": one.unlike, "model": one.model}
        return {"like_px": self.like, "unlike_px": self.unlike, "exemplar": exemplar}


def parse_examples(like: list[str] | None, unlike: list[str] | None) -> Examples:
    """Parse boxes and read files of exemplars.

    Raises:
        InputError: neither four numbers nor a file of an exemplar; or unlike boxes without ``--like``.
    """
    boxes: list[list[float]] = []
    exemplar: Exemplar | None = None
    for text in like or []:
        if not (text.lower().endswith(".json") or Path(text).is_file()):
            boxes += parse_boxes([text])
            continue
        from lisa_micro.exemplar import read_exemplar

        one = read_exemplar(text)
        exemplar = one if exemplar is None else exemplar.joined(one)
    found = Examples(boxes, parse_boxes(unlike or []), exemplar)
    if found.unlike and not found:
        raise InputError(
            "--unlike needs --like: a box around an object that is meant, or a file written by --save-like."
        )
    return found
