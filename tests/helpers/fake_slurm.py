"""Stand-ins for SLURM's programs: ``sbatch`` keeps the script that it is given, and numbers or refuses the job."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest


def put_slurm(folder: Path, monkeypatch: pytest.MonkeyPatch, refusal: str = "") -> None:
    """Put ``srun`` and ``sbatch`` on the path.

    Args:
        folder: for the programs.
        refusal: what ``sbatch`` complains of; ``""``: it accepts every job as number 42.
    """
    folder.mkdir(parents=True)
    answer = f"echo 'sbatch: error: {refusal}' >&2; exit 1" if refusal else "echo Submitted batch job 42"
    for name, text in (("srun", "exit 1"), ("sbatch", answer)):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
