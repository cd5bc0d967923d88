"""DeepSpeed's ZeRO: gradients and the optimiser's state are split over processes, or all is."""

import os
from collections.abc import Callable
from typing import Any, ClassVar

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

    zero_options: ClassVar[dict[str, Any]] = {"stage": 2}

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
        here = sum(flat.numel() for flat in self._flat_weights(self.optimizer))
        return {**super().report(), "num_trained": self._num_trained, "num_trained_here": here}

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
        for name, parameter in self._trained():
            for key in MOMENTS:
                value = state["state"][name][key].to(self.processes.device)
                self._set_moment(parameter, key, value)
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
        self._num_trained = sum(one.numel() for group in self._groups for one in group)
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
            "zero_optimization": self.zero_options,
        }

    def _allocate_moments(self, optimizer: Any) -> None:
        """Before the first step there are none, and a resumed run has to fill them."""
        for flat in self._flat_weights(optimizer):
            moments = {key: torch.zeros_like(flat.detach()) for key in MOMENTS}
            self._inner.state[flat] = {"step": torch.zeros((), device=flat.device), **moments}
        self._link_moments(optimizer)

    def _flat_weights(self, optimizer: Any) -> list[Tensor]:
        """What this process updates, of each group of weights."""
        return optimizer.single_partition_of_fp32_groups

    def _link_moments(self, optimizer: Any) -> None:
        """Tell DeepSpeed which moments belong to which weights; it does so once."""
        optimizer._lazy_init_hp_params_optimizer_state()

    def _set_moment(self, parameter: nn.Parameter, key: str, value: Tensor) -> None:
        """Keep this process's part of a whole moment."""
        from deepspeed.utils import safe_set_full_optimizer_state

        safe_set_full_optimizer_state(parameter, value, key)

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, each) for name, each in self.model.named_parameters() if each.requires_grad]


class Zero3(Zero2):
    """Stage 3: each process holds a part of every weight, too.

    DeepSpeed gathers a module's weights around its forward, and again when the gradient of what it
    returned arrives. So a weight that trains is used inside the forward of a module that returns
    tensors, its own or one above it, and never in that of `PixSearch` itself.
    """

    is_split = True
    zero_options: ClassVar[dict[str, Any]] = {
        "stage": 3,
        "stage3_param_persistence_threshold": 0,  # small weights go the way of large ones
    }

    def _prepare(self) -> tuple[nn.Module, Optimizer]:
        if self.model.grounding.feedback is not None:
            raise ValueError(
                "zero_stage: 3 with model.mask_feedback=true: a batch takes as many calls of the "
                "mask decoder as its conversations have phrases, and ZeRO-3 needs as many on every "
                "process; take configs/accelerate/fsdp2.yaml"
            )
        return super()._prepare()

    def weights(self) -> dict[str, Tensor]:
        from deepspeed import zero

        whole: dict[int, Tensor] = {}  # by identity, so that what is tied stays one
        for parameter in self.model.parameters():
            with zero.GatheredParameters([parameter]):
                if self.processes.is_main:
                    whole[id(parameter)] = parameter.detach().cpu().clone()
        if not self.processes.is_main:
            return {}
        named = self.model.state_dict(keep_vars=True)
        return {name: whole.get(id(each), each) for name, each in named.items()} | self._encoders

    def _count_weights(self) -> tuple[int, int]:
        every = list(self.model.parameters())
        whole = sum(one.ds_numel for one in every)
        return whole, sum(one.ds_tensor.numel() + one.numel() for one in every)

    def _flat_weights(self, optimizer: Any) -> list[Tensor]:
        return optimizer.fp32_partitioned_groups_flat

    def _link_moments(self, optimizer: Any) -> None:
        """Nothing to do: stage 3 looks them up."""

    def _set_moment(self, parameter: nn.Parameter, key: str, value: Tensor) -> None:
        from deepspeed.utils import safe_set_local_optimizer_state

        size = parameter.ds_tensor.numel()  # parts are of equal size, the last ones padded
        missing = size * self.processes.count - value.numel()
        padded = nn.functional.pad(value.flatten(), (0, missing))
        part = padded[size * self.processes.rank :][:size]
        safe_set_local_optimizer_state(parameter, part, key)
