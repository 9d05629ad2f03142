"""The manifest of the plugin is valid, and napari finds it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec

import pytest
from paths import ROOT

npe2 = pytest.importorskip("npe2", reason="the extra [test] is missing")
MANIFEST = ROOT / "lisa_micro" / "napari" / "napari.yaml"
HAS_NAPARI = find_spec("napari") is not None and find_spec("qtpy") is not None


def test_npe2_calls_the_manifest_valid():
    """Where napari is installed, everything that the manifest names is imported."""
    command = [sys.executable, "-m", "npe2", "validate", str(MANIFEST), *(["--imports"] if HAS_NAPARI else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0 and "valid!" in done.stdout, done.stdout + done.stderr


def test_commands_exist_and_are_used():
    manifest = npe2.PluginManifest.from_file(MANIFEST)
    contributions = manifest.contributions
    used = [*contributions.readers, *contributions.writers, *contributions.widgets, *contributions.sample_data]
    assert {one.command for one in used} == {one.id for one in contributions.commands}
    for command in contributions.commands:
        module, name = command.python_name.split(":")
        if HAS_NAPARI or not module.startswith("lisa_micro.napari.dock"):
            assert callable(getattr(import_module(module), name)), command.id


def test_the_wheel_registers_the_manifest():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    value = project["project"]["entry-points"]["napari.manifest"]["lisa-micro"]
    module, file = value.split(":")
    assert (ROOT / module.replace(".", "/") / file) == MANIFEST
    assert "napari/napari.yaml" in project["tool"]["setuptools"]["package-data"]["lisa_micro"]
    registered = entry_points(group="napari.manifest", name="lisa-micro")
    assert all(one.value == value for one in registered)  # none in an installation from before the plugin


def test_napari_is_no_part_of_the_library():
    """Only the dock widget imports it, so results are read and written without it."""
    code = """
import sys
for name in ("napari", "qtpy", "magicgui"):
    sys.modules[name] = None
import lisa_micro.napari.reader, lisa_micro.napari.writer, lisa_micro.napari.session, lisa_micro.napari.samples
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
