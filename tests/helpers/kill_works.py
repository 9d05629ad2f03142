"""Commands that are killed and started again, with small inputs, and what of their results must be the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from batch_images import make_folder, marked, write_image
from batch_stand_in import StandInSource, Thresholding
from own_records import write_own
from paths import ROOT
from tiny_preset import write_preset

TOLERANCE = 1e-6
"""Largest difference of a trained weight, as docs/finetune.md states it."""
FRAMES = 12


class Assistant(Thresholding):
    """The stand-in of batches, also for single questions."""

    def ask(self, image: Any, prompt: str) -> Any:
        """Answer about an image."""
        return self.open_conversation(image).ask(prompt)


@dataclass(frozen=True)
class Work:
    """A command that writes a folder of results.

    Attributes:
        prepare: writes the inputs into a folder.
        command: (inputs, results, whether it was killed before) -> its arguments.
        varying: names of files whose content differs between any two runs; they must be readable.
        growing: names of files that an interrupted run may hold in another state than the finished one.
        dropped: keys of JSON files that differ between any two runs.
    """

    prepare: Callable[[Path], None]
    command: Callable[[Path, Path, bool], list[object]]
    varying: tuple[str, ...] = ()
    growing: tuple[str, ...] = ()
    dropped: frozenset[str] = field(default_factory=frozenset)

    def run(self, inputs: Path, out: Path, again: bool) -> int:
        """Run the command in this process, with the stand-in for the model."""
        return run_command([str(word) for word in self.command(inputs, out, again)])


def run_command(words: list[str]) -> int:
    """Run a command line in this process; models are stand-ins, except the one that is trained."""
    import lisa_micro
    from lisa_micro.batch import job
    from lisa_micro.cli.main import run_command_line

    if words[0] != "finetune":
        lisa_micro.load_assistant = lambda preset, **how: Assistant()  # type: ignore[assignment]
        job.PresetSource = lambda *_: StandInSource()  # type: ignore[assignment,misc]
    return run_command_line(words)


# ------------------------------------------------------------------------------------------------- the commands


def _moving_discs(folder: Path) -> None:
    """A video of three bright discs, two of which touch from the middle on."""
    rows, columns = np.mgrid[:64, :80]
    frames = np.random.default_rng(0).integers(0, 60, (FRAMES, 64, 80)).astype(np.uint8)
    for t in range(FRAMES):
        for x, y, radius in ((14 + t, 20, 7), (44 - t, 20, 8), (60, 48, 6)):
            frames[t][(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = 200
    metadata = {"axes": "TYX", "unit": "nm", "finterval": 0.5}
    tifffile.imwrite(folder / "film.tif", frames, imagej=True, resolution=(2.0, 2.0), metadata=metadata)


def _track(inputs: Path, out: Path, again: bool) -> list[object]:
    words = ["track", inputs / "film.tif", "all particles", "--out", out, "--geff"]
    return [*words, "--resume"] if again else words


def _batch(engine: str, *more: str) -> Callable[[Path, Path, bool], list[object]]:
    def command(inputs: Path, out: Path, again: bool) -> list[object]:
        words = ["batch", inputs / "films", "all particles", "--out", out, "--engine", engine, *more]
        return [*words, "--retry-failed"] if again else words

    return command


def _records(folder: Path) -> None:
    write_preset(folder / "tiny")
    write_own(folder / "records", said=False)


TRAINING = (
    "schedule.steps=6",
    "schedule.batch_size=2",
    "schedule.validate_every=3",
    "schedule.warmup=1",
    "schedule.log_every=1",
    "schedule.save_every=0",
    "schedule.lr=0.01",
    "replay={share: 0.5, scenes: 1, side: 64}",
    "judge={wordings: 0, images: 1, scenes: 0, requests: 0}",
    "longest=900",
    "crop=64",
    "views=2",
    "lora={rank: 2, alpha: 4, dropout: 0.3}",
)
"""A short training; dropout and a high learning rate reveal a wrong order of batches or a lost random state."""


def _finetune(inputs: Path, out: Path, again: bool) -> list[object]:
    given = (*TRAINING, f"data={inputs / 'records'}", f"base={inputs / 'tiny'}")
    config = ROOT / "finetune" / "configs" / "adapt.yaml"
    # the cache is part of what is compared: a damaged file in it would be used by every later run
    words = ["finetune", config, "--out", out / "run", "--cache", out / "cache", "--device", "cpu", "--threads", 1]
    return [*words, *(word for setting in given for word in ("--set", setting))]


def _corrected(folder: Path) -> None:
    """A micrograph, its labels, and the log of two corrections."""
    from lisa_micro.correction import replay
    from lisa_micro.io import write_labels
    from lisa_micro.sim import simulate_scene

    scene = simulate_scene(5, (128, 128))
    calibrated = {"resolution": (2, 2), "metadata": {"unit": "nm"}}
    tifffile.imwrite(folder / "film.tif", scene.pixels.astype(np.float32), imagej=True, **calibrated)
    before = scene.particles.astype(np.int32)
    write_labels(folder / "before.tif", before, 0.5)
    numbers = [int(n) for n in np.unique(before)[1:]]
    actions = [{"action": "remove", "instances": numbers[:1]}, {"action": "merge", "instances": numbers[1:3]}]
    state = replay.replay(before, actions)
    log = replay.make_log(before, state, concept="particle", phrase="particles")
    (folder / "log.json").write_text(replay.log_text(log), encoding="utf-8")


def _correct(inputs: Path, out: Path, again: bool) -> list[object]:
    words = ["correct", inputs / "film.tif", inputs / "before.tif", inputs / "log.json", "--out", out]
    return [*words, "--force"] if again and (out / "answer.json").exists() else words


def _films(count: int) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        make_folder(folder / "films", count)
        write_image(folder / "films" / "A" / "broken.tif", marked(254))

    return prepare


_REPORTS = ("report.html", "report.pdf", "results.xlsx")
_BATCH: dict[str, Any] = {
    "growing": ("run.json", "progress.json"),
    "dropped": frozenset(("started", "finished", "command", "seconds", "engine", "workers", "threads")),
}

WORKS: dict[str, Work] = {
    "track": Work(
        _moving_discs,
        _track,
        growing=("frames.part", "labels.part.tif"),
        dropped=frozenset(("seconds", "frames_resumed")),
    ),
    "batch": Work(
        _films(9),
        _batch("serial"),
        varying=("timings.csv", "progress.json", *_REPORTS),
        **_BATCH,
    ),
    "batch processes": Work(
        _films(9),
        _batch("processes", "--workers", "2", "--no-report"),
        varying=("timings.csv", "progress.json"),
        **_BATCH,
    ),
    "finetune": Work(
        _records,
        _finetune,
        varying=("log.jsonl",),
        growing=("last.pt", "best.pt", "log.jsonl", "README.md"),
        dropped=frozenset(("seconds",)),
    ),
    "correct": Work(_corrected, _correct, dropped=frozenset(("seconds",))),
}


# --------------------------------------------------------------------------------------------------- comparing


def files_of(folder: Path) -> dict[str, Path]:
    """All files of a folder and its empty folders, hidden ones included, by their relative paths."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() or not any(path.iterdir())
    }


