"""``lisa-micro measure``: sizes, necks and statistics of a label image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lisa_micro.cli.options import AsJson, OutputOptions, PixelSize, grouped
from lisa_micro.cli.terminal import busy, list_written, notes, print_json
from lisa_micro.types import InputError

if TYPE_CHECKING:
    import numpy as np

    from lisa_micro.types import Micrograph

FILES = ("instances.csv", "necks.csv", "summary.json", "histogram.png")


@grouped
def measure(
    labels: Annotated[Path, typer.Argument(help="Instance labels (k where instance k is), or a mask.")],
    output: OutputOptions,
    image: Annotated[Path | None, typer.Option(help="The micrograph, for intensities and the pixel size.")] = None,
    pixel_size: PixelSize = None,
    as_json: AsJson = False,
) -> None:
    """Measure the instances of a label image; write a table, the necks, a summary and a histogram."""
    from lisa_micro import measure as measuring
    from lisa_micro.io import check_output, read_labels, write_files, write_json

    instances = read_labels(labels)
    pixels, nm, origin = _scale(instances, image, pixel_size)
    folder = output.folder(labels)
    check_output(folder, output.force, names=FILES)
    notes(instances.notes)
    with busy("Measuring"):
        table = measuring.measure_particles(instances.pixels, nm, pixels)
        necks = measuring.measure_necks(instances.pixels, nm)
        summary = measuring.summarise(instances.pixels, nm, pixels)
    unit = "px" if nm is None else "nm"
    diameters = table[measuring.column("diameter", unit)]
    record = {"labels": str(labels), "pixel_size_nm": nm, "pixel_size_origin": origin, **summary, "necks": len(necks)}
    writers = {
        "instances.csv": lambda path: table.to_csv(path, index=False),
        "necks.csv": lambda path: necks.to_csv(path, index=False),
        "summary.json": lambda path: write_json(path, record),
        "histogram.png": lambda path: measuring.histogram(diameters, "diameter", unit, out=path),
    }
    written = write_files(folder, writers)
    if as_json:
        print_json({**record, "files": [str(path) for path in written]})
        return
    for name, value in summary.items():
        print(f"{name:28} {value:.5g}")
    print(f"{'necks':28} {len(necks)}")
    list_written(written)


def _scale(
    instances: Micrograph, image: Path | None, pixel_size: float | None
) -> tuple[np.ndarray | None, float | None, str]:
    """Intensities ``(H, W)``, pixel size in nm and its origin: of the user, the labels, or the micrograph.

    Raises:
        InputError: labels and micrograph differ in size, or the pixel size is not positive.
    """
    from lisa_micro.io import read_micrograph
    from lisa_micro.io.units import check_pixel_size

    pixels, nm, origin = None, instances.pixel_size_nm, instances.pixel_size_origin
    if image is not None:
        micrograph = read_micrograph(image)
        if micrograph.shape != instances.shape:
            sizes = [f"{shape[1]} x {shape[0]}" for shape in (instances.shape, micrograph.shape)]
            raise InputError(f"The labels are {sizes[0]} px and the image {sizes[1]} px; they must have the same size.")
        pixels = micrograph.pixels
        if nm is None:
            nm, origin = micrograph.pixel_size_nm, micrograph.pixel_size_origin
    if pixel_size is not None:
        nm, origin = check_pixel_size(pixel_size), "user"
    return pixels, nm, origin
