"""``lisa-micro finetune --submitit``: what SLURM is given, what is refused, and what a signal does to a run.

An interrupted job that ends with the weights of an uninterrupted run is in ``test_adapt_run.py``.
"""

from __future__ import annotations

import os
import signal
import time

import pytest
import torch
from cli_calls import call, failed
from fake_slurm import put_slurm

from lisa_micro.types import InputError
from lisa_micro_finetune.cluster.submit import wait
from lisa_micro_finetune.interruption import INTERRUPTION
from lisa_micro_finetune.loop import run_loop
from lisa_micro_finetune.schedule import Schedule

pytest.importorskip("submitit", reason="the extra [train] is missing")


def sets(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def test_slurm_is_given_the_settings_of_the_file(tmp_path, monkeypatch, capsys):
    put_slurm(tmp_path / "bin", monkeypatch)
    monkeypatch.chdir(tmp_path)
    block = "submitit={partition: gpu, gpus_per_node: 2, nodes: 3, mem_gb: 1.5, timeout_min: 90, signal_delay_s: 60, "
    block += "setup: [module load cuda], sbatch: {mail-type: FAIL}}"
    assert call("finetune", "adapt", "--submitit", "--out", "run", *sets("data=mine", block)) == 0
    jobs = tmp_path / "run" / "jobs"
    assert f"submitted job 42 (slurm); its log is {jobs}/42_0_log.out" in capsys.readouterr().out
    script = (jobs / "42_submission.sh").read_text()
    lines = script.splitlines()
    asked = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH ")}
    assert asked >= {
        "partition=gpu", "gpus-per-node=2", "nodes=3", "ntasks-per-node=2", "cpus-per-task=4", "mem=1536M", "time=90",
        "signal=USR2@60", "mail-type=FAIL", "job-name=lisa-micro", "requeue",
    }  # fmt: skip
    assert not any(option.startswith(("account", "qos", "constraint")) for option in asked)
    command = next(k for k, line in enumerate(lines) if line.startswith("srun"))
    assert lines.index("module load cuda") < command and "submitit.core._submit" in lines[command]
    assert (jobs / "42_submitted.pkl").is_file()


def test_what_cannot_become_a_job_is_refused_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    job = ("finetune", "adapt", "--submitit", "--out", "run")
    assert "submitit.partitin" in failed(capsys, *job, *sets("submitit.partitin=gpu"))
    assert "shorter than timeout_min" in failed(capsys, *job, *sets("submitit.timeout_min=1"))
    assert "nodes: 1" in failed(capsys, *job, *sets("submitit={executor: local, nodes: 2}"))
    assert "one process, not 2" in failed(capsys, "finetune", "clip", *job[2:], *sets("submitit.gpus_per_node=2"))
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "There is no SLURM" in failed(capsys, *job)
    put_slurm(tmp_path / "bin", monkeypatch, refusal="invalid partition specified: gpu")
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}/bin")
    error = failed(capsys, *job, *sets("submitit.partition=gpu"))
    assert error.endswith("refused the job: invalid partition specified: gpu\n")


def test_a_failed_job_tells_its_last_error_and_its_log(tmp_path):
    from submitit import LocalExecutor

    executor = LocalExecutor(tmp_path / "jobs")
    executor.update_parameters(timeout_min=1)
    job = executor.submit(int, "seven")
    with pytest.raises(InputError, match=r"ValueError: invalid literal .*'seven'. Its log is .*_log.err.$"):
        wait(job)


def train(folder, at_step=lambda _: None, steps: int = 6) -> dict[str, torch.Tensor]:
    """A run without periodic checkpoints; ``at_step`` is called in the middle of every step."""
    torch.manual_seed(5)
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))

    def loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        at_step(step)
        return (model(torch.full((4, 3), float(step))) - 1).pow(2).mean(), {}

    schedule = Schedule(steps=steps, batch_size=1, workers=0, save_every=1e9, lr=0.1, warmup=1)
    return run_loop(model, lambda step: step, loss, schedule, folder, log=lambda _: None)


@pytest.fixture
def postponed():
    """The handler's calls; the process's own handlers come back after the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGALRM)}
    calls = []
    yield calls
    for number, handler in before.items():
        signal.signal(number, handler)
    INTERRUPTION.__init__()


def test_a_signal_in_a_step_takes_effect_after_its_checkpoint(tmp_path, postponed):
    def end(number, _):
        postponed.append((number, torch.load(tmp_path / "cut" / "last.pt", weights_only=True)["state"]["step"]))
        raise SystemExit(1)

    INTERRUPTION.postpone(signal.SIGUSR2, end, patience=60)
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", lambda step: step == 3 and os.kill(os.getpid(), signal.SIGUSR2))
    assert postponed == [(signal.SIGUSR2, 4)]
    whole, resumed = train(tmp_path / "whole"), train(tmp_path / "cut")
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, atol=1e-6, rtol=0)


def test_a_signal_outside_the_training_does_not_wait_for_a_step(postponed):
    INTERRUPTION.postpone(signal.SIGUSR2, lambda number, _: postponed.append(number), patience=0.05)
    os.kill(os.getpid(), signal.SIGUSR2)
    assert not postponed
    deadline = time.monotonic() + 30
    while not postponed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert postponed == [signal.SIGUSR2] and not INTERRUPTION.pending
