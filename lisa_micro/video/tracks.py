"""The result of tracking a video, with its files, reports and questions."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from lisa_micro.protocols import Assistant
from lisa_micro.results.html import result_html
from lisa_micro.video.analysis import Findings, analyse
from lisa_micro.video.questions.answer import VideoAnswer
from lisa_micro.video.questions.dialogue import VideoConversation
from lisa_micro.video.track_data import TrackData
from lisa_micro.video.track_files import read_tracks, write_tracks
from lisa_micro.viz.thumbnail import overlay_thumbnail


@dataclass(eq=False, repr=False)
class Tracks(TrackData):
    """Tracks, events, lineage and tables of a video; made by :func:`lisa_micro.track`.

    See :class:`lisa_micro.video.track_data.TrackData` for the attributes.
    """

    @cached_property
    def findings(self) -> Findings:
        """Growth laws, sizes, motion and relaxation, computed on first access; see
        :func:`lisa_micro.video.analysis.analyse`."""
        return analyse(self)

    def ask(self, assistant: Assistant, question: str, video: object = None) -> VideoAnswer:
        """Answer one question about the video; see :func:`lisa_micro.video.questions.dialogue.answer_question`."""
        return self.chat(assistant, video).ask(question)

    def chat(self, assistant: Assistant, video: object = None) -> VideoConversation:
        """Start a conversation about the video.

        See :class:`lisa_micro.video.questions.dialogue.VideoConversation` for the arguments.
        """
        return VideoConversation(self, assistant, video, self.findings)

    def save(self, folder: str | os.PathLike[str], force: bool = False) -> list[Path]:
        """Write all files; see :func:`lisa_micro.video.track_files.write_tracks`."""
        return write_tracks(self, folder, force)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: if a file is missing or unreadable.
        """
        return read_tracks(folder, cls)

    def summary(self) -> dict[str, int]:
        """Return the number of frames, of tracks, and of each kind of event that occurs."""
        kinds = self.events["kind"].value_counts(sort=False)
        return {"frames": len(self), "tracks": len(self.lineage), **{str(k): int(n) for k, n in kinds.items()}}

    def __repr__(self) -> str:
        height, width = self.shape
        kinds = [f"{number} {kind}" for kind, number in list(self.summary().items())[2:]]
        events = f", events: {', '.join(kinds)}" if kinds else ""
        return f"<Tracks: {len(self.lineage)} tracks in {len(self)} frames of {width} x {height} px{events}>"

    def _repr_html_(self) -> str:
        height, width = self.shape
        title = f"{len(self.lineage)} tracks of {self.concept}s in {len(self)} frames of {width} x {height} px"
        facts = [f"{name}: {number}" for name, number in list(self.summary().items())[2:]]
        picture = None
        if len(self):
            counts, last = self.counts(), self.labels[len(self) - 1]
            facts.insert(0, f"{self.concept}s in the first and the last frame: {counts[0]} and {counts[-1]}")
            picture = overlay_thumbnail([last], pixel_size_nm=self.pixel_size_nm, names=["last frame"])
        return result_html(title, [*facts, *self.notes], picture, self.events)
