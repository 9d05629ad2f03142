"""Words beside an exemplar: the condition in the model's reply narrows what is alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lisa_micro.assistant import constraints
from lisa_micro.language import Vocabulary, parse_reply
from lisa_micro.types import Micrograph

NOT_UNDERSTOOD = "No condition was understood in the words, so everything alike is shown."


@dataclass(frozen=True, eq=False)
class Narrowed:
    """What words leave of the instances that are alike.

    Attributes:
        keep: ``(n,)`` bool.
        where: the condition in the reply language, ``""`` if there is none.
        notes: what a user should know, one sentence each.
    """

    keep: np.ndarray
    where: str = ""
    notes: tuple[str, ...] = ()


def narrow(
    raw: str, vocabulary: Vocabulary, labels: np.ndarray, properties: dict[str, np.ndarray], image: Micrograph
) -> Narrowed:
    """Apply the condition of a reply to the instances that are like an exemplar. Everything else in the reply, such as
    the concept, is not used: the exemplar says what is meant.

    Args:
        raw: the model's reply to the words.
        vocabulary: the concepts that the model knows.
        labels: ``(H, W)`` int32 instances 1..n.
        properties: columns as of :func:`lisa_micro.measure.particle_properties`, in px.
        image: the micrograph.
    """
    every = np.ones(int(labels.max(initial=0)), bool)
    reply = parse_reply(raw, vocabulary)
    if not reply.targets:
        return Narrowed(every, notes=(NOT_UNDERSTOOD,))
    target = reply.targets[0]
    if target.where and not target.clauses:
        return Narrowed(every, notes=(*reply.notes, NOT_UNDERSTOOD))
    keep, notes = constraints.apply(target.clauses, properties, image.shape, image.pixel_size_nm, "object")
    return Narrowed(keep, target.where, (*reply.notes, *notes))