def hidden(name: str) -> bool:
    """Whether a part of a relative path is hidden, which readers of folders skip."""
    return any(part.startswith(".") for part in name.split("/"))


def _named(name: str, names: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name.rsplit("/", 1)[-1], one) for one in names)


def unfinished(work: Work, out: Path, reference: Path) -> list[str]:
    """What is wrong in the folder of a killed run: files that are neither those of the finished run nor readable."""
    whole, problems = files_of(reference), []
    for name, path in files_of(out).items():
        if hidden(name) or name.endswith(".part") or ".part." in name or path.is_dir():
            continue
        if _named(name, (*work.varying, *work.growing)):
            problem = unreadable(path)
        elif name not in whole:
            problem = "is no file of the finished run"
        else:
            problem = difference(work, path, whole[name])
        if problem:
            problems.append(f"after the kill {name} {problem}")
    return problems


def differences(work: Work, out: Path, reference: Path) -> list[str]:
    """What is wrong in the folder of a finished run: files that are missing, differ, or were left behind."""
    whole, found = files_of(reference), files_of(out)
    problems = [f"{name} is missing" for name in whole if name not in found]
    problems += [f"{name} was left behind" for name in found if name not in whole]
    for name in whole.keys() & found.keys():
        if whole[name].is_dir():
            continue
        varying = _named(name, work.varying)
        problem = unreadable(found[name]) if varying else difference(work, found[name], whole[name])
        if problem:
            problems.append(f"{name} {problem}")
    return sorted(problems)


def unreadable(path: Path) -> str:
    """Why a file is not whole; ``""`` for one that is."""
    try:
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".jsonl":
            for line in path.read_text(encoding="utf-8").splitlines():
                json.loads(line)
        elif path.suffix == ".pt":
            _tensors(path)
        elif path.suffix in (".xlsx", ".zip"):
            import zipfile

            with zipfile.ZipFile(path) as archive:
                return "" if archive.testzip() is None else "is damaged"
        elif path.suffix == ".pdf":
            return "" if path.read_bytes().rstrip().endswith(b"%%EOF") else "ends early"
        elif path.suffix == ".html":
            return "" if path.read_text(encoding="utf-8").rstrip().endswith("</html>") else "ends early"
    except Exception as error:  # any error of a library says that the file is damaged
        return f"cannot be read ({type(error).__name__}: {error})"
    return ""


def difference(work: Work, path: Path, reference: Path) -> str:
    """How a file differs from that of a run that was never killed; ``""`` if it does not."""
    if path.is_dir() or path.read_bytes() == reference.read_bytes():
        return ""
    problem = unreadable(path)
    if problem:
        return problem
    if path.suffix == ".json":
        one, other = (_without(json.loads(file.read_bytes()), work.dropped) for file in (path, reference))
        return "" if one == other else "has another content"
    if path.suffix in (".pt", ".safetensors"):
        one, other = _tensors(path), _tensors(reference)
        if one.keys() != other.keys():
            return "has other tensors"
        far = max((float((one[n] - other[n]).abs().max()) for n in one if one[n].numel()), default=0.0)
        return "" if far <= TOLERANCE else f"has weights that differ by {far:.2g}"
    return f"has another content ({_digest(path)}, not {_digest(reference)})"


def _digest(path: Path) -> str:
    content = path.read_bytes()
    return f"{len(content)} bytes {hashlib.sha256(content).hexdigest()[:8]}"


def _without(value: Any, dropped: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, dropped) for key, item in value.items() if key not in dropped}
    return [_without(item, dropped) for item in value] if isinstance(value, list) else value


def _tensors(path: Path) -> dict[str, Any]:
    """The tensors of a checkpoint or a file of weights, by their paths in it."""
    import torch

    if path.suffix == ".safetensors":
        from lisa_micro.models.checkpoints import read_state

        return read_state(path)
    found: dict[str, Any] = {}

    def collect(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                collect(f"{name}/{key}", item)
        elif isinstance(value, torch.Tensor):
            found[name] = value.float()

    collect("", torch.load(path, weights_only=True))
    return found
