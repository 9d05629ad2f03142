"""Models of the hub by name, or one sentence that says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from lisa_micro.types import InputError

WEIGHTS = ("*.json", "*.model", "*.safetensors", "*.bin")
"""Patterns of the files that a model folder is made of."""

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_name(name: str) -> bool:
    """Whether ``name`` reads like one of the hub's, ``owner/model``."""
    return _NAME.fullmatch(name) is not None


def fetch(name: str, patterns: Iterable[str] = WEIGHTS) -> Path:
    """Folder of a model of the hub, downloaded into the hub's cache where it is not there yet. Without a network the
    cache answers.

    Args:
        name: ``owner/model``.
        patterns: which files are wanted.

    Raises:
        InputError: the hub does not have it, or there is no network and it is not in the cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except RepositoryNotFoundError as error:
        raise InputError(
            f"the hub has no model {name}, or asks for a login; check the name, or run: hf auth login"
        ) from error
    except Exception as error:  # the client raises what the libraries beneath it raise
        raise InputError(
            f"{name} could not be fetched from the hub, and is not in the hub's cache; "
            "connect to a network once, or give the path of a folder that holds it"
        ) from error
