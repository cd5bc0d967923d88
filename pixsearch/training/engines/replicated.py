"""Several processes that each hold the whole model."""

from contextlib import AbstractContextManager

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pixsearch.training.engines.engine import Engine


class Replicated(Engine):
    """torch's DistributedDataParallel.

    Every weight that trains has a gradient in every micro-batch (`PixSearch.forward` sees to it),
    so that no process waits for another that had no image or no mask.
    """

    def _wrap(self) -> nn.Module:
        device = self.processes.device
        ids = None if device.type == "cpu" else [device.index]
        # no buffer changes in training, and a process may look at more held-out batches than others
        return DistributedDataParallel(self.model, device_ids=ids, broadcast_buffers=False)

    def _no_exchange(self) -> AbstractContextManager[None]:
        return self._module.no_sync()
