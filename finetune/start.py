"""Start or resume the training that a configuration describes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from lisa_micro.extras import missing_extra
from lisa_micro.types import InputError


def shipped_configs() -> dict[str, Path]:
    """Paths of the configurations that are installed with the package, by name."""
    folder = Path(str(resources.files("lisa_micro_finetune"))) / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_config(config: Path) -> Path:
    """Return the file ``config``, or the shipped configuration of that name.

    Raises:
        InputError: neither exists.
    """
    if config.is_file():
        return config
    shipped = shipped_configs()
    if config.name == str(config) and config.stem in shipped:
        return shipped[config.stem]
    raise InputError(f"There is no configuration {config}; give a YAML file, or a shipped name: {', '.join(shipped)}.")


def run_folder(config: Path, out: Path | None = None) -> Path:
    """Return the folder of a run, after creating it: ``out``, or ``runs/NAME`` after the configuration's name.

    Raises:
        InputError: it cannot be created.
    """
    folder = out or Path("runs") / config.stem
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}.") from error
    return folder


def start(
    config: Path,
    out: Path | None = None,
    settings: Sequence[str] = (),
    cache: Path = Path("runs/cache"),
    device: str = "auto",
    threads: int = 0,
) -> Path:
    """Run a stage of training; an interrupted run is resumed from its folder.

    Args:
        config: a YAML file, or the name of a shipped configuration.
        out: folder of the run; ``None``: ``runs/NAME``, where NAME is the name of the configuration.
        settings: ``KEY=VALUE`` each; they replace what the file says.
        cache: folder for prepared data.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ...
        threads: CPU threads; 0: all cores.

    Returns:
        the folder of the run.

    Raises:
        InputError: an invalid configuration, missing data, or a package that is not installed.
    """
    import torch

    from lisa_micro.models.memory import keep_memory
    from lisa_micro_finetune.config import load_config

    config = find_config(config)
    stage = load_config(config, settings)
    if threads:
        torch.set_num_threads(threads)
    keep_memory(256)
    folder = run_folder(config, out)
    try:
        from lisa_micro_finetune.run import run_stage

        run_stage(stage, folder, cache, device)
    except ModuleNotFoundError as error:
        raise missing_extra(f"The stage {stage.stage}", error.name or "of an import") from error
    return folder
