"""Run the stage that a configuration describes."""

from __future__ import annotations

from pathlib import Path

from lisa_micro_finetune.adapt.runner import run_adapt
from lisa_micro_finetune.concepts.run import ConceptStage, run_concepts
from lisa_micro_finetune.config import ClipStage, LanguageStage, ProgramStage, Stage, TrackingStage, VisionStage
from lisa_micro_finetune.stages.clip import run_clip
from lisa_micro_finetune.stages.language import run_language
from lisa_micro_finetune.stages.programs import run_programs
from lisa_micro_finetune.stages.tracking import run_tracking
from lisa_micro_finetune.stages.vision_runner import run_vision


def run_stage(stage: Stage, folder: Path, cache: Path, device_name: str = "auto") -> None:
    """Train one stage.

    Args:
        stage: the configuration.
        folder: folder of the run; an interrupted run is resumed.
        cache: folder for prepared data.
        device_name: ``"auto"``, ``"cpu"``, ``"cuda"``, ...

    Raises:
        InputError: settings, data or weights that cannot be used.
    """
    match stage:
        case VisionStage():
            run_vision(stage, folder, cache, device_name)
        case ConceptStage():
            run_concepts(stage, folder, cache, device_name)
        case ClipStage():
            run_clip(stage, folder, cache, device_name)
        case LanguageStage():
            run_language(stage, folder, cache, device_name)
        case ProgramStage():
            run_programs(stage, folder, cache, device_name)
        case TrackingStage():
            run_tracking(stage, folder, device_name)
        case _:
            run_adapt(stage, folder, cache, device_name)
