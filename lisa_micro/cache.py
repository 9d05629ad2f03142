"""The cache folder of this account; importing this module imports nothing heavy."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``LISA_MICRO_CACHE``, or the user's cache folder of the platform."""
    import platformdirs

    return Path(os.environ.get("LISA_MICRO_CACHE") or platformdirs.user_cache_dir("lisa-micro"))
