"""``python -m lisa_micro``: the same as ``lisa-micro``."""

from lisa_micro.cli.main import main

if __name__ == "__main__":
    main()
