"""Writes a Bruker composite file (BCF) byte by byte, from what RosettaSciIO tells of the format.

It is a container of files in chunks: "AAMVHFSS", version and size of a chunk at 0x124, then at 0x140 the chunk of the
tree, the number of its items and that of all chunks. The data of chunk n begin at n times the size + 0x138. An item of
the tree points to a chunk with the numbers of its chunks. The file ``HeaderData`` is XML with microscope, stage,
pictures and a sum spectrum.
"""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

CHUNK = 0x1000


def _instance(kind: str, content: str, name: str = "") -> str:
    named = f' Name="{name}"' if name else ""
    return f'<ClassInstance Type="{kind}"{named}>{content}</ClassInstance>'


def _spectrum() -> str:
    layers = base64.b64encode(zlib.compress(b"<Layers/>")).decode()
    headers = (
        _instance("TRTSpectrumHardwareHeader", "<Amplification>20000</Amplification>")
        + _instance("TRTDetectorHeader", f"<Type>XFlash</Type><DetLayers>{layers}</DetLayers>")
        + _instance("TRTESMAHeader", "<PrimaryEnergy>15</PrimaryEnergy><ElevationAngle>35</ElevationAngle>")
    )
    when = "<Date>01.02.2020</Date><Time>10:11:12</Time><CalibAbs>0</CalibAbs><CalibLin>0.01</CalibLin>"
    content = f"<TRTHeaderedClass>{headers}</TRTHeaderedClass>" + _instance("TRTSpectrumHeader", when)
    return f"<SpectrumData0>{_instance('TRTSpectrum', content + '<Channels>1,2,3</Channels>')}</SpectrumData0>"


def header_xml(image: np.ndarray, um: float | None, tilt: float, kilovolt: float) -> bytes:
    """The XML of a map whose micrograph is ``(H, W)`` uint16, with pixels of ``um`` micrometres."""
    height, width = image.shape
    plane = f"<Plane0><Data>{base64.b64encode(image.tobytes()).decode()}</Data><Description>BSE</Description></Plane0>"
    picture = f"<Width>{width}</Width><Height>{height}</Height><ItemSize>2</ItemSize><PlaneCount>1</PlaneCount>{plane}"
    size = "" if um is None else f"<DX>{um}</DX><DY>{um}</DY>"
    body = (
        "<Header><Date>01.02.2020</Date><Time>10:11:12</Time><FileVersion>2</FileVersion></Header>"
        + _instance("TRTSEMData", f"<HV>{kilovolt}</HV><Mag>1000</Mag>{size}")
        + _instance("TRTSEMStageData", f"<Tilt>{tilt}</Tilt>")
        + _instance("TRTDSPConfiguration", "<Mode>1</Mode>")
        + _instance("TRTImageData", picture)
        + "<LineCounter>(1,2)</LineCounter><ChCount>3</ChCount><DetectorCount>1</DetectorCount>"
        + _spectrum()
    )
    return f"<TRTRoot>{_instance('TRTSpectrumDatabase', body, 'map')}</TRTRoot>".encode()


def bcf(image: np.ndarray, um: float | None = 0.05, tilt: float = 0.0, kilovolt: float = 15.0) -> bytes:
    """A BCF file with one micrograph and an empty map."""
    files = {"HeaderData": header_xml(image.astype("<u2"), um, tilt, kilovolt), "SpectrumData0": b"\0" * 16}
    usable, chunks = CHUNK - 32, {}
    tree = struct.pack("<iQQQQIi176s?3s256s32s", 0, 0, 0, 0, 0, 0, -1, b"", True, b"", b"EDSDatabase", b"")
    number = 2
    for name, content in files.items():
        pieces = [content[at : at + usable] for at in range(0, len(content), usable)]
        numbers = list(range(number + 1, number + 1 + len(pieces)))
        chunks[number] = struct.pack(f"<{len(numbers)}I", *numbers)
        chunks |= dict(zip(numbers, pieces, strict=True))
        tree += struct.pack(
            "<iQQQQIi176s?3s256s32s", number, len(content), 0, 0, 0, 0, 0, b"", False, b"", name.encode(), b""
        )
        number = numbers[-1] + 1
    chunks[1] = tree
    data = bytearray((number + 1) * CHUNK + 0x138)
    data[:8] = b"AAMVHFSS"
    struct.pack_into("<fI", data, 0x124, 2.6, CHUNK)
    struct.pack_into("<III", data, 0x140, 1, 3, number)
    for at, content in chunks.items():
        data[at * CHUNK + 0x138 : at * CHUNK + 0x138 + len(content)] = content
    return bytes(data)
