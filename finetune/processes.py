"""The processes of a training run: a single one, or several started by accelerate."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from accelerate import Accelerator

Value = TypeVar("Value")


class Processes(Protocol):
    """The processes of a run, seen from one of them.

    Attributes:
        index: number of this process.
        count: number of processes.
        main: whether this process writes files and logs.
    """

    index: int
    count: int
    main: bool

    def prepare(self, module: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Wrap module and optimiser for this run."""

    def unwrap(self, module: nn.Module) -> nn.Module:
        """Return the module inside a prepared one."""

    def unwrap_optimiser(self, optimiser: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Return the optimiser inside a prepared one."""

    def no_sync(self, module: nn.Module) -> contextlib.AbstractContextManager:
        """Context in which gradients are accumulated without being exchanged."""

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of this process's part of the loss. Gradients are summed over processes."""

    def clip(self, parameters: Sequence[nn.Parameter], norm: float) -> Tensor:
        """Scale gradients to a norm of at most ``norm``; return the norm before."""

    def broadcast(self, value: Value) -> Value:
        """Return the main process's value in every process."""

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all processes."""

    def wait(self) -> None:
        """Wait until all processes reach this point."""


class OneProcess:
    """A run of a single process; needs no accelerate."""

    index, count, main = 0, 1, True

    def prepare(self, module: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        return module, optimiser

    def unwrap(self, module: nn.Module) -> nn.Module:
        return module

    def unwrap_optimiser(self, optimiser: torch.optim.Optimizer) -> torch.optim.Optimizer:
        return optimiser

    def no_sync(self, module: nn.Module) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def clip(self, parameters: Sequence[nn.Parameter], norm: float) -> Tensor:
        return torch.nn.utils.clip_grad_norm_(parameters, norm)

    def broadcast(self, value: Value) -> Value:
        return value

    def gather(self, value: Value) -> list[Value]:
        return [value]

    def wait(self) -> None:
        pass


class AcceleratedProcesses:
    """The processes of a run started by ``torchrun`` or ``accelerate-launch``; a single one works, too.

    Args:
        accelerator: accelerate's handle on them.
    """

    def __init__(self, accelerator: Accelerator):
        self.accelerator = accelerator
        self.index, self.count = accelerator.process_index, accelerator.num_processes
        self.main = accelerator.is_main_process

    def prepare(self, module: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        return self.accelerator.prepare(module, optimiser)

    def unwrap(self, module: nn.Module) -> nn.Module:
        return self.accelerator.unwrap_model(module)

    def unwrap_optimiser(self, optimiser: torch.optim.Optimizer) -> torch.optim.Optimizer:
        from accelerate.optimizer import AcceleratedOptimizer

        return optimiser.optimizer if isinstance(optimiser, AcceleratedOptimizer) else optimiser

    def no_sync(self, module: nn.Module) -> contextlib.AbstractContextManager:
        return self.accelerator.no_sync(module)

    def backward(self, loss: Tensor) -> None:
        # accelerate averages the gradients of the processes; their parts of the loss must be added
        self.accelerator.backward(loss * self.count)

    def clip(self, parameters: Sequence[nn.Parameter], norm: float) -> Tensor:
        return self.accelerator.clip_grad_norm_(list(parameters), norm)

    def broadcast(self, value: Value) -> Value:
        if self.count == 1:
            return value
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def gather(self, value: Value) -> list[Value]:
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        return gather_object([value])

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()
