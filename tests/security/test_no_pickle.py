"""No file of another person can run code: nothing unpickles but torch, which is told to read tensors only."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lisa_micro.io import read_label_image
from lisa_micro.models.official_lisa.checkpoint import read_shard
from lisa_micro.models.segmenters.promptable import read_checkpoint as read_segmenter
from lisa_micro.models.trackers.deaot.loader import read_weights
from lisa_micro.types import InputError
from lisa_micro_finetune.checkpoints import read_checkpoint

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for folder in ("lisa_micro", "app", "finetune") for path in (ROOT / folder).rglob("*.py"))
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
READERS = {"load", "loads", "Unpickler", "open", "read_pickle"}


def calls(tree: ast.AST) -> list[tuple[str, str, ast.Call]]:
    """Module, function and node of all calls of the kind ``module.function()``."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            found.append((owner.id if isinstance(owner, ast.Name) else "", node.func.attr, node))
    return found


def flag(call: ast.Call, name: str) -> object:
    return next((k.value.value for k in call.keywords if k.arg == name and isinstance(k.value, ast.Constant)), None)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_unpickles(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    for module, name, call in calls(tree):
        assert not (module in MODULES and name in READERS), f"line {call.lineno}"
        assert name != "read_pickle", f"line {call.lineno}"
        if module == "torch" and name == "load":
            assert flag(call, "weights_only") is True, f"line {call.lineno}: torch.load without weights_only=True"
        if module in ("np", "numpy") and name == "load":
            assert flag(call, "allow_pickle") in (None, False), f"line {call.lineno}"
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            assert not READERS & {one.name for one in node.names}, f"line {node.lineno}"
    assert "weights_only=False" not in text and "allow_pickle=True" not in text
    assert "trust_remote_code=True" not in text


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("read", [read_checkpoint, read_segmenter, read_weights, read_shard])
@pytest.mark.parametrize("as_torch", [True, False], ids=["in a checkpoint", "a plain pickle"])
def test_a_pickled_object_is_refused_with_a_sentence(tmp_path, read: Callable[[Path], object], as_torch):
    sprung, path = tmp_path / "sprung", tmp_path / "last.pt"
    content = {"settings": {}, "model": Trap(sprung), "state_dict": Trap(sprung)}
    if as_torch:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(InputError) as told:
        read(path)
    message = str(told.value)
    assert "last.pt" in message and "\n" not in message.strip()
    assert not sprung.exists()


def test_labels_with_objects_are_refused(tmp_path):
    sprung, path = tmp_path / "sprung", tmp_path / "labels.npy"
    np.save(path, np.array([[Trap(sprung)]], dtype=object), allow_pickle=True)
    with pytest.raises(InputError):
        read_label_image(path)
    assert not sprung.exists()
