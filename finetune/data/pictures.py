"""Images that conversations of version 2 are about, with the kinds that decide the meaning of words."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lisa_micro.sim.materials import MATERIAL_KINDS
from lisa_micro_finetune.concepts.sources import Labelled, load_labelled, prepare_material_scenes, prepare_materials
from lisa_micro_finetune.config import ProgramStage
from lisa_micro_finetune.data.programs import Pictures
from lisa_micro_finetune.data.sources import Source
from lisa_micro_finetune.stages.common import training_facts, training_sources

PICTURE_KINDS: dict[str, tuple[str, ...]] = {
    "emps": ("powder", "plan view"),
    "tem": ("sintering", "plan view"),
    "sim": ("powder", "sintering", "plan view"),
    "video": ("sintering", "plan view"),
    "powder": ("powder",),
    "sim-powder": ("powder",),
    "sim-small_dense": ("powder", "plan view"),
    "sim-overlapping_facets": ("powder",),
    "nasa-superalloy": ("alloy",),
    "carbides": ("alloy",),
    "sim-precipitates": ("alloy",),
    "grain-boundaries": ("polycrystal",),
    "grains": ("polycrystal",),
    "sim-polycrystal": ("polycrystal",),
    "sim-rock": ("polycrystal",),
    "nasa-coating": ("cross-section", "coating"),
    "sim-layers": ("cross-section", "coating"),
    "dislocation-loops": ("irradiated",),
    "sim-dislocation_loops": ("irradiated",),
    "sim-fibres": ("fibres",),
    "sim-core_shell": ("core-shell",),
    "sim-holes": ("lacey",),
    "sim-dense_matrix": ("dense",),
    "sim-supported": ("catalyst",),
}
"""Set or kind of scene -> the kinds of pictures that it belongs to, as the texts name them."""
WEIGHTS = {"emps": 3.0, "tem": 4.0, "sim": 1.5, "video": 1.0}
"""How often an image is drawn, relative to a simulated one of another material."""
REAL_MATERIAL = 3.0
SCENE_SEED = 3_000_000


def collect_pictures(stage: ProgramStage, cache: Path) -> tuple[list[Source | Labelled], Pictures]:
    """The training images of a stage, prepared in ``cache``, and what conversations about them need to know.

    The features of view v of image k are in row ``k * stage.views + v``.
    """
    particles = training_sources(stage, cache)
    paths = prepare_materials(cache, "train")
    for kind in MATERIAL_KINDS if stage.materials else ():
        paths += prepare_material_scenes(cache / "material_scenes", kind, stage.materials, SCENE_SEED)
    others = load_labelled(paths)
    facts = [*training_facts(stage, cache), *(None for _ in others)]
    sources: list[Source | Labelled] = [*particles, *others]
    weights = [WEIGHTS.get(source.kind, 1.0 if source.kind.startswith("sim-") else REAL_MATERIAL) for source in sources]
    rows = [list(range(k * stage.views, (k + 1) * stage.views)) for k in range(len(sources))]
    kinds = [PICTURE_KINDS.get(source.kind, ()) for source in sources]
    return sources, Pictures(facts, rows, np.array(weights), kinds)
