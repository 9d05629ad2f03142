"""Makes ``torchvision`` importable beside a CPU build of torch.

``segment_anything``, ``open_clip`` and ``timm`` import torchvision for its image transforms. The package index carries
one build of torchvision, compiled against the CUDA build of torch; beside a CPU build its extension cannot be
loaded, and then its import fails because it describes two operators (``nms``, ``qnms``) that nobody defined. Declaring
them is enough: nothing here calls them (box NMS is our own).
"""

from __future__ import annotations

import torch

_library: torch.library.Library | None = None


def prepare_torchvision() -> None:
    """Import torchvision; where its compiled operators are missing, declare them first. Idempotent."""
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
