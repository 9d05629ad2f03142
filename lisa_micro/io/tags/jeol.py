"""JEOL transmission electron microscopes: XML in the image description (tag 270).

- SightX: root ``TemReporter``, ``Make`` is "JEOL Ltd.". The resolution tags state the pixels of the camera, which the
  magnification (``ImageFormingSystem/SelectorValue``) divides; tilts are in degrees. As read by RosettaSciIO.
- Analysis Center: root ``TemReporter2``, with a length per pixel whose unit the file does not name. It is used, in nm,
  only where it fits the magnification. As read by the converter jeoltodm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from lisa_micro.io.tags.stated import Edge, Stated, number, rational, tag_text, text_at, tilt_in_degrees, xml_root

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

DIFFRACTION = "The image is a diffraction pattern and has no pixel size in nm."
CAMERA_PIXEL_NM = (1e3, 2e5)
"""Range of the pixels of cameras, binned or not: length per pixel times magnification."""
SCREEN_NM = (2e7, 1e9)
"""Range of the width of the screen or print that a magnification of a scanned image refers to."""


def jeol(tif: TiffFile, page: TiffPage) -> Stated | None:
    """See the module."""
    text = tag_text(tif, page, 270)
    if "<TemReporter" not in text:
        return None
    root = xml_root(text)
    if root is None:
        # the resolution tags are those of the camera whatever the XML says
        return Stated(notes=("The XML of the microscope in the image description is broken.",), final=True)
    return _analysis_center(root, page) if root.tag == "TemReporter2" else _sightx(root, page)


def _sightx(root: Element, page: TiffPage) -> Stated:
    mode = text_at(root, "Eos/EosMode")
    forming = "ImageFormingSystem/"
    tilt = tilt_in_degrees(text_at(root, "GonioStage/StagePosition/TX"))
    if mode != "eosTEM":  # scanned; nothing states its pixel size
        return Stated(tilt_deg=tilt, final=True)
    kind = text_at(root, forming + "ModeString")
    if kind == "DIFF":
        return Stated(tilt_deg=tilt, notes=(DIFFRACTION,), final=True)
    magnification = number(text_at(root, forming + "SelectorValue"))
    x, y = rational(page, 282), rational(page, 283)
    edge: Edge | None = None
    if kind == "MAG" and magnification and magnification > 0 and x:
        unit_nm = 1e7 if page.tags.valueof(296, 2) == 3 else 2.54e7
        edge = x * unit_nm / magnification, None if y is None else y * unit_nm / magnification, "nm"
    bright = "bright" in text_at(root, "IlluminationSystem/ImageField").casefold()
    return Stated(edge, "BF-TEM" if bright else None, tilt, final=True)


def _analysis_center(root: Element, page: TiffPage) -> Stated:
    measured = "MeasurementReporter/"
    kind = text_at(root, measured + "a_MeasurementUnitType")
    if kind == "UnitType_Diffraction":
        return Stated(notes=(DIFFRACTION,), final=True)
    length = number(text_at(root, measured + "a_MeasureLengthPerPixelReporter/a_LengthPerPixel"))
    magnification = number(text_at(root, measured + "a_SelectorValue"))
    if kind not in ("UnitType_Length", "UnitType_Scanning") or not length or length < 0:
        return Stated(final=True)
    low, high = CAMERA_PIXEL_NM if kind == "UnitType_Length" else SCREEN_NM
    pixels = 1 if kind == "UnitType_Length" else page.imagewidth
    if magnification is None or not low <= length * magnification * pixels <= high:
        note = (
            f"Ignored the file's length per pixel of {length:g}, whose unit is not stated: in nm, it does not fit the "
            "magnification."
        )
        return Stated(notes=(note,), final=True)
    return Stated((length, length, "nm"), final=True)
