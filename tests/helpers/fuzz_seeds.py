"""Valid files for fuzzing, and what reads them: every kind of file that the library takes from a user."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Target:
    """A kind of input.

    Attributes:
        make: writes a valid input into an empty folder.
        read: reads it.
        changed: patterns of the files that are mutated; by default all.
        needs: packages without which it is left out.
        lines: whether a message may list several problems, one a line.
    """

    make: Callable[[Path], object]
    read: Callable[[Path], object]
    changed: tuple[str, ...] = ("**/*",)
    needs: tuple[str, ...] = ()
    lines: bool = False

    @property
    def available(self) -> bool:
        """Whether the packages that it needs are installed."""
        return all(find_spec(name) for name in self.needs)


def pixels(dtype: type = np.uint8, shape: tuple[int, ...] = (24, 30)) -> np.ndarray:
    """A picture that does not compress to nothing."""
    return np.random.default_rng(1).integers(0, 200, shape).astype(dtype)


def discs() -> np.ndarray:
    """``(24, 30)`` int32: labels of three discs."""
    y, x = np.ogrid[:24, :30]
    out = np.zeros((24, 30), np.int32)
    for k, (row, column) in enumerate(((7, 7), (7, 17), (17, 22)), 1):
        out[(y - row) ** 2 + (x - column) ** 2 < 25] = k
    return out


def _tiff(folder: Path, **options: object) -> None:
    import tifffile

    tifffile.imwrite(folder / "a.tif", pixels(np.uint16), **options)


def _picture(name: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        from PIL import Image

        Image.fromarray(pixels()).save(folder / name)

    return make


def _mrc(folder: Path) -> None:
    import mrcfile

    with mrcfile.new(folder / "a.mrc") as file:
        file.set_data(pixels(np.float32))
        file.voxel_size = 2.0


def _with_rosettasciio(name: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        import rsciio.emd

        axes = [
            {"name": n, "size": s, "scale": 0.2, "offset": 0.0, "units": "nm", "navigate": False, "index_in_array": k}
            for k, (n, s) in enumerate((("y", 24), ("x", 30)))
        ]
        signal = {"data": pixels(np.float32), "axes": axes, "metadata": {"General": {"title": "a"}, "Signal": {}}}
        rsciio.emd.file_writer(str(folder / name), {**signal, "original_metadata": {}})

    return make


def _bruker(folder: Path) -> None:
    from bruker_map import bcf

    (folder / "a.bcf").write_bytes(bcf(pixels(np.uint16)))


def _zarr(version: int) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        from stack_files import write_omezarr

        write_omezarr(folder / "a.zarr", pixels(np.uint16), version=version, scale=[2.0, 2.0])

    return make


def _sidecar(folder: Path) -> None:
    _picture("a.png")(folder)
    (folder / "a.txt").write_text(
        "[SemImageFile]\r\nInstructName=SU8000\r\nDataSize=30x24\r\nPixelSize=2.48\r\nMagnification=40000\r\n"
        "AcceleratingVoltage=5000 Volt\r\nMicronMarker=1000\r\n"
    )
    (folder / "a-png.hdr").write_text("[MAIN]\r\nPixelSizeX=2.48e-9\r\nPixelSizeY=2.48e-9\r\n[SEM]\r\nHV=5000\r\n")


def _micrograph(folder: Path) -> None:
    """Read the only picture."""
    from lisa_micro.io import read_plain

    path = next(path for path in sorted(folder.iterdir()) if path.suffix not in (".txt", ".hdr"))
    read_plain(path)


def _stack(folder: Path) -> None:
    """Read the only stack part by part."""
    from lisa_micro.io.lazy.opening import read_stack

    with read_stack(next(iter(sorted(folder.iterdir())))) as stack:
        stack[0].read(0, 40, 0, 40)


def _labels(suffix: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        from PIL import Image

        from lisa_micro.io import write_labels

        if suffix == ".npy":
            np.save(folder / "a.npy", discs())
        elif suffix == ".png":
            Image.fromarray(discs().astype(np.uint8)).save(folder / "a.png")
        else:
            write_labels(folder / "a.tif", discs(), 0.5)

    return make


def _read_labels(folder: Path) -> None:
    from lisa_micro.io import read_label_image

    read_label_image(next(folder.iterdir()))


def _movie(folder: Path) -> None:
    import av

    with av.open(str(folder / "a.mp4"), "w") as file:
        stream = file.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for k in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 60 * k, np.uint8), format="rgb24")
            for packet in stream.encode(frame):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)


def _film(folder: Path) -> None:
    import tifffile

    tifffile.imwrite(folder / "a.tif", pixels(np.uint8, (3, 24, 30)), imagej=True, metadata={"finterval": 0.5})


def _read_film(folder: Path) -> None:
    from lisa_micro.io import read_video

    for _, _ in zip(range(50), read_video(next(folder.iterdir())), strict=False):
        pass


def _answer(folder: Path) -> None:
    from lisa_micro.measure import measure_particles
    from lisa_micro.results.answer import Answer, Segmentation
    from lisa_micro.results.export import save_answer
    from lisa_micro.types import Micrograph

    image = Micrograph(pixels(np.float32), 0.5, "film.tif")
    labels = discs()
    measured = measure_particles(labels, 0.5)
    segment = Segmentation(labels, 0.9, concept="particle", pixel_size_nm=0.5, properties=measured, target=1)
    save_answer(Answer("The particles.", (segment,), "segment the particles"), image, folder / "run")


def _read_answer(folder: Path) -> None:
    from lisa_micro.napari.reader import read_results

    read_results(folder / "run")


def _tracks(folder: Path) -> None:
    import pandas as pd

    from lisa_micro.io import write_labels
    from lisa_micro.measure import measure_necks, measure_particles

    frames = [discs()] * 3
    particles = [measure_particles(one, 0.5).rename(columns={"label": "identity"}) for one in frames]
    tables = {"tracks": particles, "necks": [measure_necks(one, 0.5) for one in frames]}
    for name, parts in tables.items():
        table = pd.concat([part.assign(frame=t, time_s=float(t)) for t, part in enumerate(parts)])
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / "events.csv").write_text("frame,time_s,kind,before,after,uncertainty_frames\n1,1.0,appear,,3,0\n")
    lineage = {str(k): {"parents": [], "children": [], "first": 0, "last": 2, "end": "end"} for k in (1, 2, 3)}
    (folder / "lineage.json").write_text(json.dumps(lineage))
    facts = {"height_px": 24, "width_px": 30, "pixel_size_nm": 0.5, "frame_time_s": 1.0}
    (folder / "answer.json").write_text(json.dumps({"video": facts, "concept": "particle", "notes": ["A note."]}))
    write_labels(folder / "labels.tif", discs(), 0.5)


def _read_tracks(folder: Path) -> None:
    from lisa_micro.video.track_data import TrackData
    from lisa_micro.video.track_files import read_tracks

    read_tracks(folder, TrackData)


def _run(folder: Path) -> None:
    import pandas as pd

    record = {"requests": [{"title": "particles"}], "images": {"done": 1, "failed": 0, "instances": 1}}
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "images.csv").write_text("image,page,request,concept,group,count\na.tif,0,1,particle,g,1\n")
    row = {"image": ["a.tif"], "page": [0], "request": [1], "concept": ["particle"], "diameter_nm": [4.0]}
    pd.DataFrame(row).to_parquet(folder / "instances.parquet")


def _read_run(folder: Path) -> None:
    from lisa_micro.batch.analysis import read_tables

    read_tables(folder)


def _log(folder: Path) -> None:
    from lisa_micro.correction.actions import FORMAT
    from lisa_micro.correction.replay import fingerprint

    added = {"size": [24, 30], "counts": [620, 20, 80]}
    actions: list[dict[str, object]] = [
        {"action": "remove", "instances": [1]},
        {"action": "add", "mask": added, "box": [20, 20, 29, 23]},
        {"action": "merge", "instances": [2, 3]},
        {"action": "split", "instance": 2, "line": [[17.0, 0.0], [17.0, 23.0]]},
    ]
    content = {"format": FORMAT, "labels_sha256": fingerprint(discs()), "actions": actions}
    (folder / "log.json").write_text(json.dumps(content))


def _read_log(folder: Path) -> None:
    from lisa_micro.correction.replay import read_log, replay_log

    replay_log(discs(), read_log(folder / "log.json"))


def _exemplar(folder: Path) -> None:
    from lisa_micro.exemplar import Exemplar

    rng = np.random.default_rng(0)
    tokens, basis = rng.normal(size=(2, 6)).astype(np.float32), rng.normal(size=(4, 4)).astype(np.float32)
    gram, target = (basis @ basis.T).astype(np.float32), rng.normal(size=4).astype(np.float32)
    Exemplar(tokens, gram, target, 1, 0, 10.0, 10.0, 0.5, "ab" * 32, "film.tif").save(folder / "example.json")


def _read_exemplar(folder: Path) -> None:
    from lisa_micro.exemplar import read_exemplar

    read_exemplar(folder / "example.json")


def _records(folder: Path) -> None:
    from PIL import Image

    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    Image.fromarray(pixels()).save(folder / "images" / "a.png")
    Image.fromarray(discs().astype(np.uint8)).save(folder / "labels" / "a.png")
    record = {
        "file_name": "images/a.png",
        "labels": "labels/a.png",
        "pixel_size_nm": 0.5,
        "modality": "BF-TEM",
        "conversations": [
            {"user": "segment", "assistant": "The particles are [SEG].", "targets": [{"concept": "particle"}]}
        ],
    }
    (folder / "metadata.jsonl").write_text(json.dumps(record) + "\n")


def _read_records(folder: Path) -> None:
    from lisa_micro.datasets.records import read_records

    read_records(folder)


def _coco(folder: Path) -> None:
    from foreign_sources import coco_set

    coco_set(folder)


def _read_coco(folder: Path) -> None:
    from lisa_micro.datasets.formats.coco import parse_coco

    parse_coco(folder / "annotations" / "instances_train2017.json")


def _boxes(folder: Path) -> None:
    (folder / "boxes.json").write_text(json.dumps({"boxes": [[1, 2, 10.5, 12], [3, 3, 9, 9]]}))


def _read_boxes(folder: Path) -> None:
    from lisa_micro.evaluate.comparison.boxes import read_boxes

    read_boxes(folder / "boxes.json")


def _adapter(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    base = {"lora": "ab" * 32, "mask_head": "cd" * 32}
    (folder / "config.json").write_text(json.dumps({"kind": "lisa-micro-adapter", "name": "mine", "base_sha256": base}))
    save_file({"lora.a": torch.ones(2, 3)}, folder / "adapter.safetensors")


def _read_adapter(folder: Path) -> None:
    from lisa_micro.models.checkpoints import read_state
    from lisa_micro.models.lisa.adapter import AdapterConfig

    AdapterConfig.read(folder)
    read_state(folder / "adapter.safetensors")


def _reply(folder: Path) -> None:
    (folder / "reply.txt").write_text(
        "The second largest particle is [SEG]<where>in top half; largest 2-2; touching {neck diameter > 1.5 mean}"
        "</where>, and its diameter is <value>mean diameter of 1</value>. <plot>histogram diameter of 1</plot>"
    )


def _read_reply(folder: Path) -> None:
    from lisa_micro.language.program.describe import describe
    from lisa_micro.language.program.replies import parse_program
    from lisa_micro.language.replies import parse_reply

    text = (folder / "reply.txt").read_bytes().decode(errors="replace")
    describe(parse_program(text))
    parse_reply(text)


_PICTURES = ("png", "jpg", "bmp", "gif", "webp", "pgm")
_ROSETTASCIIO, _ZARR = ("rsciio", "h5py"), ("zarr",)
TARGETS: dict[str, Target] = {
    "tiff": Target(_tiff, _micrograph),
    "tiff compressed": Target(lambda f: _tiff(f, compression="zlib", tile=(16, 16)), _micrograph),
    "tiff lzw": Target(lambda f: _tiff(f, compression="lzw", predictor=True), _micrograph),
    "tiff ome": Target(lambda f: _tiff(f, ome=True, metadata={"PhysicalSizeX": 0.5}), _micrograph),
    "tiff imagej": Target(_film, _micrograph),
    "tiff stack": Target(_film, _stack),
    **{f"picture {suffix}": Target(_picture(f"a.{suffix}"), _micrograph) for suffix in _PICTURES},
    "mrc": Target(_mrc, _micrograph),
    "mrc stack": Target(_mrc, _stack),
    "emd": Target(_with_rosettasciio("a.emd"), _micrograph, needs=_ROSETTASCIIO),
    "bcf": Target(_bruker, _micrograph, needs=_ROSETTASCIIO),
    "zarr 2": Target(_zarr(2), _micrograph, needs=_ZARR),
    "zarr 3": Target(_zarr(3), _micrograph, needs=_ZARR),
    "zarr stack": Target(_zarr(3), _stack, needs=_ZARR),
    "side-car": Target(_sidecar, _micrograph, ("*.txt", "*.hdr")),
    "labels tiff": Target(_labels(".tif"), _read_labels),
    "labels png": Target(_labels(".png"), _read_labels),
    "labels npy": Target(_labels(".npy"), _read_labels),
    "video mp4": Target(_movie, _read_film),
    "video tiff": Target(_film, _read_film),
    "answer": Target(_answer, _read_answer, ("run/answer.json", "run/instances.csv", "run/labels.tif")),
    "tracks": Target(_tracks, _read_tracks),
    "run": Target(_run, _read_run, needs=("pyarrow",)),
    "log": Target(_log, _read_log),
    "exemplar": Target(_exemplar, _read_exemplar),
    "records": Target(_records, _read_records, ("metadata.jsonl",), lines=True),
    "coco": Target(_coco, _read_coco, ("annotations/instances*.json",)),
    "boxes": Target(_boxes, _read_boxes),
    "adapter": Target(_adapter, _read_adapter),
    "reply": Target(_reply, _read_reply),
}
"""Name of a kind -> how it is made and read."""
