"""Short names for content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping


def short_digest(content: Mapping[str, str]) -> str:
    """Sixteen hexadecimal digits that name plain content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
