"""Download models from the hub and upload them, by name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from lisa_micro.types import InputError

WEIGHTS = ("*.json", "*.model", "*.safetensors", "*.bin")
"""Patterns of the files of a model folder."""

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_name(name: str) -> bool:
    """Whether ``name`` has the form of a hub name, ``owner/model``."""
    return _NAME.fullmatch(name) is not None


def fetch(name: str, patterns: Iterable[str] = WEIGHTS) -> Path:
    """Download a model into the cache of the hub's client, unless it is there already.

    Args:
        name: ``owner/model``.
        patterns: of the files to download.

    Returns:
        its folder.

    Raises:
        InputError: the hub does not have it, or there is no network and it is not in the cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except RepositoryNotFoundError as error:
        raise InputError(
            f"The hub has no model {name}, or asks for a login; check the name, or run: hf auth login"
        ) from error
    except Exception as error:  # the client raises what the libraries beneath it raise
        raise InputError(
            f"{name} could not be downloaded from the hub, and is not in its cache; "
            "connect to a network once, or give the path of a folder that holds it."
        ) from error


PUSHED = ("*.json", "*.safetensors", "*.md", "*.png")
"""Patterns of the files that are uploaded; subfolders are not."""


def check_pushable(folder: Path, name: str) -> list[Path]:
    """Check a folder before :func:`push_folder`.

    Returns:
        the files to upload.

    Raises:
        InputError: the folder is neither an adapter nor a preset, or the name does not have the form of a hub name.
    """
    if not is_hub_name(name):
        raise InputError(f"{name!r} is not a hub name; give OWNER/NAME, such as my-lab/sintering-adapter.")
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder} is neither an adapter nor a preset; give a folder with config.json and safetensors weights."
        )
    return sorted(path for pattern in PUSHED for path in folder.glob(pattern) if path.is_file())


def push_folder(folder: Path, name: str, files: Iterable[Path], private: bool = False) -> str:
    """Upload files to the hub in one commit. The model of that name is created if necessary.

    Returns:
        its address.

    Raises:
        InputError: no token, no write access to that name, or no network.
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
        raise InputError("The hub needs a token; set HF_TOKEN, or run: hf auth login") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise InputError(
                f"The hub denies write access to {name}; check the owner, and the permissions of the token in HF_TOKEN."
            ) from error
        raise InputError(
            f"The hub answered with the error {status}, and {name} may be incomplete; try again."
        ) from error
    except Exception as error:  # the client raises what the libraries beneath it raise
        raise InputError(
            f"{name} could not be uploaded because the hub cannot be reached; connect to a network and try again."
        ) from error
    return str(address)
