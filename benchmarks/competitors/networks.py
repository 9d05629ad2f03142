"""Time and memory of networks on one micrograph of 512 x 512 px.

The weights of others are random: their time does not depend on them, and nothing else is compared.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from competitors.processes import Clock, timed
from lisa_micro.types import InputError

SIDE = 512
SEED = 5_900_001
CELLPOSE = "pip install --no-deps cellpose fastremap fill-voids natsort tqdm opencv-python-headless"
"""Without dependencies, since Cellpose asks for the distribution segment_anything, whose files are those of
segment-anything-py, which LISA-micro installs."""


def micro(repeats: int, cores: int) -> dict[str, Any]:
    """LISA-micro with its weights: answers to the requests of the suite ``speed``, on one micrograph after another."""
    import torch

    import lisa_micro as lm
    from lisa_micro.evaluate.speed import FIRST, FURTHER

    torch.set_num_threads(cores)
    assistant = lm.load_assistant("micro", device="cpu")
    times: dict[str, list[tuple[float, float]]] = {"first answer": [], "further answer": []}
    for number in range(1 + repeats):
        conversation = assistant.open_conversation(lm.Micrograph(_pixels(number)))
        for what, words in (("first answer", FIRST), *(("further answer", one) for one in FURTHER)):
            clock = Clock()
            conversation.ask(words)
            if number:  # the first conversation loads code
                times[what].append(clock.read())
    return {"times": times}


def micro_boxes(repeats: int, cores: int) -> dict[str, Any]:
    """The vision part of LISA-micro with its weights, prompted by a box."""
    from lisa_micro.models.segmenters import build_segmenter

    return _prompted(build_segmenter("micro", device="cpu"), repeats, cores)


def sam_vit_b(repeats: int, cores: int) -> dict[str, Any]:
    """SAM ViT-B with random weights."""
    import torch

    from lisa_micro.models.segmenters.sam import SamSegmenter, sam_builder

    torch.manual_seed(0)
    return _prompted(SamSegmenter("sam_vit_b", sam_builder("vit_b")(), torch.device("cpu"), ""), repeats, cores)


def efficient_sam_ti(repeats: int, cores: int) -> dict[str, Any]:
    """EfficientSAM-Ti with random weights."""
    import torch

    from lisa_micro.models.segmenters.efficient_sam.network import TINY, EfficientSamSegmenter, build_efficient_sam

    torch.manual_seed(0)
    model = build_efficient_sam(TINY)
    return _prompted(EfficientSamSegmenter("efficient_sam_vitt", model, torch.device("cpu"), ""), repeats, cores)


def cellpose(repeats: int, cores: int) -> dict[str, Any]:
    """The network of Cellpose-SAM with random weights, in Cellpose's own tiles (256 px, overlapping by a tenth).

    The flows that it gives are not followed to masks: with random weights they mean nothing.

    Raises:
        InputError: Cellpose is not installed.
    """
    if find_spec("cellpose") is None:
        raise InputError(f"Cellpose is not installed; run: {CELLPOSE}")
    import torch
    from cellpose.core import run_net
    from cellpose.vit import CPSAM

    import lisa_micro.models.compat  # noqa: F401  # torchvision with a CPU build of torch

    torch.manual_seed(0)
    torch.set_num_threads(cores)
    net = CPSAM().eval()
    picture = np.repeat(_pixels()[None, ..., None], 3, axis=3)  # (1, H, W, 3)
    taken = timed(lambda: run_net(net, picture, bsize=256), repeats)
    return {"times": {"encode": taken}, "parameters": sum(one.numel() for one in net.parameters())}


NETWORKS = {
    "micro": ("LISA-micro, requests in words", micro),
    "micro-boxes": ("LISA-micro, boxes", micro_boxes),
    "sam-vit-b": ("SAM ViT-B (random weights)", sam_vit_b),
    "efficient-sam-ti": ("EfficientSAM-Ti (random weights)", efficient_sam_ti),
    "cellpose": ("Cellpose-SAM, network (random weights)", cellpose),
}
"""Title as shown, and the function that measures."""


def measure_network(name: str, repeats: int, cores: int) -> dict[str, Any]:
    """Measure one of :data:`NETWORKS`.

    Returns:
        ``times``: wall and processor seconds of each call, by what was called; ``parameters``, where the model is one
        network.
    """
    return NETWORKS[name][1](repeats, cores)


def _prompted(segmenter: Any, repeats: int, cores: int) -> dict[str, Any]:
    """Encode the micrograph, and decode one box in it."""
    import torch

    from lisa_micro.types import Micrograph

    torch.set_num_threads(cores)
    image = Micrograph(_pixels())
    box = np.array([[SIDE / 2 - 40.0, SIDE / 2 - 40.0, SIDE / 2 + 40.0, SIDE / 2 + 40.0]])
    encode = timed(lambda: segmenter.encode(image), repeats)
    return {
        "times": {"encode": encode, "one box": timed(lambda: segmenter.predict(boxes=box), repeats)},
        "parameters": sum(one.numel() for one in segmenter.model.parameters()),
    }


def _pixels(number: int = 0) -> np.ndarray:
    """``(SIDE, SIDE)`` float32 of a simulated micrograph, another one for each number."""
    from lisa_micro.sim import simulate_scene

    return simulate_scene(SEED + number, (SIDE, SIDE), kind="agglomerate", annotate=False).pixels
