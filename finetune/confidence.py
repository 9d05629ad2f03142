"""``python -m lisa_micro_finetune.confidence WEIGHTS``: calibrate the confidence of replies.

Requests in held-out wordings, composed ones and those of version 1, are read on a simulated scene. A logistic function
of the log-probabilities of the chosen tokens, and of how far the replies that were tried agree, is fitted to whether
the replies are right, and written into ``config.json`` of WEIGHTS, with the confidence below which a reply asks back:
the lowest one that leaves a given share of all composed requests answered wrongly without asking.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from lisa_micro.assistant.assistant import Assistant
from lisa_micro.assistant.confidence import Doubt, doubt_of
from lisa_micro.datasets.texts import SuiteItem, held_out_suite
from lisa_micro.evaluate.composed import held_out_programs, measures_of, score_program
from lisa_micro.evaluate.language import score_reply
from lisa_micro.evaluate.scenes import FIRST_SEED, micrograph_of, scene_with_everything
from lisa_micro.io import write_files, write_json
from lisa_micro.loading import load_assistant
from lisa_micro.models.lisa.config import Confidence
from lisa_micro.types import InputError

SEED = 71
"""Seed of the requests; other ones than those of the evaluation suites."""
MOST_CONFIDENT = 0.8
_PRIOR = 1e-2  # weight of the squared coefficients, which keeps them finite where all replies are right


class Read(NamedTuple):
    """One request as it was read.

    Attributes:
        doubt: what the confidence depends on.
        right: whether the reply is right.
        composed: whether the request is a composed one.
        refused: whether the reply refuses.
    """

    doubt: Doubt
    right: bool
    composed: bool = True
    refused: bool = False


def read_all(assistant: Assistant, composed: list[SuiteItem], simple: list[SuiteItem]) -> list[Read]:
    """Read requests on one simulated scene. Composed ones are right by what they do, the others by their meaning."""
    scene = scene_with_everything(FIRST_SEED)
    picture = micrograph_of(scene)
    measures = [measures_of(scene)]
    found = []
    for items, is_composed in ((composed, True), (simple, False)):
        for item in items:
            written = assistant.written(picture, item.prompt, item.history)
            row = score_program(item, written.raw, measures) if is_composed else score_reply(item, written.raw)
            refused = bool(row.get("refused"))
            found.append(Read(doubt_of(written), bool(row["right"]), is_composed, refused))
    return found


def fit(read: list[Read]) -> Confidence:
    """Fit the calibration by maximum likelihood, with a weak prior.

    Raises:
        InputError: no request was read.
    """
    if not read:
        raise InputError("No request was read, so that there is nothing to calibrate with.")
    design = np.array([(1.0, *one.doubt) for one in read])
    right = np.array([one.right for one in read], float)

    def loss(weights: np.ndarray) -> float:
        score = design @ weights
        likelihood = right * np.logaddexp(0, -score) + (1 - right) * np.logaddexp(0, score)
        return float(likelihood.sum() + _PRIOR * (weights[1:] ** 2).sum())

    names = ("intercept", *Doubt._fields)
    best = minimize(loss, np.array([1.0, 0.5, 0.5, 0.5]), method="L-BFGS-B").x.tolist()
    return Confidence(**{name: round(value, 4) for name, value in zip(names, best, strict=True)})


def confidences(read: list[Read], calibration: Confidence) -> np.ndarray:
    """``(n,)`` confidence of each reply."""
    return np.array([one.doubt.confidence(calibration) for one in read])


def wrong_share(read: list[Read], calibration: Confidence, share: float = MOST_CONFIDENT) -> float:
    """Share of wrong replies among the most confident ones."""
    order = np.argsort(-confidences(read, calibration), kind="stable")[: max(1, round(share * len(read)))]
    return float(np.mean([not read[k].right for k in order]))


def asking_from(read: list[Read], calibration: Confidence, silent: float) -> float:
    """The lowest confidence from which on the composed requests that are answered wrongly, without a refusal and
    without asking, are at most a share ``silent`` of all composed ones."""
    composed = [one for one in read if one.composed]
    wrong = [not one.right and not one.refused for one in composed]
    confident = sorted(confidences([one for one, bad in zip(composed, wrong, strict=True) if bad], calibration))
    most = int(silent * len(composed))
    if len(confident) <= most:
        return 0.0
    # just above the most confident of those that have to ask, to the four digits that are kept
    return min(1.0, float(np.floor(confident[len(confident) - most - 1] * 1e4) + 1) / 1e4)


def main() -> int:
    """Exit code 0 on success, 2 where the weights cannot be loaded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--composed", type=int, default=300, help="number of composed requests")
    parser.add_argument("--simple", type=int, default=200, help="number of requests of version 1")
    parser.add_argument(
        "--silent", type=float, default=0.04, help="share of composed requests that may be wrong without asking back"
    )
    args = parser.parse_args()
    try:
        assistant = load_assistant(str(args.weights))
        if not isinstance(assistant, Assistant):
            raise InputError(f"{args.weights} does not write the reply language.")
        read = read_all(assistant, held_out_programs(args.composed, SEED), held_out_suite(args.simple, SEED))
        calibration = fit(read[::2])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    other = read[1::2]
    shares = {f"{share:.0%}": round(wrong_share(other, calibration, share), 4) for share in (0.5, MOST_CONFIDENT, 1.0)}
    print(f"{calibration}; on the other half ({len(other)}) wrong among the most confident {shares}")
    limit = asking_from(read[::2], calibration, args.silent)
    composed = [one for one in other if one.composed]
    sure = confidences(composed, calibration) >= limit
    silent = float(np.mean([not r.right and not r.refused and s for r, s in zip(composed, sure, strict=True)]))
    print(
        f"asking below {limit:.3f}: composed ones there silently wrong {silent:.3f}, asked about {1 - sure.mean():.3f}"
    )
    calibration = fit(read)
    calibration = calibration.model_copy(update={"unsure": asking_from(read, calibration, args.silent)})
    config = json.loads((args.weights / "config.json").read_text())
    config["confidence"] = calibration.model_dump()
    write_files(args.weights, {"config.json": lambda path: write_json(path, config)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
