"""torch's fully_shard (FSDP2): each process holds a part of every weight."""

from collections.abc import Iterator
from contextlib import contextmanager

from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from pixsearch.training.engines.engine import WHOLE, Engine
from pixsearch.training.engines.frozen import hide_encoders


class FullySharded(Engine):
    """Layers of the language model are gathered one by one, the rest together.

    The frozen image encoders are no part of it: a process runs them when it has an image, which
    must not make others wait.
    """

    is_split = True

    def _wrap(self) -> nn.Module:
        self._encoders = hide_encoders(self.model)
        mesh = init_device_mesh(self.processes.device.type, (self.processes.count,))
        for layer in self.model.backbone.model.language_model.layers:
            fully_shard(layer, mesh=mesh)
        return fully_shard(self.model, mesh=mesh)

    def _clip_gradients(self) -> Float[Tensor, ""]:
        norm = super()._clip_gradients()
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def weights(self) -> dict[str, Tensor]:
        return get_model_state_dict(self.model, options=WHOLE) | self._encoders

    def _count_weights(self) -> tuple[int, int]:
        every = list(self.model.parameters())
        local = (one.to_local() if isinstance(one, DTensor) else one for one in every)
        return sum(one.numel() for one in every), sum(one.numel() for one in local)

    @contextmanager
    def _no_exchange(self) -> Iterator[None]:
        self._module.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            self._module.set_requires_gradient_sync(True)
