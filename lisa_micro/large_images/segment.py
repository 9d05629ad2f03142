"""Entry points: the segmenter of a tiling mode, and one request about a micrograph of any size."""

from __future__ import annotations

from lisa_micro.assistant.engine import Engine
from lisa_micro.assistant.targets import TargetSegmenter
from lisa_micro.assistant.tiling import TileSize
from lisa_micro.io import MicrographLike
from lisa_micro.large_images.cascade import CascadeSegmenter
from lisa_micro.large_images.tiled import TiledSegmenter
from lisa_micro.protocols import Assistant, Progress, TilingMode
from lisa_micro.results.answer import Answer


def tiled_segmenter(engine: Engine, mode: TilingMode, size: TileSize) -> TargetSegmenter:
    """The segmenter of the mode ``tiled`` or ``cascade``. It is a :data:`lisa_micro.assistant.tiling.TiledSegmenters`.

    Args:
        size: of a tile; for ``cascade``, of the detection.
    """
    return CascadeSegmenter(engine, size) if mode is TilingMode.CASCADE else TiledSegmenter(engine, size)


def segment_large(
    assistant: Assistant,
    image: MicrographLike,
    words: str,
    tiling: TilingMode | str = TilingMode.AUTO,
    tile: int | None = None,
    halo: int | None = None,
    progress: Progress | None = None,
) -> Answer:
    """Answer one request about a micrograph of any size, with a choice of how it is tiled.

    Args:
        assistant: from :func:`lisa_micro.load_assistant`.
        image: the micrograph.
        words: as for :meth:`lisa_micro.assistant.Assistant.ask`; they are read once, with the micrograph as a whole.
        tiling: see :class:`lisa_micro.protocols.TilingMode`.
        tile: side of a tile, px, at least 32. The shipped preset sees up to 640 px at full resolution and larger tiles
            scaled down. ``None``: 640, or more where the particles are larger. A tile that holds the whole micrograph
            is the same as ``tiling="off"``.
        halo: overlap of a tile with its neighbours on each side, px, less than half a tile. ``None``: 0.15 of the tile.
            For ``"cascade"``, tile and halo are those of the detection.
        progress: called as ``progress(stage, done, total)``.

    Returns:
        an answer as ``ask`` gives it; constraints and values refer to the whole micrograph, and a note tells the number
        of tiles or crops.

    Raises:
        InputError: an empty prompt, or see :meth:`lisa_micro.protocols.Assistant.open_conversation`.
    """
    return assistant.open_conversation(image, tiling, tile=tile, halo=halo, progress=progress).ask(words)
