"""Help, choices, usage errors, packages that are missing, and what is imported at the start."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import get_args

import pytest
from cli_calls import call, failed
from typer.testing import CliRunner

from lisa_micro.cli.commands import app
from lisa_micro.cli.micrographs.segment import SEGMENTERS
from lisa_micro.cli.options import ModalityName, default_folder
from lisa_micro.cli.training.data import FormatName
from lisa_micro.cli.training.evaluate import SuiteName
from lisa_micro.cli.training.simulate import KindName, MechanismName
from lisa_micro.cli.videos.track import TrackerName

COMMANDS = {
    "segment": ("--json", "auto|off|tiled|cascade", "auto|fp32|bf16|fp16|8bit|4bit", "sam_vit_b", "./STEM-lisa"),
    "batch": ("serial|processes|dask", "none|some|all", "--dry-run", "--retry-failed", "--slurm"),
    "chat": ("--preset", "auto|fp32|bf16|fp16|8bit|4bit"),
    "info": ("--json", "--page"),
    "measure": ("--json", "--image"),
    "compare": ("--json", "--truth", "--wording"),
    "correct": ("corrections.json",),
    "track": ("overlap|deaot-t|", "--resume", "--no-movie"),
    "ask": ("--json", "--video"),
    "simulate": ("BF-TEM|HAADF-STEM|SEM", "sintering|any|isolated", "viscous flow|"),
    "finetune": ("--set", "--threads", "adapt"),
    "merge": ("--out",),
    "push": ("--dry-run",),
    "setup": ("no network",),
    "serve": ("--idle", "--stop", "--status", "--preset"),
    "mcp": ("--allow", "--workers"),
    "app": ("--port", "--auth", "--teach", "--upload-mib"),
    "data check": ("--pictures",),
    "data convert": ("auto|labels|sentences|coco|reasonseg|labelme|corrections",),
    "evaluate suite": ("list|all|speed|tem-sintering|emps", "--json"),
    "evaluate presets": ("--preset", "--no-boxes", "--json"),
    "benchmark segmenters": ("yolo,swin-unet,vmamba,efficient-sam,micro", "auto|fp32|bf16", "--efficient-sam"),
}


def shown(*arguments: str) -> str:
    """Help on a terminal that is wide enough for every line."""
    result = CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": "400", "TERM": "dumb", "NO_COLOR": "1"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_options_and_choices(command):
    text = shown(*command.split())
    assert "Usage" in text
    for expected in COMMANDS[command]:
        assert expected in text, text


def test_help_lists_every_command_and_hides_the_former_name():
    text = shown()
    for command in COMMANDS:
        assert f" {command.split()[0]} " in text
    assert " judge " not in text and "--install-completion" in text
    assert "--no-boxes" in shown("judge")


def test_choices_are_those_that_the_library_knows():
    from lisa_micro.datasets.formats.detect import KINDS as FORMATS
    from lisa_micro.evaluate.suites import SUITES
    from lisa_micro.models.segmenters import BUILDERS as SEGMENTER_BUILDERS
    from lisa_micro.models.trackers.builders import BUILDERS as TRACKERS
    from lisa_micro.sim import KINDS, MECHANISMS, MODALITIES
    from lisa_micro_finetune.benchmark.settings import NAMES

    assert set(get_args(KindName)) == {"any", "sintering", *KINDS}
    assert set(get_args(MechanismName)) == set(MECHANISMS)
    assert set(get_args(ModalityName)) == set(MODALITIES)
    assert set(get_args(FormatName)) == {"auto", *FORMATS}
    assert set(get_args(SuiteName)) == {"list", "all", *SUITES}
    assert set(get_args(TrackerName)) == set(TRACKERS)
    assert set(SEGMENTERS) <= set(SEGMENTER_BUILDERS)
    assert ",".join(NAMES) in COMMANDS["benchmark segmenters"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["segment"], "Missing argument"),
        (["segment", "a.tif", "x", "--tiles", "many"], "'many' is not one of 'auto', 'off', 'tiled', 'cascade'"),
        (["chat", "a.tif", "--precision", "3bit"], "'3bit' is not one of"),
        (["track", "a.mp4", "x", "--tracker", "sort"], "'sort' is not one of"),
        (["data", "convert", "a", "--out", "b", "--from", "voc"], "'voc' is not one of"),
        (["evaluate", "nonsense"], "'nonsense' is not one of 'list', 'all'"),
        (["evaluate", "presets"], "Missing argument"),
        (["finetune", "no-such-config"], "adapt"),
        (["finetune", "no/such/config.yaml"], "There is no configuration no/such/config.yaml"),
        (["app", "--port", "99999"], "65535"),
        (["app", "--bogus"], "bogus"),
        (["merge", "no-such-folder", "--out", "x"], "no-such-folder"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(capsys, arguments, message):
    assert message in failed(capsys, *arguments)


def test_a_shipped_configuration_is_found_by_its_name(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "no-such-folder" in failed(capsys, "finetune", "adapt", "--set", "data=no-such-folder")


@pytest.mark.parametrize(
    ("source", "folder"),
    [("film.dm4", "film-lisa"), ("a/film.ome.tif", "film-lisa"), ("b.v2.png", "b.v2-lisa"), ("film", "film-lisa")],
)
def test_the_default_folder_is_called_after_the_input(tmp_path, source, folder):
    assert str(default_folder(tmp_path / source)) == folder
    (tmp_path / "frames.d").mkdir()
    assert str(default_folder(tmp_path / "frames.d")) == "frames.d-lisa"


def blocked(code: str, *modules: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a Python that cannot import ``modules``."""
    block = f"import sys\nfor name in {modules!r}: sys.modules[name] = None\n"
    return subprocess.run(
        [sys.executable, "-c", block + code], capture_output=True, text=True, timeout=180, check=False
    )


