"""The part of an assistant that finds all that is like a marked example."""

from __future__ import annotations

import numpy as np

from lisa_micro.assistant.exemplar_words import Narrowed, narrow
from lisa_micro.assistant.exemplars import Alike, ExemplarFinder
from lisa_micro.assistant.field import boxes_in_field, on_picture, view_of
from lisa_micro.assistant.targets import renumbered
from lisa_micro.exemplar import Exemplar
from lisa_micro.io import MicrographLike, as_micrograph
from lisa_micro.language import DEFAULT_VOCABULARY, Vocabulary
from lisa_micro.measure import particle_properties
from lisa_micro.measure.tables import particle_table
from lisa_micro.protocols import History, Progress
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import InputError, Micrograph

PHRASE = "objects like the example"
NOTHING_ALIKE = "Nothing like the example was found in this micrograph"


class LikeAssistant:
    """Answers boxes around examples, and exemplars; refuses them where the model has no exemplar encoder."""

    preset: str

    def _finder(self) -> ExemplarFinder | None:
        """What learns and finds; ``None``: the model cannot."""
        return None

    @property
    def vocabulary(self) -> Vocabulary:
        """The concepts of the reply language."""
        return DEFAULT_VOCABULARY

    def parse(self, image: MicrographLike, prompt: str, history: History = ()) -> str:
        """See :meth:`lisa_micro.protocols.Assistant.parse`."""
        raise NotImplementedError

    def learn_exemplar(
        self,
        image: MicrographLike,
        boxes: object = None,
        not_like: object = None,
        *,
        exemplar: Exemplar | None = None,
    ) -> Exemplar:
        """Learn what is in some boxes, to find it in other micrographs.

        Args:
            image: the micrograph.
            boxes: ``(N, 4)`` XYXY px around objects that are meant.
            not_like: ``(M, 4)`` XYXY px around objects that are not.
            exemplar: what was learnt before, here or on another micrograph; the boxes are added to it.

        Raises:
            InputError: the model has no exemplar encoder; no object is meant; an exemplar of other weights; or see
                :meth:`lisa_micro.assistant.exemplars.ExemplarFinder.learn`.
        """
        image = as_micrograph(image)
        view = view_of(image)
        if view is not image:
            self._needed_finder()
            boxes, not_like = (_in_field(given, image) for given in (boxes, not_like))
        return self._learn(view, boxes, not_like, exemplar)[0]

    def _learn(
        self, image: Micrograph, boxes: object, not_like: object, exemplar: Exemplar | None
    ) -> tuple[Exemplar, tuple[str, ...]]:
        finder = self._needed_finder()
        if exemplar is not None:
            finder.check(exemplar)
        if exemplar is None or is_given(boxes) or is_given(not_like):
            scale = None if exemplar is None else exemplar.scale_on(image.pixel_size_nm)
            learnt, notes = finder.learn(image, boxes, not_like, scale)
            exemplar = learnt if exemplar is None else exemplar.joined(learnt)
        else:
            notes = ()
        if not exemplar.like:
            raise InputError("There is no like box; draw at least one around an object that is meant.")
        return exemplar, notes

    def segment_like(
        self,
        image: MicrographLike,
        boxes: object = None,
        not_like: object = None,
        *,
        exemplar: Exemplar | None = None,
        words: str = "",
        progress: Progress | None = None,
    ) -> Segmentation:
        """Segment all objects like those in some boxes, or like an exemplar of another micrograph, or both.

        Args:
            image: the micrograph.
            boxes: ``(N, 4)`` XYXY px around objects that are meant.
            not_like: ``(M, 4)`` XYXY px around objects that are not.
            exemplar: from :meth:`learn_exemplar` or :func:`lisa_micro.exemplar.read_exemplar`; boxes are added to it.
            words: a condition that narrows what is alike, such as "larger than 20 nm".
            progress: called after each tile of a large micrograph.

        Returns:
            the instances, measured; the column ``score`` has the mean probability of each. Without instances where the
            micrograph shows nothing that is like an exemplar of another one, or nothing that satisfies the words.

        Raises:
            InputError: the model has no exemplar encoder; neither boxes nor an exemplar; boxes that cannot be used or
                contradict each other; nothing is like the boxes; an exemplar of other weights; or words that are too
                long.
        """
        finder, image = self._needed_finder(), as_micrograph(image)
        view = view_of(image)
        if view is not image:
            boxes, not_like = (_in_field(given, image) for given in (boxes, not_like))
            found_in_view = self.segment_like(view, boxes, not_like, exemplar=exemplar, words=words, progress=progress)
            return on_picture(found_in_view, image)
        whole, notes = self._learn(image, boxes, not_like, exemplar)
        found = finder.find(image, whole, progress)
        if not found.labels.any():
            if exemplar is None:
                raise InputError(f"{NOTHING_ALIKE}; draw the boxes closely around whole objects, or draw more of them.")
            notes = (*notes, f"{NOTHING_ALIKE}.")
        properties = particle_properties(found.labels, image.pixels)
        narrowed = Narrowed(np.ones(len(found.scores), bool))
        if words.strip() and found.labels.any():
            narrowed = narrow(self.parse(image, words), self.vocabulary, found.labels, properties, image)
        return _segmentation(image, found, properties, narrowed, (*notes, found.note))

    def _needed_finder(self) -> ExemplarFinder:
        finder = self._finder()
        if finder is None:
            raise InputError(
                f"The model {self.preset!r} cannot find what is like an example: it has no exemplar encoder; choose "
                "another preset."
            )
        return finder


def is_given(boxes: object) -> bool:
    """Whether there is any box."""
    return boxes is not None and np.size(np.asarray(boxes, object)) > 0


def _segmentation(
    image: Micrograph, found: Alike, properties: dict[str, np.ndarray], narrowed: Narrowed, notes: tuple[str, ...]
) -> Segmentation:
    keep = narrowed.keep
    kept = {name: np.asarray(values)[keep] for name, values in properties.items()}
    kept["label"] = np.arange(1, int(keep.sum()) + 1)
    table = particle_table(kept, image.pixel_size_nm)
    table["score"] = found.scores[keep]
    if len(keep) and not keep.any():
        notes = (*notes, f"None of the {len(keep)} objects like the example matches '{narrowed.where}'.")
    return Segmentation(
        labels=renumbered(found.labels, keep),
        score=found.score,
        presence=1.0 if keep.any() else 0.0,
        phrase=PHRASE,
        where=narrowed.where,
        pixel_size_nm=image.pixel_size_nm,
        properties=table,
        notes=tuple(note for note in (*notes, *narrowed.notes) if note),
        image=image,
    )


def _in_field(boxes: object, image: Micrograph) -> object:
    """Boxes of the picture in px of its field of view; none stay none."""
    return boxes_in_field(boxes, image) if is_given(boxes) else boxes


def like_answer(found: Segmentation, words: str) -> Answer:
    """The answer that consists of what is alike.

    Args:
        found: of :meth:`LikeAssistant.segment_like`.
        words: the condition.
    """
    noun = "object" if found.count == 1 else "objects"
    condition = f" ({found.where})" if found.where else ""
    if found.count:
        return Answer(f"Found {found.count} {noun} like the example{condition}.", (found,), prompt=words)
    text = f"Nothing like the example{condition} was found in this micrograph."
    return Answer(text, prompt=words, declined=True, notes=found.notes)
