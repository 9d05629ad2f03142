"""Average the weights of two training runs: ``python -m lisa_micro_finetune.blend ONE OTHER --out OUT``.

The average of a model and a fine-tuned copy of it is often better than either (Wortsman et al. 2022, "Model soups";
Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
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
    """Average two state dicts: ``(1 - share) * one + share * other``, in float32; integers are those of ``other``.

    Raises:
        InputError: the share is not between 0 and 1, or the architectures differ.
    """
    if not 0 <= share <= 1:
        raise InputError(f"--share is {share:g}; it must be between 0 and 1.")
    wrong = sorted(one.keys() ^ other.keys()) or [k for k in one if one[k].shape != other[k].shape]
    if wrong:
        raise InputError(f"The two models do not have one architecture: {len(wrong)} entries differ ({wrong[0]}, ...).")
    return {
        name: ((1 - share) * one[name].float() + share * value.float()).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in other.items()
    }


def main() -> int:
    """Run the command; exit code 0 on success, 2 for weights that cannot be read or do not match."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("one", type=Path, help="folder with the weights of the first run")
    parser.add_argument("other", type=Path, help="folder with the weights of the second run")
    parser.add_argument("--share", type=float, default=0.5, help="share of the second run, 0 to 1")
    parser.add_argument(
        "--parts", default=",".join(PARTS), help="names of the files without .safetensors, separated by commas"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the averaged weights")
    args = parser.parse_args()
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        for part in args.parts.split(","):
            one, other = (read_state(folder / f"{part}.safetensors") for folder in (args.one, args.other))
            save_module(blend(one, other, args.share), args.out / f"{part}.safetensors")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
