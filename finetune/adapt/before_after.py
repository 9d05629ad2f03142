"""The model before training and the adapter after it, evaluated on the same requests."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.loading import load_assistant
from lisa_micro_finetune.adapt.data import Records
from lisa_micro_finetune.adapt.digest import short_digest
from lisa_micro_finetune.adapt.evaluate import Case, evaluate, picture
from lisa_micro_finetune.adapt.export import write_json
from lisa_micro_finetune.adapt.settings import EvaluationSettings

METRICS, MASKS = "before.json", "before.npz"


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated before and after.

    Attributes:
        part: held-out records, ``None`` if there are none.
        cases: requests about them, with true labels.
        settings: numbers of images, scenes and requests.
        seed: seed of the requests on which forgetting is measured.
        device: name of the device.
        log: receives lines of text.
    """

    part: Records | None
    cases: list[Case]
    settings: EvaluationSettings
    seed: int
    device: str
    log: Callable[[str], None]

    def before(self, preset: str, folder: Path) -> None:
        """Evaluate the model as it is, once per run; metrics and masks are written to ``folder``."""
        if not (self.cases or self.settings.scenes):
            return
        # a change of model or requests needs a new evaluation
        described = [
            (c.image, c.name, c.prompt, c.concept, c.truth.shape, int((c.truth > 0).sum())) for c in self.cases
        ]
        key = short_digest({"preset": preset, "judge": self.settings.model_dump_json(), "cases": str(described)})
        if (folder / METRICS).is_file():
            earlier = json.loads((folder / METRICS).read_text(encoding="utf-8"))
            if earlier.get("key") == key:
                return
        self.log(f"evaluating {preset} before training: {len(self.cases)} requests, {self.settings.scenes} scenes")
        metrics, masks = self._evaluate(preset)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / METRICS).unlink(missing_ok=True)  # that of another model, which must not be taken for these masks
        np.savez_compressed(folder / MASKS, **{f"m{k}": np.packbits(mask) for k, mask in enumerate(masks)})
        write_json(folder / METRICS, {"key": key, **metrics})
        gc.collect()

    def after(self, adapter: Path, folder: Path) -> dict[str, Any]:
        """Evaluate the adapter; draw ``cases.png`` into its folder.

        Args:
            adapter: folder of the adapter.
            folder: folder of the run, with the files that :meth:`before` wrote.

        Returns:
            metrics before and after, the gain in gIoU, and what was forgotten; empty if nothing is evaluated.
        """
        if not (self.cases or self.settings.scenes):
            return {}
        self.log(f"evaluating {adapter}")
        metrics, masks = self._evaluate(str(adapter))
        was = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        results: dict[str, Any] = {}
        if "own" in metrics and "own" in was:
            old, new = was["own"], metrics["own"]
            results = {"before": old, "after": new, "gain": new["giou"] - old["giou"]}
            picture(self.part, self.cases, self._masks_before(folder), masks, adapter / "cases.png")
            self.log(f"gIoU on validation images: {old['giou']:.3f} before, {new['giou']:.3f} after")
        if "remembered" in metrics and "remembered" in was:
            old, new = was["remembered"], metrics["remembered"]
            lost = {n: old[n] - new[n] for n in ("giou", "exact") if n in old and n in new}
            results["forgetting"] = {"before": old, "after": new, "lost": lost}
            self.log("forgetting: " + ", ".join(f"{n} {v:+.3f}" for n, v in lost.items()))
        return results

    def _evaluate(self, preset: str) -> tuple[dict[str, Any], list[np.ndarray]]:
        assistant = load_assistant(preset, device=self.device)
        return evaluate(assistant, self.part, self.cases, self.settings, self.seed)

    def _masks_before(self, folder: Path) -> list[np.ndarray]:
        with np.load(folder / MASKS) as packed:
            return [
                np.unpackbits(packed[f"m{k}"], count=case.truth.size).reshape(case.truth.shape) > 0
                for k, case in enumerate(self.cases)
            ]
