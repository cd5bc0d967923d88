"""How processes train one model together. Each engine is torch's or DeepSpeed's own, unwrapped."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import Optimizer

from pixsearch.config import OptimOptions
from pixsearch.model.losses import Losses
from pixsearch.model.pixsearch import PixSearch, PixSearchOutput
from pixsearch.model.trainable import parameter_groups
from pixsearch.training.optim import build_optimizer, set_learning_rate
from pixsearch.training.processes import Processes

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


class Engine:
    """Holds the model, copies or splits it, and moves its weights. This one: a lone process.

    Attributes:
        model: never wrapped; where `is_split`, its weights are shards.
        is_split: no process holds all weights, so that each forward needs every process.
    """

    is_split = False

    def __init__(
        self, model: PixSearch, processes: Processes, options: OptimOptions, *, mixed: bool
    ) -> None:
        self.processes = processes
        self.model = model.to(processes.device)
        self._options = options
        self._mixed = mixed
        self._module, self.optimizer = self._prepare()

    def forward(self, **inputs: Any) -> PixSearchOutput:
        """The model's forward, in the run's arithmetic."""
        with self.arithmetic():
            return self._module(**inputs)

    def arithmetic(self) -> AbstractContextManager[None]:
        """Matrix products as this run takes them."""
        return torch.autocast(self.processes.device.type, torch.bfloat16, enabled=self._mixed)

    def accumulate(
        self, inputs: dict[str, Any], total: Callable[[Losses], Tensor], *, is_last: bool
    ) -> Losses:
        """Add a micro-batch to the gradients; before the last of a step nothing is exchanged.

        Args:
            total: this process's part of a sum over all processes, from the losses. Engines take
                the mean of the processes' gradients, hence the factor.
        """
        with nullcontext() if is_last else self._no_exchange():
            losses = self.forward(**inputs).losses
            (total(losses) * self.processes.count).backward()
        return losses

    def update(self, factor: float) -> Float[Tensor, ""]:
        """Clip the gradients together and move the weights, at a factor of each part's rate.

        Returns:
            The norm before clipping. Where it is not finite, nothing was moved.
        """
        norm = self._clip_gradients()
        if torch.isfinite(norm):
            set_learning_rate(self.optimizer, factor)
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def report(self) -> dict[str, Any]:
        """What runs here: the engine, the processes, the weights that this one holds of all."""
        whole, here = self._count_weights()
        return {
            "engine": type(self).__name__,
            "num_processes": self.processes.count,
            "device": str(self.processes.device),
            "num_weights": whole,
            "num_weights_here": here,
        }

    def weights(self) -> dict[str, Tensor] | None:
        """Whole weights on the main process; None where the model has them. All must call it."""
        return None

    def optimizer_state(self) -> dict[str, Any]:
        """The optimiser's state by names of weights, on the main process; all must call it."""
        return get_optimizer_state_dict(self.model, self.optimizer, options=WHOLE)

    def load_optimizer_state(self, state: dict[str, Any]) -> None:
        """Restore what `optimizer_state` returned, on any engine and number of processes."""
        set_optimizer_state_dict(self.model, self.optimizer, state, options=WHOLE)

    def _prepare(self) -> tuple[nn.Module, Optimizer]:
        module = self._wrap()  # first: it may replace the weights that the optimiser holds
        return module, build_optimizer(parameter_groups(self.model), self._options)

    def _wrap(self) -> nn.Module:
        """What is called in a forward; the model itself may be changed in place."""
        return self.model

    def _clip_gradients(self) -> Float[Tensor, ""]:
        trained = [one for group in self.optimizer.param_groups for one in group["params"]]
        return nn.utils.clip_grad_norm_(trained, self._options.clip_norm)

    def _count_weights(self) -> tuple[int, int]:
        """All weights but those of hidden encoders, and how many of them this process holds."""
        whole = sum(one.numel() for one in self.model.parameters())
        return whole, whole

    def _no_exchange(self) -> AbstractContextManager[None]:
        return nullcontext()
