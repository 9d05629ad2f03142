"""``python -m lisa_micro_finetune.adapt.judge FOLDER --preset NAME``: how well presets or adapters outline what
records are about.

It asks what the stage ``adapt`` asks before and after training, of any records and without training: a second folder of
images that nothing was learnt from, or a second adapter on the same images.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from lisa_micro.datasets.records import FILE_NAME
from lisa_micro.models.lisa.adapter import AdapterConfig, find_preset, is_adapter, read_parts
from lisa_micro.models.memory import keep_memory
from lisa_micro.types import InputError
from lisa_micro_finetune.adapt.data import Records, read_part, split_records, with_concepts
from lisa_micro_finetune.adapt.evaluate import Case, answer_all, box_bound, make_cases, picture, score
from lisa_micro_finetune.adapt.export import write_json
from lisa_micro_finetune.adapt.settings import Judge

SHOWN = 12
"""Lines of a table that are printed at most; the file has all."""


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 on success, 2 for presets or records that cannot be used."""
    parser = argparse.ArgumentParser(prog="lisa_micro_finetune.adapt.judge", description=__doc__)
    parser.add_argument("data", type=Path, help="records: their validation part, or all where they name none")
    parser.add_argument("--preset", action="append", metavar="NAME", help="a preset or an adapter; may be repeated")
    parser.add_argument("--out", type=Path, default=None, help="folder for judgement.json and cases.png")
    parser.add_argument("--images", type=int, default=20, help="at most")
    parser.add_argument("--wordings", type=int, default=3, help="held-back requests for each image and concept")
    parser.add_argument("--no-boxes", action="store_true", help="leave out what true boxes give, which takes a while")
    parser.add_argument("--seed", type=int, default=0, help="of the wordings")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args(argv)
    keep_memory(256)
    try:
        presets = args.preset or ["micro"]
        if len(set(presets)) != len(presets):
            raise InputError("a preset is named twice")
        part = part_to_judge(args.data)
        judge = Judge(wordings=args.wordings, images=max(1, args.images))
        results = compare(presets, part, judge, args.seed, args.device, args.out, not args.no_boxes)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report(results)
    return 0


def part_to_judge(data: Path) -> Records:
    """The validation part of a data set, or all of it where its records belong to none.

    Raises:
        InputError: no records, or broken ones.
    """
    if not (data / FILE_NAME).is_file() and (data / "train" / FILE_NAME).is_file():
        held_back = split_records(data, 0.0)[1]
        return read_part(data / "train") if held_back is None else held_back
    whole = read_part(data)
    chosen = tuple(k for k, record in enumerate(whole.records) if record.split in ("validation", "test"))
    return Records(whole.file, whole.examples, whole.records, chosen or whole.chosen)


def cases_of(presets: list[str], part: Records, judge: Judge, seed: int) -> list[Case]:
    """The same requests for all presets: about what any of them, or the records, have a word for.

    Raises:
        InputError: a preset is not there, or there is nothing to ask about.
    """
    for preset in presets:
        home = find_preset(preset)
        if is_adapter(home):
            AdapterConfig.read(home)
    config = with_concepts(read_parts(find_preset(presets[-1])).config, part.file.parent)
    cases = make_cases(part, config.vocabulary, judge, seed)
    if not cases:
        raise InputError(f"{part.file} has neither labels nor requests with targets to judge by")
    return cases


def compare(
    presets: list[str],
    part: Records,
    judge: Judge,
    seed: int,
    device: str,
    out: Path | None = None,
    boxes: bool = True,
) -> dict[str, dict[str, Any]]:
    """Figures by preset; with ``out`` also ``judgement.json`` and, for two or more, ``cases.png`` of first and last.

    Raises:
        InputError: see :func:`cases_of`.
    """
    from lisa_micro.loading import load_assistant

    cases = cases_of(presets, part, judge, seed)
    results: dict[str, dict[str, Any]] = {}
    masks = {}
    for preset in presets:
        print(f"judging {preset}: {len(cases)} requests", flush=True)
        assistant = load_assistant(preset, device=device)
        masks[preset] = answer_all(assistant, part, cases)
        bound = box_bound(assistant, part, cases) if boxes else None
        results[preset] = {**score(cases, masks[preset]), "box_giou": bound}
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "judgement.json", results)
        if len(presets) > 1:
            picture(part, cases, masks[presets[0]], masks[presets[-1]], out / "cases.png")
        print(f"wrote {out}")
    return results


def report(results: dict[str, dict[str, Any]]) -> None:
    """Print one line a preset, then gIoU by concept, by wording and by image with a column a preset."""
    for preset, figures in results.items():
        bound = figures["box_giou"]
        boxes = "" if bound is None else f", from true boxes {bound:.3f}"
        print(f"{preset}: gIoU {figures['giou']:.3f}, cIoU {figures['ciou']:.3f}{boxes}")
    for table, key in (("concepts", "concept"), ("wordings", "prompt"), ("images", "name")):
        first = next(iter(results.values()))[table]
        print(f"gIoU by {key}:")
        for number, row in enumerate(first[:SHOWN]):
            values = " ".join(f"{figures[table][number]['giou']:.3f}" for figures in results.values())
            print(f"  {values}  {row[key]}")
        if len(first) > SHOWN:
            print(f"  and {len(first) - SHOWN} more")


if __name__ == "__main__":
    sys.exit(main())
