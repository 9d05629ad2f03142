"""What microscopes state in the tags of their TIFF files. Each file is built here from the format's description."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
import tifffile
from digital_micrograph import DMWriter

from lisa_micro.io import read_micrograph
from lisa_micro.types import InputError

SHAPE = (48, 64)


def text(code, value):
    return (code, "s", 0, value.encode("latin-1"), True)


def raw(code, value):
    return (code, "B", len(value), value, True)


def write(path, *tags, shape=SHAPE, resolution=(72, 72), **more):
    tifffile.imwrite(path, np.zeros(shape, np.uint8), metadata=None, resolution=resolution, extratags=tags, **more)
    return path


def read(folder, *tags, **more):
    return read_micrograph(write(folder / "a.tif", *tags, **more))


# ------------------------------------------------------------------------------------------- FEI, Thermo, Phenom

FEI = (
    "[User]\r\nUser=x\r\n[Beam]\r\nHV=5000\r\nBeam={beam}\r\n[{beam}]\r\nStageTa={tilt}\r\nTiltCorrectionIsOn={on}\r\n"
    "[Scan]\r\nPixelWidth=2.5e-009\r\nPixelHeight=2.5e-009\r\n"
)
THERMO = """<?xml version="1.0" encoding="utf-16"?>
<Metadata xmlns:nil="http://schemas.fei.com/Metadata/v1/2013/07">
  <Instrument><InstrumentClass>{kind}</InstrumentClass></Instrument>
  <Acquisition><BeamType>{beam}</BeamType></Acquisition>
  <StageSettings><StagePosition><Tilt><Alpha>0.5</Alpha></Tilt></StagePosition></StageSettings>
  <Detectors><ScanningDetector><DetectorName>{detector}</DetectorName></ScanningDetector></Detectors>
  <BinaryResult><PixelSize><X unit="m">3.2e-10</X><Y unit="m">3.2e-10</Y></PixelSize></BinaryResult>
