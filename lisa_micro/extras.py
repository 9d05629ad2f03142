"""Optional dependencies: which extra of lisa-micro brings a package, and what to say where it is missing."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from lisa_micro.types import InputError

EXTRAS = {
    "gradio": "app",
    "plotly": "app",
    "accelerate": "train",
    "tensorboard": "train",
    "submitit": "train",
    "bitsandbytes": "quant",
    "rsciio": "formats",
    "h5py": "formats",
    "dask": "batch",
    "distributed": "batch",
    "dask_jobqueue": "batch",
    "pyarrow": "batch",
    "mcp": "mcp",
    "rapidocr": "scalebar",
    "onnxruntime": "scalebar",
    "zarr": "zarr",
    "geff": "zarr",
    "xlsxwriter": "excel",
    "ultralytics": "yolo",
    "laptrack": "peers",
    "trackpy": "peers",
}
"""Import name of a package -> the extra that installs it."""

_DISTRIBUTIONS = {"rsciio": "rosettasciio", "dask_jobqueue": "dask-jobqueue", "xlsxwriter": "XlsxWriter"}


def release() -> str:
    """The installed version of lisa-micro, for records of runs; ``""`` in a checkout that is not installed."""
    try:
        return version("lisa-micro")
    except PackageNotFoundError:
        return ""


def missing_extra(what: str, module: str) -> InputError:
    """The error for a package that is not installed.

    Args:
        what: what needs it, at the beginning of a sentence.
        module: import name of the package.
    """
    name = module.partition(".")[0]
    wanted = f"lisa-micro[{EXTRAS[name]}]" if name in EXTRAS else name
    package = _DISTRIBUTIONS.get(name, name)
    return InputError(f'{what} needs the package {package}, which is not installed; run: pip install "{wanted}"')


def require(what: str, *modules: str) -> None:
    """Check that packages are installed, without importing them.

    Args:
        what: what needs them, at the beginning of a sentence.
        modules: import names.

    Raises:
        InputError: one of them is missing; the sentence names the extra.
    """
    for module in modules:
        try:
            found = find_spec(module) is not None
        except (ImportError, ValueError):  # blocked, or a broken installation
            found = False
        if not found:
            raise missing_extra(what, module)
