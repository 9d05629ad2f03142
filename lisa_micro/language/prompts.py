"""What a user may say: not nothing, and not without end."""

from __future__ import annotations

from lisa_micro.types import InputError

MAX_PROMPT = 2000
"""Characters of a prompt that are read; the rest is cut with a notice."""


def check_prompt(prompt: str, needed: bool = True) -> tuple[str, tuple[str, ...]]:
    """A prompt as it is read: white space put in order, cut to :data:`MAX_PROMPT` characters.

    Args:
        prompt: as typed.
        needed: whether an empty one is an error.

    Returns:
        the words, and notices about what was done to them.

    Raises:
        InputError: nothing is left where a prompt is needed.
    """
    words = " ".join(prompt.split())
    if needed and not words:
        raise InputError('The prompt is empty; say what to segment or measure, such as "segment all particles".')
    if len(words) <= MAX_PROMPT:
        return words, ()
    return words[:MAX_PROMPT], (f"The prompt has {len(words)} characters; the first {MAX_PROMPT} are used.",)