</Metadata>"""
PHENOM = (
    '<?xml version="1.0"?>\n<FeiImage><databarHeight>72</databarHeight><pixelWidth unit="{unit}">{x}</pixelWidth>'
    '<pixelHeight unit="{unit}">{x}</pixelHeight></FeiImage>'
)


def test_the_tilt_of_a_helios_is_told_and_what_it_does_to_lengths(tmp_path):
    image = read(tmp_path, text(34682, FEI.format(beam="EBeam", tilt=math.radians(52), on="no")))
    assert (image.pixel_size_nm, image.pixel_size_origin, image.modality) == (pytest.approx(2.5), "fei", "SEM")
    assert image.metadata["stage_tilt_deg"] == pytest.approx(52)
    assert any("52°" in note and "0.62" in note for note in image.notes)
    corrected = read(tmp_path, text(34682, FEI.format(beam="EBeam", tilt=math.radians(52), on="yes")))
    assert any("corrected" in note for note in corrected.notes)
    assert not any("0.62" in note for note in corrected.notes)
    flat = read(tmp_path, text(34682, FEI.format(beam="EBeam", tilt=0, on="no")))
    assert flat.metadata["stage_tilt_deg"] == 0 and not any("tilt" in note for note in flat.notes)


def test_a_picture_by_ions_is_no_electron_micrograph(tmp_path):
    image = read(tmp_path, text(34682, FEI.format(beam="IBeam", tilt=0, on="no") + "[EBeam]\r\nHFW=1\r\n"))
    assert image.modality is None and image.pixel_size_nm == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("kind", "beam", "detector", "modality"),
    [("Helios 5 UX", "Electron", "TLD", "SEM"), ("Talos", "", "HAADF", "HAADF-STEM"), ("Talos", "", "", None),
     ("Helios NanoLab", "Ion", "ETD", None)],
)  # fmt: skip
def test_xml_of_thermo_fisher(tmp_path, kind, beam, detector, modality):
    xml = THERMO.format(kind=kind, beam=beam, detector=detector)
    image = read(tmp_path, text(34682, ""), text(34683, xml))
    assert (image.pixel_size_nm, image.pixel_size_origin) == (pytest.approx(0.32), "fei")
    assert image.modality == modality
    assert image.metadata["stage_tilt_deg"] == pytest.approx(math.degrees(0.5))


@pytest.mark.parametrize(("unit", "x", "nm"), [("nm", 97.5, 97.5), ("um", 0.0975, 97.5), ("furlong", 1, None)])
def test_phenom(tmp_path, unit, x, nm):
    image = read(tmp_path, text(34683, PHENOM.format(unit=unit, x=x)))
    assert image.pixel_size_nm == (None if nm is None else pytest.approx(nm)) and image.modality == "SEM"


@pytest.mark.parametrize(
    "xml", [PHENOM.format(unit="nm", x=5)[:80], "<a><!-- ", '<!DOCTYPE x [<!ENTITY e "y">]><a>&e;</a>']
)
def test_broken_xml_gives_a_note_and_no_pixel_size(tmp_path, xml):
    image = read(tmp_path, text(34683, xml))
    assert image.pixel_size_nm is None
    assert any("XML" in note and "broken" in note for note in image.notes)


# ------------------------------------------------------------------------------------------------------- Zeiss


def smartsem(nm, tilt="0.0"):
    lines = ["0", "0", "0", "3.593750e-008", "AP_IMAGE_PIXEL_SIZE", f"Image Pixel Size = {nm} nm", "AP_STAGE_AT_T",
             f"Stage at T =    {tilt} \u00b0", "DP_DETECTOR_TYPE", "Detector = SE2"]  # fmt: skip
    return "\r\n".join(lines).encode("cp1252")


def test_each_page_of_a_zeiss_file_has_its_own_pixel_size(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for nm in (5.0, 20.0):
            file.write(np.zeros(SHAPE, np.uint8), metadata=None, extratags=[(34118, "s", 0, smartsem(nm), True)])
        file.write(np.zeros(SHAPE, np.uint8), metadata=None)
        file.write(np.zeros((24, 32), np.uint8), metadata=None)
    sizes = [read_micrograph(tmp_path / "a.tif", page=page).pixel_size_nm for page in range(4)]
    # a page of the same size belongs to the first; one of another size may be anything
    assert sizes == [5.0, 20.0, 5.0, None]


def test_the_tilt_of_a_zeiss(tmp_path):
    image = read(tmp_path, (34118, "s", 0, smartsem(5.0, "36.0"), True))
    assert image.metadata["stage_tilt_deg"] == 36 and any("0.81" in note for note in image.notes)
    assert "stage_tilt_deg" not in read(tmp_path, (34118, "s", 0, smartsem(5.0, "999"), True)).metadata


def test_zeiss_text_in_the_second_tag(tmp_path):
    words = smartsem(7.5).decode("cp1252").encode("utf-16-le")
    image = read(tmp_path, raw(34119, words))
    assert (image.pixel_size_nm, image.pixel_size_origin) == (7.5, "zeiss")


# ------------------------------------------------------------------------------------------------------ TESCAN

MAIN = "Device=TS5136\r\nMagnification=1000\r\nPixelSizeX=2.5e-009\r\nPixelSizeY=2.5e-009\r\n"
SEM = "HV=20000\r\nWD=0.005\r\nStageTilt=30\r\n"


def blocks(*parts):
    return b"".join(struct.pack("<IH", len(data) + 2, kind) + data for kind, data in parts)


def test_tescan(tmp_path):
    tag = blocks((1, b"\xff\xd8PixelSizeX=9"), (2, MAIN.encode()), (3, SEM.encode()), (0, b""))
    image = read(tmp_path, raw(50431, tag))
    assert (image.pixel_size_nm, image.pixel_size_origin, image.modality) == (pytest.approx(2.5), "tescan", "SEM")
    assert image.metadata["stage_tilt_deg"] == 30


@pytest.mark.parametrize("tag", [b"\x00\x00garbage\xff" + (MAIN + SEM).encode(), (MAIN + SEM).encode()])
def test_tescan_text_without_blocks(tmp_path, tag):
    image = read(tmp_path, raw(50431, tag.replace(b"Device", b"\r\nDevice")))
    assert image.pixel_size_nm == pytest.approx(2.5)


def test_a_tescan_tag_that_is_cut_is_told(tmp_path):
    tag = blocks((2, MAIN.encode()), (3, SEM.encode()), (0, b""))
    image = read(tmp_path, raw(50431, tag[:-20]))
    assert image.pixel_size_nm == pytest.approx(2.5)
    assert any("50431" in note and "cut short" in note for note in image.notes)
    for length in range(40, len(MAIN) - 5, 3):  # through both numbers
        image = read(tmp_path, raw(50431, tag[:length]))
        assert image.pixel_size_nm in (None, pytest.approx(2.5))
        assert any("cut short" in note for note in image.notes)


# -------------------------------------------------------------------------------------------------------- JEOL


def sightx(eos="eosTEM", mode="MAG", value="50000"):
    return (
        f"<?xml version='1.0' encoding='utf-8'?><TemReporter xmlns='http://jeol'><Eos><EosMode>{eos}</EosMode></Eos>"
        "<IlluminationSystem><ImageField>modeBrightField</ImageField></IlluminationSystem>"
        f"<ImageFormingSystem><ModeString>{mode}</ModeString><SelectorValue>{value}</SelectorValue></ImageFormingSystem>"
        "<GonioStage><StagePosition><TX>-12.5</TX></StagePosition></GonioStage></TemReporter>\x00\x01"
    )


@pytest.mark.parametrize("unit", [2, 3])
def test_jeol_sightx(tmp_path, unit):
    # a camera of 6.5 um px at 50,000 times
    per_unit = {2: 25_400, 3: 10_000}[unit] / 6.5
    image = read(tmp_path, text(271, "JEOL Ltd."), description=sightx(), resolution=(per_unit, per_unit),
                 resolutionunit=unit)  # fmt: skip
    assert (image.pixel_size_nm, image.pixel_size_origin) == (pytest.approx(0.13, rel=1e-3), "jeol")
    assert image.modality == "BF-TEM" and image.metadata["stage_tilt_deg"] == -12.5


@pytest.mark.parametrize(
    "description", [sightx(mode="DIFF"), sightx(eos="modeASID"), sightx(value="0"), sightx()[:300], sightx(value="")]
)
def test_the_pixels_of_a_camera_are_never_taken_for_those_of_the_specimen(tmp_path, description):
    image = read(tmp_path, description=description, resolution=(10_000 / 6.5, 10_000 / 6.5), resolutionunit=3)
    assert image.pixel_size_nm is None
    assert ("DIFF" in description) == any("diffraction" in note for note in image.notes)


def analysis_center(length, kind="UnitType_Length", magnification="50000"):
    return (
        f"<TemReporter2><MeasurementReporter><a_MeasurementUnitType>{kind}</a_MeasurementUnitType>"
        f"<a_SelectorValue>{magnification}</a_SelectorValue><a_MeasureLengthPerPixelReporter><a_LengthPerPixel>{length}"
        "</a_LengthPerPixel></a_MeasureLengthPerPixelReporter></MeasurementReporter></TemReporter2>"
    )


def test_jeol_analysis_center(tmp_path):
    image = read(tmp_path, description=analysis_center(0.28))
    assert (image.pixel_size_nm, image.pixel_size_origin) == (pytest.approx(0.28), "jeol")
    # in metres or micrometres: the file does not say so, but the number cannot be nm
    for description in (analysis_center(2.8e-10), analysis_center(2.8e-4), analysis_center(0.28, magnification="")):
        image = read(tmp_path, description=description)
        assert image.pixel_size_nm is None and any("magnification" in note for note in image.notes)
    image = read(tmp_path, description=analysis_center(0.02, "UnitType_Diffraction"))
    assert image.pixel_size_nm is None and any("diffraction" in note for note in image.notes)


# ------------------------------------------------------------------------------------------------- Olympus SIS


def sis_file(path, shapes, holder, metres=2.4e-11):
    """Pages of these shapes; the page ``holder`` has the tag 33560 with a structure at the end of the file."""
    with tifffile.TiffWriter(path) as file:
        for index, shape in enumerate(shapes):
            tags = [(33560, "I", 1, 8, True)] if index == holder else []
            file.write(np.zeros(shape, np.uint8), metadata=None, extratags=tags, contiguous=False)
    with tifffile.TiffFile(path) as tif:
        at = tif.pages[holder].aspage().tags[33560].offset + 8
    data = bytearray(path.read_bytes())
    start = len(data)
    head = struct.pack("<4s6xhhhhh6x32sH", b"SIS0", 42, 19, 15, 10, 118, b"", 1) + struct.pack("<hhI", 1, 1, start + 68)
    exponent = math.floor(math.log10(metres))
    entry = struct.pack("<10xhdd8xd2x34s32s", exponent, metres / 10**exponent, metres / 10**exponent, 6e5, b"", b"")
    data[at : at + 4] = struct.pack("<I", start)
    path.write_bytes(bytes(data) + head + entry + b"\0" * 120)
    return path


def test_the_sis_tag_of_a_jem_2100_stands_on_its_second_page(tmp_path):
    path = sis_file(tmp_path / "a.tif", (SHAPE, SHAPE), 1)
    for page in (0, 1):
        image = read_micrograph(path, page=page)
        assert (image.pixel_size_nm, image.pixel_size_origin) == (pytest.approx(0.024), "olympus")


def test_the_sis_tag_of_a_page_of_another_size_is_told_and_not_used(tmp_path):
    image = read_micrograph(sis_file(tmp_path / "a.tif", ((24, 32), SHAPE), 1))
    assert image.pixel_size_nm is None
    assert any("Page 1" in note and "24 pm" in note and "64 x 48 px" in note for note in image.notes)


# ------------------------------------------------------------------------------------------------------- Gatan


def gatan_tags(scale, unit, version=4, mode="TEM", imaging="MAG1"):
    dm = DMWriter(version)
    info = [dm.text("Illumination Mode", mode), dm.text("Imaging Mode", imaging),
            dm.folder("Stage Position", [dm.real("Stage Alpha", 21.5)])]  # fmt: skip
    body = dm.group([dm.array("Junk", np.arange(5)), dm.folder("Microscope Info", info)], root=True)
    tags = struct.pack(">l", version) + dm.size(len(body)) + struct.pack(">l", 1) + body + b"\0" * 8
    return [text(65003, unit), text(65004, unit), (65006, "d", 1, 0.0, True), (65007, "d", 1, 0.0, True),
            (65009, "d", 1, scale, True), (65010, "d", 1, scale, True), raw(65027, tags)]  # fmt: skip


@pytest.mark.parametrize("version", [3, 4])
def test_gatan_scales_and_tags(tmp_path, version):
    image = read(tmp_path, *gatan_tags(-0.05, "nm", version))
    assert (image.pixel_size_nm, image.pixel_size_origin) == (pytest.approx(0.05), "gatan")
    assert image.modality == "BF-TEM" and image.metadata["stage_tilt_deg"] == pytest.approx(21.5)


@pytest.mark.parametrize(("mode", "imaging"), [("STEM NANOPROBE", "MAG1"), ("TEM", "DIFFRACTION"), ("", "")])
def test_gatan_modes_that_are_no_bright_field(tmp_path, mode, imaging):
    assert read(tmp_path, *gatan_tags(0.05, "nm", mode=mode, imaging=imaging)).modality is None


def test_gatan_tags_that_are_cut_leave_the_scale(tmp_path):
    tags = gatan_tags(0.05, "\u00b5m")
    whole = tags[-1][3]
    for length in (0, 3, 20, 60, len(whole) // 2):
        image = read(tmp_path, *tags[:-1], raw(65027, whole[:length] or b"\0"))
        assert image.pixel_size_nm == pytest.approx(50)
    assert read(tmp_path, *gatan_tags(0.01, "1/nm")).pixel_size_nm is None


# --------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "tags",
    [[text(34682, "[Scan]\r\nPixelWidth=2.5e+009\r\n")], [raw(50431, b"PixelSizeX=1e-30\r\n")],
     gatan_tags(1e12, "nm")],
)  # fmt: skip
def test_a_pixel_size_that_cannot_be_is_ignored_and_told(tmp_path, tags):
    image = read(tmp_path, *tags)
    assert image.pixel_size_nm is None and image.pixel_size_origin == "none"
    assert any("no micrograph can have it" in note for note in image.notes)


@pytest.mark.parametrize("code", [34118, 34119, 34680, 34682, 34683, 50431, 33560, 33471, 37706, 65027])
@pytest.mark.parametrize("content", [b"\0", b"\xff" * 300, b"<" * 50, b"=\n[\n]=[=\r\n", bytes(range(256))])
def test_garbage_in_a_tag_never_hides_the_picture(tmp_path, code, content):
    image = read(tmp_path, raw(code, content))
    assert image.shape == SHAPE and image.pixel_size_nm is None


def test_a_file_that_ends_within_the_microscopes_tag_is_read_with_a_note(tmp_path):
    words = FEI.format(beam="EBeam", tilt=0, on="no") + "[Stage]\r\nStageX=0\r\n" * 200
    path = write(tmp_path / "a.tif", text(34682, words))
    # the text is moved to the end, where some microscopes write it
    with tifffile.TiffFile(path) as tif:
        tag = tif.pages[0].tags[34682]
        entry, count = tag.offset, tag.valuebytecount
        content = path.read_bytes()[tag.valueoffset : tag.valueoffset + count]
    data = bytearray(path.read_bytes())
    data[entry + 8 : entry + 12] = struct.pack("<I", len(data))
    path.write_bytes((bytes(data) + content)[:-1000])
    image = read_micrograph(path)
    assert image.shape == SHAPE and image.pixel_size_nm is None
    assert any("34682" in note and "cut short" in note for note in image.notes)


def test_the_pixels_count_before_the_tags(tmp_path):
    path = write(tmp_path / "a.tif", text(34682, FEI.format(beam="EBeam", tilt=0, on="no")), shape=(200, 200))
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(InputError, match="cut short"):
        read_micrograph(path)
