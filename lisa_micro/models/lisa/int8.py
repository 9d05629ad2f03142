"""Language models with 8-bit weights on CPUs: a token costs reading the weights, and these are a quarter of float32.

Weights are rounded to 255 steps of a scale per output (symmetric, as in torchao's weight-only scheme); the products are
taken in bfloat16 by a kernel of torch. Embeddings, norms and the output head stay in float32.
"""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path

import torch
from torch import Tensor, nn

STEPS = 127
PAYS = 0.9
"""Largest ratio of the times of 8 bits and float32 at which 8 bits are used."""
_SHAPE, _LAYERS, _ROWS, _ROUNDS = (1536, 576), 6, (24, 1), 5
HAS_KERNEL = hasattr(torch.ops.aten, "_weight_int8pack_mm")
"""Whether this torch has the product with 8-bit weights."""


class Int8Linear(nn.Module):
    """A linear layer with 8-bit weights, for inference on a CPU.

    Args:
        linear: the layer whose weights it rounds; ``(out, in)``, of any floating-point type.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear):
        super().__init__()
        rows = linear.weight.detach().float()
        scale = rows.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny * STEPS) / STEPS
        self.register_buffer("weight", (rows / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale.bfloat16())
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().float(), requires_grad=False)
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def forward(self, inputs: Tensor) -> Tensor:
        """``(..., in)`` -> ``(..., out)`` in the type of the inputs."""
        flat = inputs.reshape(-1, self.in_features).bfloat16()
        out = torch.ops.aten._weight_int8pack_mm(flat, self.weight, self.scale).to(inputs.dtype)
        out = out if self.bias is None else out + self.bias
        return out.reshape(*inputs.shape[:-1], self.out_features)


def to_int8(language: nn.Module, keep: nn.Module | None = None) -> int:
    """Replace the linear layers of a language model by 8-bit ones, in place; all else becomes float32.

    Args:
        language: on the CPU, its adapter merged.
        keep: a layer that stays, such as the output head.

    Returns:
        the number of layers replaced.
    """
    linear = {module for module in language.modules() if isinstance(module, nn.Linear) and module is not keep}
    count = 0
    for parent in list(language.modules()):
        for name, child in list(parent.named_children()):
            if child in linear:
                setattr(parent, name, Int8Linear(child))
                count += 1
            elif not isinstance(child, Int8Linear):
                for parameter in child.parameters(recurse=False):
                    parameter.data = parameter.data.float()
    return count


def int8_pays(cache: Path | None = None) -> bool:
    """Whether 8-bit layers are faster than float32 on this machine with the present number of threads.

    It is measured once, in some hundredths of a second, and kept in a file: every process must decide alike, since
    replies of the two may differ in rare cases.

    Args:
        cache: folder of the file; None: it is measured anew.
    """
    if not HAS_KERNEL:
        return False
    key = f"{_processor()}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    path = None if cache is None else cache / "int8.json"
    known = _read(path)
    if key not in known:
        known[key] = bool(_measured_ratio() <= PAYS)
        _write(path, known)
    return known[key]


def _read(path: Path | None) -> dict[str, bool]:
    try:
        found = json.loads(path.read_text("utf-8")) if path is not None else {}
    except (OSError, ValueError):
        return {}
    return {str(k): v for k, v in found.items() if isinstance(v, bool)} if isinstance(found, dict) else {}


def _write(path: Path | None, known: dict[str, bool]) -> None:
    """Keep what was measured; a folder that cannot be written costs a measurement at the next start."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.write_text(json.dumps(known, indent=2), "utf-8")
        os.replace(draft, path)
    except OSError:
        pass


def _processor() -> str:
    """Name and instruction sets of the processor, as far as the system tells them."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    return f"{name} {torch.backends.cpu.get_cpu_capability()}"


@torch.inference_mode()
def _measured_ratio() -> float:
    """Time of a few layers in 8 bits over that in float32, a short prompt and a single token together; the best of
    several rounds, taken in turn, so that a busy machine disturbs both."""
    out, width = _SHAPE
    generator = torch.Generator().manual_seed(0)
    plain = [nn.Linear(width, out, bias=False) for _ in range(_LAYERS)]
    for layer in plain:
        layer.weight.data.normal_(generator=generator)
    inputs = [torch.randn(rows, width, generator=generator) for rows in _ROWS]
    short = [Int8Linear(layer) for layer in plain]
    best = {id(plain): float("inf"), id(short): float("inf")}
    for _ in range(_ROUNDS):
        for layers in (plain, short):
            start = time.perf_counter()
            for batch in inputs:
                for layer in layers:
                    layer(batch)
            best[id(layers)] = min(best[id(layers)], time.perf_counter() - start)
    return best[id(short)] / best[id(plain)]
