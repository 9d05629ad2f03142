"""Compare presets and adapters on records, by the requests that the stage ``adapt`` uses before and after training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lisa_micro.datasets.records import FILE_NAME
from lisa_micro.loading import load_assistant
from lisa_micro.models.lisa.adapter import AdapterConfig, find_preset, is_adapter, read_parts
from lisa_micro.models.memory import keep_memory
from lisa_micro.types import InputError
from lisa_micro_finetune.adapt.data import Records, read_part, split_records, with_concepts
from lisa_micro_finetune.adapt.evaluate import Case, answer_all, box_bound, make_cases, picture, score
from lisa_micro_finetune.adapt.export import write_json
from lisa_micro_finetune.adapt.settings import EvaluationSettings


@dataclass(frozen=True)
class PresetTest:
    """Which requests are evaluated.

    Attributes:
        images: largest number of images.
        wordings: number of held-out wordings for each image and concept.
        boxes: whether to segment from true boxes, too, which shows what words could reach.
        seed: seed of the wordings.
    """

    images: int = 20
    wordings: int = 3
    boxes: bool = True
    seed: int = 0


def evaluation_part(data: Path) -> Records:
    """The validation part of a data set, or all records if they name no parts.

    Raises:
        InputError: no records, or invalid ones.
    """
    if not (data / FILE_NAME).is_file() and (data / "train" / FILE_NAME).is_file():
        held_out = split_records(data, 0.0)[1]
        return read_part(data / "train") if held_out is None else held_out
    whole = read_part(data)
    chosen = tuple(k for k, record in enumerate(whole.records) if record.split in ("validation", "test"))
    return Records(whole.file, whole.examples, whole.records, chosen or whole.chosen)


def cases_of(presets: list[str], part: Records, test: PresetTest) -> list[Case]:
    """Make the same requests for all presets, about the concepts of the last preset and of the records.

    Raises:
        InputError: a preset does not exist, or the records give no requests.
    """
    for preset in presets:
        home = find_preset(preset)
        if is_adapter(home):
            AdapterConfig.read(home)
    config = with_concepts(read_parts(find_preset(presets[-1])).config, part.file.parent)
    settings = EvaluationSettings(wordings=test.wordings, images=test.images)
    cases = make_cases(part, config.vocabulary, settings, test.seed)
    if not cases:
        raise InputError(f"{part.file} has neither labels nor requests with targets, so there is nothing to evaluate.")
    return cases


def compare(
    presets: list[str],
    data: Path,
    test: PresetTest,
    device: str = "auto",
    out: Path | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, dict[str, Any]]:
    """Evaluate all presets on the same requests.

    Args:
        presets: names or folders of presets and adapters.
        data: folder of records; see :func:`evaluation_part`.
        test: which requests are evaluated.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ...
        out: folder for ``judgement.json`` and, of two or more presets, ``cases.png`` of the first and the last.
        say: prints one line of progress.

    Returns:
        metrics by preset.

    Raises:
        InputError: records or presets that cannot be used.
    """
    keep_memory(256)
    part = evaluation_part(data)
    cases = cases_of(presets, part, test)
    results: dict[str, dict[str, Any]] = {}
    masks = {}
    for preset in presets:
        say(f"evaluating {preset}: {len(cases)} requests")
        assistant = load_assistant(preset, device=device)
        masks[preset] = answer_all(assistant, part, cases)
        bound = box_bound(assistant, part, cases) if test.boxes else None
        results[preset] = {**score(cases, masks[preset]), "box_giou": bound}
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "judgement.json", results)
        if len(presets) > 1:
            picture(part, cases, masks[presets[0]], masks[presets[-1]], out / "cases.png")
    return results


def report(results: dict[str, dict[str, Any]], shown: int) -> Iterator[str]:
    """Write a report: a line per preset, then gIoU by concept, wording and image with a column per preset.

    Args:
        results: metrics by preset.
        shown: largest number of lines per table.
    """
    for preset, metrics in results.items():
        bound = metrics["box_giou"]
        boxes = "" if bound is None else f", from true boxes {bound:.3f}"
        yield f"{preset}: gIoU {metrics['giou']:.3f}, cIoU {metrics['ciou']:.3f}{boxes}"
    for table, key in (("concepts", "concept"), ("wordings", "prompt"), ("images", "name")):
        first = next(iter(results.values()))[table]
        yield f"gIoU by {key}:"
        for number, row in enumerate(first[:shown]):
            values = " ".join(f"{metrics[table][number]['giou']:.3f}" for metrics in results.values())
            yield f"  {values}  {row[key]}"
        if len(first) > shown:
            yield f"  and {len(first) - shown} more"
