"""What the packages need: without the extras they import, and segment-anything-py is what Meta published."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import os
import pkgutil
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path

from paths import ROOT

import lisa_micro
from lisa_micro.extras import EXTRAS
from lisa_micro.models import compat  # noqa: F401  (must precede segment_anything)

import segment_anything  # isort: skip

OPTIONAL = (
    "gradio", "plotly", "tensorboard", "bitsandbytes", "rsciio", "h5py", "mcp", "ultralytics",
    "dask", "distributed", "dask_jobqueue", "pyarrow", "xlsxwriter", "zarr", "napari", "npe2", "magicgui", "qtpy",
    "hyperspy",
)  # fmt: skip
MODULES = """
import importlib, sys
for name in {blocked!r}:
    sys.modules[name] = None
for name in {names!r}:
    importlib.import_module(name)
from lisa_micro.measure import measure_particles
import numpy as np
assert len(measure_particles(np.eye(8, dtype=int))) == 1
print("imported", len({names!r}))
"""

SOURCES = {
    "modeling/__init__.py": "fc7b762c548a77b696aa0d0999c272f3c8f90ca7700960696264c30f78bb6b77",
    "modeling/common.py": "ef2cc882207368449718bee9524cd924afd0fb6fa482f0ea56f1f1291971e98b",
    "modeling/image_encoder.py": "4936773cb2239e6d4c81845b49d40c3053633769a665b03bbafb66d57d276fa5",
    "modeling/mask_decoder.py": "a4a47433b7ecd1d164130fb0a44cc972c70053cbfc319f2a44d74f1c2586bea1",
    "modeling/prompt_encoder.py": "a34336b27fb60ea5bfaca76008135cf7a2d560766faed477a591f1437ff5da2e",
    "modeling/sam.py": "c1ba5c1d23dcb97e6429659dd4cbd42b3702c8c1b7e0e655a174628dbb7c080a",
    "modeling/transformer.py": "356a984a6ad467a8d2597dd8934bab3814f49f9c735f2a94d8480acda7984949",
}
"""Modules of segment_anything that are used here -> SHA-256 of their code; see :func:`code_of`."""


BUILDERS = (
    "bd75bf81dbbe06723902a3979fdd4d79aff5ee56c88b4a02aa3a29d8a6237864",
    "ad89271b06263286304f2f0ed8d85bc74f3ecef52202cb7b1471f80903c70b87",
)
"""Of ``build_sam.py`` in segment-anything-py 1.0.1 and in segment-anything 1.0, whose tables name one function in two
ways."""


def modules_of(package: object) -> list[str]:
    """Names of all modules of a package, apart from those that start the command line or need napari."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [module.name for module in found if not module.name.endswith("__main__") and not is_window(module.name)]


def is_window(module: str) -> bool:
    """Whether a module belongs to the dock widget of napari, which napari itself imports."""
    return module.startswith("lisa_micro.napari.dock.")


def test_the_library_imports_without_extras():
    names = modules_of(lisa_micro)
    assert len(names) > 100
    code = MODULES.format(blocked=OPTIONAL, names=names)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 0 and done.stdout == f"imported {len(names)}\n", done.stderr[-2000:]


def test_the_library_itself_imports_without_accelerate():
    """peft requires accelerate, and it is imported where an adapter is loaded; nothing else needs it."""
    code = MODULES.format(blocked=("accelerate", "peft"), names=modules_of(lisa_micro))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 0, done.stderr[-2000:]
    assert any(line.startswith("accelerate") for line in importlib.metadata.requires("peft") or [])


def environment() -> dict[str, str]:
    """Variables with which a subprocess imports what this process imports."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def test_every_extra_that_is_named_in_a_message_exists():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert set(EXTRAS.values()) <= set(extras)
    for module, extra in EXTRAS.items():
        package = {
            "rsciio": "rosettasciio",
            "h5py": "hdf5",
            "dask_jobqueue": "dask-jobqueue",
            "xlsxwriter": "XlsxWriter",
        }.get(module, module)
        assert any(package in line for line in extras[extra]), module
    # licences that ask more than ours stay out of the core, and AGPL out of `all`
    assert not any(name in line for name in ("rosettasciio", "ultralytics") for line in project["dependencies"])
    assert not any("yolo" in line for line in extras["all"])


def code_of(path: Path) -> str:
    """Code of a file without comments, docstrings and white space: what is left when only words were corrected."""
    kept: list[str] = []
    last = tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type in (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING):
            continue
        starts = last in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
        last = token.type
        if token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            kept.append({tokenize.NEWLINE: ";", tokenize.INDENT: "{", tokenize.DEDENT: "}"}[token.type])
        elif not (token.type == tokenize.STRING and starts):
            kept.append("".join(token.string.split()))
    return "".join(kept)


def code_sha256(path: Path) -> str:
    return hashlib.sha256(code_of(path).encode()).hexdigest()


def test_segment_anything_is_the_code_that_meta_published():
    """The hashes are those of both distributions on the package index, ``segment-anything`` 1.0 and
    ``segment-anything-py`` 1.0.1, which differ in comments and docstrings alone (and, in ``build_sam.py``, in the
    name of one function in a table)."""
    folder = Path(segment_anything.__file__).parent
    for name, expected in SOURCES.items():
        assert code_sha256(folder / name) == expected, name
    assert code_sha256(folder / "build_sam.py") in BUILDERS
    registry = segment_anything.sam_model_registry
    assert registry["vit_h"] is registry["default"] is segment_anything.build_sam_vit_h


def test_changed_code_would_be_noticed(tmp_path):
    original = (Path(segment_anything.__file__).parent / "modeling/mask_decoder.py").read_text(encoding="utf-8")
    copy = tmp_path / "copy.py"
    copy.write_text("# a comment\n" + original.replace('"""', '"""Said otherwise. ', 1))
    assert code_sha256(copy) == SOURCES["modeling/mask_decoder.py"]
    copy.write_text(original.replace("+ 1", "+ 2", 1))
    assert code_sha256(copy) != SOURCES["modeling/mask_decoder.py"]
