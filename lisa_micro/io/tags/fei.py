"""FEI, Thermo Fisher and Phenom: text or XML in the tags 34680, 34682 and 34683.

The text has sections with ``key=value``, lengths in metres, angles in radians (S-FEG, Helios, Quanta ...; as read by
tifffile and RosettaSciIO). The XML has the root ``Metadata`` (newer instruments; ``BinaryResult/PixelSize`` with a
unit, angles in radians; as read by Bio-Formats and pynxtools-em), or ``FeiImage`` (Phenom; ``pixelWidth`` with a unit).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from lisa_micro.io.tags.stated import (
    Edge,
    Stated,
    number,
    page_with,
    same_size,
    sections,
    tag_text,
    text_at,
    tilt_in_degrees,
    xml_root,
)
from lisa_micro.io.units import to_nm

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

CODES = (34680, 34682, 34683)
SCANNING = ("helios", "quanta", "nova", "apreo", "verios", "teneo", "scios", "prisma", "axia", "magellan", "aquilos",
            "versa", "strata", "inspect", "volumescope", "phenom")  # fmt: skip
"""Families of scanning electron microscopes, as the instrument's class begins."""


def fei(tif: TiffFile, page: TiffPage) -> Stated | None:
    """See the module."""
    holder = page_with(tif, page, CODES)
    if holder is None:
        return None
    for code in reversed(CODES):  # the newest first; files with XML also have the older tags, empty
        text = tag_text(tif, holder, code).strip()
        if not text:
            continue
        stated = _xml(text) if text.startswith("<") else _text(text, holder)
        if stated is None and text.startswith("<"):
            return Stated(notes=(f"The XML in the tag {code} of the microscope is broken.",))
        if stated is not None:
            # a page of another size is a thumbnail or the picture of another camera
            return stated if same_size(page, holder) else replace(stated, edge=None)
    return None


def _text(text: str, page: TiffPage) -> Stated | None:
    """Sections of the older software."""
    metadata = sections(text)
    if not any(name in metadata for name in ("Scan", "EScan", "IScan", "Beam", "EBeam", "IBeam", "User", "System")):
        return None
    beam = metadata.get("Beam", {}).get("Beam", "")
    ions = beam == "IBeam"
    scanning = any(name in metadata for name in ("EBeam", "EScan")) and not ions
    tilts = (("IBeam" if ions else "EBeam", "StageTa"), ("Stage", "StageT"), ("Stage", "StageTa"))
    tilt = next((t for name, key in tilts if (t := tilt_in_degrees(metadata.get(name, {}).get(key), True)) is not None),
                None)  # fmt: skip
    corrected = metadata.get(beam or "EBeam", {}).get("TiltCorrectionIsOn", "").casefold() == "yes"
    # the scan is stretched already, so nothing appears shorter
    notes = ("The microscope corrected the picture for the tilt of the stage.",) if corrected and tilt else ()
    return Stated(_edge(metadata, page), "SEM" if scanning else None, tilt, notes)


def _edge(metadata: dict[str, dict[str, str]], page: TiffPage) -> Edge | None:
    """The pixel size in [Scan] or the section of the beam; older software writes only the width of the field."""
    for name in ("Scan", "EScan", "IScan"):
        values = metadata.get(name, {})
        if to_nm(values.get("PixelWidth"), "m") is not None:
            return values["PixelWidth"], values.get("PixelHeight"), "m"
    for name, key in (("Scan", "HorFieldsize"), ("EScan", "HorFieldsize"), ("EBeam", "HFW"), ("IBeam", "HFW"),
                      ("IRBeam", "HFW")):  # fmt: skip
        field = to_nm(metadata.get(name, {}).get(key), "m")
        raster = number(metadata.get("Image", {}).get("ResolutionX")) or page.imagewidth
        if field is not None and raster > 0:
            return field / raster, None, "nm"
    return None


def _xml(text: str) -> Stated | None:
    root = xml_root(text)
    if root is None:
        return None
    if root.tag == "FeiImage":
        return _phenom(root)
    return _thermo(root) if root.tag == "Metadata" else Stated()


def _thermo(root: Element) -> Stated:
    x, y = root.find("BinaryResult/PixelSize/X"), root.find("BinaryResult/PixelSize/Y")
    edge: Edge | None = None
    if x is not None:
        edge = to_nm(x.text, x.get("unit", "m")), None if y is None else to_nm(y.text, y.get("unit", "m")), "nm"
    tilt = tilt_in_degrees(text_at(root, "StageSettings/StagePosition/Tilt/Alpha"), radians=True)
    return Stated(edge, _modality(root), tilt)


def _modality(root: Element) -> str | None:
    kind = text_at(root, "Instrument/InstrumentClass").casefold()
    if kind.startswith(SCANNING):
        return "SEM" if "ion" not in text_at(root, "Acquisition/BeamType").casefold() else None
    detectors = {(element.text or "").strip().upper() for element in root.iter("DetectorName")}
    return "HAADF-STEM" if detectors == {"HAADF"} else None


def _phenom(root: Element) -> Stated:
    """The pixels of a Phenom are those of the picture above the data bar, all of one size."""
    wide, high = root.find("pixelWidth"), root.find("pixelHeight")
    if wide is None:
        return Stated(modality="SEM")
    x = to_nm(wide.text, wide.get("unit", ""))
    y = None if high is None else to_nm(high.text, high.get("unit", ""))
    return Stated((x, y, "nm") if x is not None and math.isfinite(x) else None, "SEM")
