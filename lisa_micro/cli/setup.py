"""``lisa-micro setup``: everything downloaded and converted ahead of the first use."""

from __future__ import annotations

from lisa_micro.cli.terminal import busy, steps


def setup() -> None:
    """Download and convert the base language model now instead of at first use; afterwards no network is needed."""
    with busy("Loading"):
        from lisa_micro.models.lisa.base_files import SMOLLM2
        from lisa_micro.models.lisa.base_lm import load_base, prepare
    with steps("Preparing the language model") as progress:
        folder = prepare(progress)
    if folder is None:
        with busy("Downloading the language model from the hub"):
            load_base()
    print(f"The language model is ready: {folder or SMOLLM2}")
