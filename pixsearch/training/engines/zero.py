"""DeepSpeed's ZeRO, stage 2: gradients and the optimiser's state are split over processes."""

import os
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from pixsearch.model.losses import Losses
from pixsearch.model.pixsearch import PixSearchOutput
from pixsearch.model.trainable import parameter_groups
from pixsearch.training.engines.engine import Engine
from pixsearch.training.engines.frozen import hide_encoders
from pixsearch.training.optim import build_optimizer, set_learning_rate

MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW


class Zero2(Engine):
    """`deepspeed.initialize` around the model without its frozen image encoders.

    Every process holds all weights. Checkpoints are those of all engines, whole weights and moments
    by name, so that a run goes on under any engine and number of processes.
    """

    def forward(self, **inputs: Any) -> PixSearchOutput:
        """Past DeepSpeed's own, which would switch autocast off on a GPU."""
        self.optimizer.clear_backward_seen_flag()  # as it does
        return super().forward(**inputs)

    def accumulate(
        self, inputs: dict[str, Any], total: Callable[[Losses], Tensor], *, is_last: bool
    ) -> Losses:
        self._deepspeed.set_gradient_accumulation_boundary(is_last)
        losses = self.forward(**inputs).losses
        self._deepspeed.backward(total(losses) * self.processes.count)
        return losses

    def update(self, factor: float) -> Float[Tensor, ""]:
        set_learning_rate(self.optimizer, factor)
        self._deepspeed.step()
        return torch.as_tensor(self._deepspeed.get_global_grad_norm())

    def report(self) -> dict[str, Any]:
        trained = sum(one.numel() for _, one in self._trained())
        here = sum(flat.numel() for flat in self.optimizer.single_partition_of_fp32_groups)
        return {**super().report(), "num_trained": trained, "num_trained_here": here}

    def weights(self) -> dict[str, Tensor]:
        return self.model.state_dict() | self._encoders

    def optimizer_state(self) -> dict[str, Any]:
        from deepspeed.utils import safe_get_full_optimizer_state

        steps = next(iter(self._inner.state.values()))["step"]
        state: dict[str, Any] = {}
        for name, parameter in self._trained():
            moments = {key: safe_get_full_optimizer_state(parameter, key) for key in MOMENTS}
            if self.processes.is_main:
                on_host = {key: each.cpu() for key, each in moments.items()}
                state[name] = {"step": steps.cpu().clone(), **on_host}  # each counts its own
        names = {id(parameter): name for name, parameter in self._trained()}
        groups = [
            {**hyper, "params": [names[id(parameter)] for parameter in parameters]}
            for hyper, parameters in zip(self._hyper, self._groups, strict=True)
        ]
        return {"state": state, "param_groups": groups}

    def load_optimizer_state(self, state: dict[str, Any]) -> None:
        from deepspeed.utils import safe_set_full_optimizer_state

        for name, parameter in self._trained():
            for key in MOMENTS:
                value = state["state"][name][key].to(self.processes.device)
                safe_set_full_optimizer_state(parameter, value, key)
        steps = next(iter(state["state"].values()))["step"]
        for each in self._inner.state.values():
            each["step"].copy_(steps)

    def _prepare(self) -> tuple[nn.Module, Optimizer]:
        device = self.processes.device  # DeepSpeed would choose its own
        os.environ["DS_ACCELERATOR"] = device.type
        if device.index is not None:
            os.environ["LOCAL_RANK"] = str(device.index)
        import deepspeed

        self._encoders = hide_encoders(self.model)
        groups = parameter_groups(self.model)
        self._groups = list(groups.values())
        self._inner = build_optimizer(groups, self._options)
        self._hyper = [
            {key: value for key, value in group.items() if key != "params"}
            for group in self._inner.param_groups
        ]
        self._deepspeed, optimizer, _, _ = deepspeed.initialize(
            model=self.model, optimizer=self._inner, config=self._config(), dist_init_required=None
        )
        self._allocate_moments(optimizer)
        return self.model, optimizer

    def _config(self) -> dict[str, Any]:
        return {
            "train_micro_batch_size_per_gpu": 1,  # DeepSpeed counts nothing here, see `accumulate`
            "gradient_accumulation_steps": 1,
            "gradient_clipping": self._options.clip_norm,
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            "zero_optimization": {"stage": 2},
        }

    def _allocate_moments(self, optimizer: Any) -> None:
        """Before the first step there are none, and a resumed run has to fill them."""
        for flat in optimizer.single_partition_of_fp32_groups:
            moments = {key: torch.zeros_like(flat.detach()) for key in MOMENTS}
            self._inner.state[flat] = {"step": torch.zeros((), device=flat.device), **moments}
        optimizer._lazy_init_hp_params_optimizer_state()  # links weights to their moments, once

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, each) for name, each in self.model.named_parameters() if each.requires_grad]
