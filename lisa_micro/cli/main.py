"""``lisa-micro``: where the command line begins.

A command that ``lisa-micro serve`` can run is handed over before anything else is imported; all others, and all where
no server runs, are those of :mod:`lisa_micro.cli.commands`.
"""

from __future__ import annotations

import sys


def run_command_line(arguments: list[str] | None = None) -> int:
    """Run the command line in this process and return its exit code.

    Args:
        arguments: None: those of the process.
    """
    from lisa_micro.cli.commands import app
    from lisa_micro.cli.terminal import run

    given = sys.argv[1:] if arguments is None else arguments
    # the context keeps the arguments, for commands that note how to repeat them
    return run(lambda: app(args=given, prog_name="lisa-micro", standalone_mode=False, obj=tuple(given)))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: None: those of the process, which a server may run.
    """
    code = None
    if arguments is None:
        from lisa_micro.cli.server.client import run_on_server

        code = run_on_server(sys.argv[1:])
    sys.exit(run_command_line(arguments) if code is None else code)


if __name__ == "__main__":
    main()
