"""``python -m lisa_micro_finetune.blend ONE OTHER --out OUT``: the average of two trainings of the same parts.

Weights that one training has made from the others' lie close enough for their average to be a good model too, often a
better one than either (Wortsman et al. 2022, "Model soups"; Wortsman et al. 2022, "Robust fine-tuning of zero-shot
models").
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from torch import Tensor

from lisa_micro.models.checkpoints import read_state, save_module
from lisa_micro.types import InputError

PARTS = ("sam_tower", "mask_head")


def blend(one: dict[str, Tensor], other: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """``(1 - share) * one + share * other``, computed in float32; whole numbers are taken from ``other``.

    Raises:
        InputError: the share is not between 0 and 1, or the two are not of one architecture.
    """
    if not 0 <= share <= 1:
        raise InputError(f"the share of the second must lie between 0 and 1, not {share:g}")
    wrong = sorted(one.keys() ^ other.keys()) or [k for k in one if one[k].shape != other[k].shape]
    if wrong:
        raise InputError(f"the two are not of one architecture: {len(wrong)} entries differ ({wrong[0]}, ...)")
    return {
        name: ((1 - share) * one[name].float() + share * value.float()).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in other.items()
    }


def main() -> int:
    """Exit code 0 on success, 2 where something cannot be read or does not fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("one", type=Path, help="folder with weights")
    parser.add_argument("other", type=Path, help="another one")
    parser.add_argument("--share", type=float, default=0.5, help="of the second")
    parser.add_argument("--parts", default=",".join(PARTS), help="files, with commas between, without .safetensors")
    parser.add_argument("--out", type=Path, required=True, help="folder for the averaged parts")
    args = parser.parse_args()
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        for part in args.parts.split(","):
            states = [read_state(folder / f"{part}.safetensors") for folder in (args.one, args.other)]
            save_module(blend(*states, args.share), args.out / f"{part}.safetensors")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
