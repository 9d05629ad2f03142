"""Digests of settings and file lists."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping


def short_digest(content: Mapping[str, str]) -> str:
    """Return sixteen hexadecimal digits of the SHA-256 of a mapping."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
