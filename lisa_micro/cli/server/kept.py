"""The model that a server keeps, and which commands it is the right one for."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lisa_micro.cli.options import ModelOptions
from lisa_micro.cli.server.fingerprint import stamps

if TYPE_CHECKING:
    from lisa_micro.assistant import Assistant


@dataclass(frozen=True)
class ServedModelOptions(ModelOptions):
    """Which model answers; a server may have it loaded already."""

    # read by the client, before anything is imported
    no_server: Annotated[
        bool,
        typer.Option("--no-server", help="Run in this process, also where lisa-micro serve has the model loaded."),
    ] = False


@dataclass(frozen=True)
class Source:
    """Where a model comes from: two equal ones give the same answers.

    Attributes:
        preset, device, precision: as given.
        folders: real paths of the preset, where it is a folder, and of the projectors.
        files: path, size and time of the files in these folders.
    """

    preset: str
    device: str
    precision: str
    folders: tuple[str, ...]
    files: tuple[str, ...]

    @classmethod
    def of(cls, options: ModelOptions, folder: str) -> Source:
        """The source that options name.

        Args:
            folder: working folder, for relative paths.
        """
        preset = Path(folder, options.preset)
        folders = [str(preset.resolve())] if (preset / "config.json").is_file() else []
        if options.projectors is not None:
            folders.append(str(Path(folder, options.projectors).resolve()))
        files = tuple(stamp for one in folders for stamp in stamps(one))
        return cls(options.preset, options.device, options.precision, tuple(folders), files)


@dataclass(frozen=True)
class KeptModel:
    """A loaded model and where it came from."""

    source: Source
    assistant: Assistant


kept_model: ContextVar[KeptModel | None] = ContextVar("kept_model", default=None)
"""The model that a command in this process may use instead of loading one."""


def kept_assistant(options: ModelOptions) -> Assistant | None:
    """The assistant that is loaded already, where it is the one that options name."""
    kept = kept_model.get()
    return kept.assistant if kept is not None and kept.source == Source.of(options, ".") else None


def model_of(arguments: Sequence[str]) -> ModelOptions | None:
    """Which model a command line loads.

    Returns:
        None: none, or another besides, or the command line is wrong; or it takes minutes, in which others would wait.
    """
    from lisa_micro.cli.commands import app

    command = typer.main.get_command(app)
    try:
        inner = command.commands[arguments[0]]  # type: ignore[attr-defined]
        values: dict[str, Any] = inner.make_context(arguments[0], list(arguments[1:])).params
    except (Exception, SystemExit):  # the client's own process says what is wrong
        return None
    if values.get("segmenter") is not None or values.get("volume") or values.get("lazy"):
        return None
    projectors = values["projectors"]
    return ModelOptions(
        values["preset"], values["device"], values["precision"], None if projectors is None else Path(projectors)
    )
