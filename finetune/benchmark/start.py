"""Start or resume a benchmark, after all checks of the request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lisa_micro_finetune.benchmark.settings import Settings


def start(settings: Settings, named: bool, force: bool, say: Callable[[str], None]) -> list[Path]:
    """Run a benchmark; an interrupted one is resumed from its work folder.

    Args:
        settings: settings of the benchmark.
        named: whether the user named the models; if not, models whose package is missing are left out.
        force: overwrite an existing report.
        say: prints one line of progress.

    Returns:
        the paths of the report.

    Raises:
        InputError: settings, data, weights or packages that cannot be used.
    """
    from lisa_micro.models.memory import keep_memory
    from lisa_micro_finetune.benchmark.report import check_report
    from lisa_micro_finetune.benchmark.run import benchmark, without_missing

    settings.check()
    if not named:
        settings = without_missing(settings, say)
    elif "yolo" in settings.models:
        from lisa_micro_finetune.benchmark.yolo import import_ultralytics

        import_ultralytics()  # fail before the other models are trained
    if settings.checkpoint is not None:
        from lisa_micro.models.segmenters.promptable import read_checkpoint

        read_checkpoint(settings.checkpoint)
    check_report(settings.out, settings.folder.resolve().name, force)
    keep_memory(256)
    return benchmark(settings, say)
