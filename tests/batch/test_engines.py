"""Worker processes and dask: the same tables as in one process, also when workers are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest
from batch_images import make_folder, marked, tables, write_image
from batch_stand_in import StandInSource

import lisa_micro as lm
from lisa_micro.batch import BatchOptions, EngineOptions
from lisa_micro.batch.engines.slurm import SlurmSettings, make_cluster, read_slurm
from lisa_micro.types import InputError

pytestmark = pytest.mark.slow


def run(folder, out, engine, seconds=0.0, resume=False, **how):
    options = BatchOptions(report=False, overlays="none", engine=EngineOptions(**how), resume=resume)
    return lm.batch(folder, "segment particles", out, engine, assistant=StandInSource(seconds), options=options)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Forty images, one of which kills its worker each time, one of which makes the model fail."""
    folder = make_folder(tmp_path_factory.mktemp("images"), 40, 4)
    write_image(folder / "A" / "defect.tif", marked(254))
    (folder / "B" / "empty.tif").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def reference(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("serial")
    run(images, folder, "serial", threads=1)
    return tables(folder)


@pytest.mark.parametrize("engine", ["processes", "dask"])
def test_tables_are_those_of_one_process_byte_for_byte(images, reference, tmp_path, engine):
    run(images, tmp_path, engine, workers=2, threads=1)
    assert tables(tmp_path) == reference


class Killer(threading.Thread):
    """Kills worker processes of this process while a run goes on, so many in all, some time apart."""

    def __init__(self, number: int, folder):
        super().__init__(daemon=True)
        self.number, self.folder, self.killed = number, folder, 0

    def run(self) -> None:
        last = 0
        for _ in range(2000):
            time.sleep(0.02)
            done = len(list(self.folder.glob("items/*/*/item.json")))
            workers = [one for one in psutil.Process().children(recursive=True) if _is_worker(one)]
            if done > last + 3 and workers:
                last = done
                workers[-1].kill()
                self.killed += 1
            if self.killed == self.number:
                return


def _is_worker(process: psutil.Process) -> bool:
    """Workers have the model's library loaded; trackers and nannies are small."""
    try:
        return "spawn_main" in " ".join(process.cmdline()) and process.memory_info().rss > 150e6
    except psutil.Error:
        return False


@pytest.mark.parametrize("engine", ["processes", "dask"])
def test_killed_workers_lose_and_double_nothing(images, reference, tmp_path, engine):
    killer = Killer(3, tmp_path)
    killer.start()
    result = run(images, tmp_path, engine, seconds=0.05, workers=2, threads=1)
    assert killer.killed == 3
    assert (result.counts.done, result.counts.failed, result.counts.missing) == (40, 2, 0)
    assert tables(tmp_path) == reference


@pytest.mark.parametrize("engine", ["processes", "dask"])
def test_an_image_that_kills_its_worker_each_time_is_a_failure_with_its_name(tmp_path, engine):
    folder = make_folder(tmp_path / "in", 4, 1)
    write_image(folder / "A" / "film_001b.tif", marked(255))
    result = run(folder, tmp_path / "out", engine, workers=1, threads=1)
    failed = result.failed()
    assert result.counts.done == 4 and failed["image"].tolist() == ["A/film_001b.tif"]
    assert "3 times" in failed["sentence"][0]


def test_a_driver_that_is_killed_three_times_resumes_to_the_same_tables(images, reference, tmp_path):
    script = tmp_path / "drive.py"
    script.write_text(
        textwrap.dedent(f"""
        import lisa_micro as lm
        from batch_stand_in import StandInSource
        from lisa_micro.batch import BatchOptions, EngineOptions
        if __name__ == "__main__":
            engine = EngineOptions(workers=1, threads=1)
            options = BatchOptions(report=False, overlays="none", resume=True, engine=engine)
            lm.batch({str(images)!r}, "segment particles", {str(tmp_path / "out")!r}, "processes",
                     assistant=StandInSource(0.03), options=options)
        """)
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    for stop_at in (8, 16, 24):
        driver = subprocess.Popen([sys.executable, str(script)], env=environment)
        while driver.poll() is None and len(list((tmp_path / "out").glob("items/*/*/item.json"))) < stop_at:
            time.sleep(0.02)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    time.sleep(1)  # the orphaned worker finishes its image
    run(images, tmp_path / "out", "serial", threads=1, resume=True)
    assert tables(tmp_path / "out") == reference


def test_a_model_that_cannot_be_loaded_is_one_sentence(images, tmp_path):
    for engine in ("processes", "dask"):
        with pytest.raises(InputError, match="no-such-preset"):
            lm.batch(
                images, "p", tmp_path / engine, engine, assistant="no-such-preset",
                options=BatchOptions(engine=EngineOptions(workers=1, threads=1)),
            )  # fmt: skip


def test_a_scheduler_that_does_not_answer_is_one_sentence(images, tmp_path, monkeypatch):
    monkeypatch.setattr("lisa_micro.batch.engines.distributed.ANSWER_SECONDS", 2.0)
    with pytest.raises(InputError, match="127.0.0.1:9 does not answer"):
        run(images, tmp_path, "dask", scheduler="tcp://127.0.0.1:9")


def test_slurm_jobs_are_those_of_the_file(tmp_path):
    pytest.importorskip("dask_jobqueue")
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "queue: gpu\ncores: 8\nprocesses: 4\nmemory: 32GB\nwalltime: 02:30:00\njobs: 5\n"
        "directives: ['--gres=gpu:1']\nprologue: [module load cuda]\n"
    )
    settings = read_slurm(path)
    assert settings == SlurmSettings(
        "32GB", 8, 4, 5, "02:30:00", "gpu", directives=("--gres=gpu:1",), prologue=("module load cuda",)
    )
    with make_cluster(settings) as cluster:
        script = cluster.job_script()
    for line in ("-p gpu", "--cpus-per-task=8", "-t 02:30:00", "--gres=gpu:1", "module load cuda", "OMP_NUM_THREADS=2"):
        assert line in script
    assert "--nworkers 4" in script and "--nthreads 1" in script


@pytest.mark.parametrize(
    "text",
    ["queue: gpu", "memory: 32GB\nqueues: gpu", "memory: 32GB\ncores: many", "- memory", "memory: [", "memory: 3"],
)
def test_slurm_files_that_cannot_be_used(tmp_path, text):
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(InputError):
        read_slurm(path)
    with pytest.raises(InputError):
        read_slurm(tmp_path / "missing.yaml")


def test_slurm_without_its_commands_is_one_sentence(images, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "cluster.yaml"
    path.write_text("memory: 4GB\n")
    with pytest.raises(InputError, match="sbatch"):
        run(images, tmp_path / "out", "dask", slurm=path)
