"""Make ``torchvision`` importable with a CPU build of torch.

``segment_anything``, ``open_clip`` and ``timm`` import torchvision for its image transforms. The package index has one
build of torchvision, compiled against the CUDA build of torch. With a CPU build its extension cannot be loaded, and its
import fails because it registers two operators (``nms``, ``qnms``) that are not defined. Declaring them is enough:
nothing here calls them.
"""

from __future__ import annotations

import torch

_library: torch.library.Library | None = None


def prepare_torchvision() -> None:
    """Import torchvision, after declaring its compiled operators if they are missing. Can be called repeatedly."""
    global _library
    if _library is not None:
        return
    try:
        import torchvision

        return
    except (RuntimeError, OSError) as error:
        if "nms" not in str(error):
            raise
    import sys

    for name in [n for n in sys.modules if n == "torchvision" or n.startswith("torchvision.")]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _library = library
    import torchvision  # noqa: F401


prepare_torchvision()
