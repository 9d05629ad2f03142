"""``python -m lisa_micro_finetune.accelerate launch ...``: the command ``accelerate``, with torchvision importable.

The program ``accelerate`` imports all of its subcommands. ``estimate`` imports timm, which imports torchvision, and
that fails where torchvision was built for another build of torch; then ``accelerate launch`` fails, too. This module
makes torchvision importable first, as :mod:`lisa_micro.models.compat` does for the library.
"""

from __future__ import annotations

import sys

from lisa_micro.extras import require
from lisa_micro.types import InputError


def main() -> int:
    """Run accelerate with the arguments of this process; exit code 2 if it is not installed."""
    try:
        require("This command", "accelerate")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from lisa_micro.models.compat import prepare_torchvision

    prepare_torchvision()
    from accelerate.commands.accelerate_cli import main as run

    # the name in help and error messages
    sys.argv[0] = "accelerate"
    run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
