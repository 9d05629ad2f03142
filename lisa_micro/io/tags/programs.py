"""Programs that write the pixel size of a TIFF file in a form of their own: OME-TIFF and ImageJ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lisa_micro.io.tags.stated import Stated, rational, xml_root
from lisa_micro.io.units import to_nm, unit_in_nm

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage


def ome(tif: TiffFile, page: TiffPage) -> Stated | None:
    """OME-XML: PhysicalSizeX with its unit, micrometres by default."""
    root = xml_root(tif.ome_metadata or "")
    pixels = None if root is None else next(root.iter("Pixels"), None)
    if pixels is None:
        return None
    x_nm = to_nm(pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeXUnit", "µm"))
    y_nm = to_nm(pixels.get("PhysicalSizeY"), pixels.get("PhysicalSizeYUnit", "µm"))
    return Stated((x_nm, y_nm, "nm")) if x_nm is not None or y_nm is not None else None


def imagej(tif: TiffFile, page: TiffPage) -> Stated | None:
    """ImageJ: unit in the description, pixels per unit in the resolution tags."""
    metadata = tif.imagej_metadata
    if not metadata:
        return None
    unit = str(metadata.get("unit", "")).strip()
    edge_x, edge_y = rational(page, 282), rational(page, 283)
    if not unit or edge_x is None:
        return None
    unit_y = metadata.get("yunit")
    if unit_y and unit_in_nm(str(unit_y)) and edge_y is not None:
        return Stated((to_nm(edge_x, unit), to_nm(edge_y, str(unit_y)), "nm"))
    return Stated((edge_x, edge_y, unit))
