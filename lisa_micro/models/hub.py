"""Models from the hub and to it by name, or one sentence that says what to do."""

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


PUSHED = ("*.json", "*.safetensors", "*.md", "*.png")
"""What of a folder goes to the hub; nothing in folders below it."""


def check_pushable(folder: Path, name: str) -> list[Path]:
    """The files of an adapter's or a preset's folder that :func:`push_folder` would send.

    Raises:
        InputError: the folder is neither, or the name is not one of the hub's.
    """
    if not is_hub_name(name):
        raise InputError(f"{name!r} is not a name on the hub; give OWNER/NAME, such as my-lab/sintering-adapter")
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise InputError(f"{folder} is neither an adapter nor a preset: it has no config.json with weights beside it")
    return sorted(path for pattern in PUSHED for path in folder.glob(pattern) if path.is_file())


def push_folder(folder: Path, name: str, files: Iterable[Path], private: bool = False) -> str:
    """Send files to the hub as one commit, into a model of that name, which is made where it is not there yet.

    Returns:
        its address.

    Raises:
        InputError: no token, no right to that name, or no network.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi()
    try:
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=name,
            folder_path=folder,
            allow_patterns=[path.name for path in files],
            commit_message="Weights written by lisa-micro",
        )
    except LocalTokenNotFoundError as error:
        raise InputError("the hub needs a token: set HF_TOKEN, or run: hf auth login") from error
    except HfHubHTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            raise InputError(
                f"the hub does not let you write to {name}; check the owner, and that the token of HF_TOKEN may write"
            ) from error
        raise InputError(f"the hub answered with an error ({status}); {name} may be incomplete, try again") from error
    except Exception as error:  # the client raises what the libraries beneath it raise
        raise InputError(
            f"{name} could not be sent: the hub is not to be reached; connect to a network and try again"
        ) from error
    return str(address)