@pytest.mark.parametrize(
    ("module", "code", "extra"),
    [
        ("gradio", "from lisa_micro.cli.main import main; main(['app'])", "app"),
        ("plotly", "from lisa_micro.cli.main import main; main(['app'])", "app"),
        (
            "rsciio",
            "from lisa_micro.cli.main import main\nopen('a.dm4', 'wb').write(bytes(500)); main(['info', 'a.dm4'])",
            "formats",
        ),
    ],
)
def test_a_missing_extra_is_named_with_what_to_run(tmp_path, monkeypatch, module, code, extra):
    paths = os.pathsep.join(path for path in sys.path if path)
    monkeypatch.setenv("PYTHONPATH", paths)
    monkeypatch.chdir(tmp_path)
    result = blocked(code, module)
    assert result.returncode == 2, result.stderr
    assert f"lisa-micro[{extra}]" in result.stderr and "pip install" in result.stderr
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


def test_the_command_line_starts_without_heavy_imports():
    code = (
        "import sys, lisa_micro.cli.commands\n"
        "heavy = {'torch', 'pandas', 'scipy', 'skimage', 'transformers', 'matplotlib', 'PIL', 'tifffile', 'gradio'}\n"
        "print(sorted(({'lisa_micro_app', 'lisa_micro_finetune'} | heavy) & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_importing_the_library_imports_nothing_else():
    code = "import sys\nbefore = set(sys.modules)\nimport lisa_micro\nprint(*sorted(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = {name.partition(".")[0] for name in result.stdout.split()} - sys.stdlib_module_names
    assert imported == {"lisa_micro"}
    assert "lisa_micro.models" not in result.stdout.split()


def test_completion_offers_choices():
    environment = {
        "_LISA_MICRO_COMPLETE": "complete_bash",
        "COMP_WORDS": "lisa-micro segment a x --tiles ",
        "COMP_CWORD": "5",
    }
    code = "from lisa_micro.cli.main import main; import sys; sys.argv[0] = 'lisa-micro'; main()"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert result.stdout.split() == ["auto", "off", "tiled", "cascade"], result


def test_one_command_line_under_three_names():
    for module in ("lisa_micro", "lisa_micro.cli.main"):
        done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("lisa-micro ")
    assert call("evaluate", "suite", "list") == call("evaluate", "list") == 0
