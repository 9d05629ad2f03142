"""``lisa-micro simulate``: micrographs and videos with exact truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lisa_micro.cli.options import Force, ModalityName, PixelSize, Seed, grouped
from lisa_micro.cli.terminal import busy, list_written
from lisa_micro.types import InputError

KindName = Literal[
    "sintering", "any", "isolated", "few_big", "many_small", "ellipses", "faceted", "rods", "polydisperse", "pairs",
    "chains", "agglomerate", "dense_fine", "layer", "array", "overlapping", "empty",
]  # fmt: skip
MechanismName = Literal[
    "viscous flow", "evaporation-condensation", "lattice diffusion", "grain-boundary diffusion", "surface diffusion"
]


@dataclass(frozen=True)
class SceneOptions:
    """What is simulated."""

    frames: Annotated[int, typer.Option(min=1, help="1 makes a micrograph, more make a video.")] = 1
    kind: Annotated[
        KindName | None,
        typer.Option(
            help="Scene: a sintering experiment, any scene drawn at random, or one kind (default: sintering)."
        ),
    ] = None
    modality: Annotated[ModalityName | None, typer.Option(help="Imaging mode; drawn at random where not given.")] = None
    size: Annotated[int, typer.Option(min=16, max=4096, help="Side of the square image in px.")] = 512
    particles: Annotated[int | None, typer.Option(min=0, help="Number of particles of a sintering experiment.")] = None
    mechanism: Annotated[
        MechanismName | None, typer.Option(help="Mechanism of neck growth of a sintering experiment.")
    ] = None
    core_shell: Annotated[
        float | None, typer.Option(min=0, max=1, help="Fraction of core-shell particles in a scene of --kind.")
    ] = None
    pixel_size: PixelSize = None


@grouped
def simulate(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.")],
    scene: SceneOptions,
    seed: Seed = 0,
    force: Force = False,
) -> None:
    """Simulate a micrograph or a video of sintering particles, with exact truth.

    The same seed and options give the same pixels.
    """
    from lisa_micro.io import check_output
    from lisa_micro.io.units import check_pixel_size
    from lisa_micro.sim import write_simulation

    nm = check_pixel_size(scene.pixel_size)
    settings: dict[str, Any] = {"shape": (scene.size, scene.size), "modality": scene.modality, "pixel_size_nm": nm}
    if scene.kind in (None, "sintering"):
        settings |= {"n_particles": scene.particles, "mechanism": scene.mechanism}
        if scene.core_shell is not None:
            raise InputError("--core-shell belongs to a scene; name its --kind, such as 'any' or 'isolated'.")
    elif scene.particles is not None or scene.mechanism is not None:
        raise InputError("--particles and --mechanism belong to a sintering experiment; leave out --kind.")
    else:
        settings["core_shell"] = scene.core_shell
    check_output(out, force, names=("truth.json",))
    with busy("Simulating"):
        written = write_simulation(out, seed=seed, frames=scene.frames, kind=scene.kind, force=force, **settings)
    list_written(written.values())
