"""A Flat index on a GPU in fp16, filled without the copies that a clone makes.

Not measured: written from FAISS's source (1.15.1), it has not run on a GPU with faiss-gpu yet.

`faiss.index_cpu_to_gpu` hands all vectors over in one piece: fp32 and fp16 copies lie beside the
fp16 index, four times its memory. Here an empty index takes them by `add`, which goes through them
in pages of 256 MiB. It is one call of `add` for all: each call reserves exactly what it adds, so
that every further one would copy the index as it is. The vectors are a view of the mapped file.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faiss
import numpy as np
from jaxtyping import Float32, Int64

MOST_NEIGHBOURS = 2048  # FAISS's limit on a GPU


class GpuFlat:
    """What `VectorIndex` needs of `faiss.Index`, on the GPU that is current.

    GPU indexes may not be used from several threads, not even to search: one thread of its own
    makes, fills and asks the index, for callers on any thread.
    """

    def __init__(self, index: faiss.IndexFlat) -> None:
        """
        Args:
            index: on the host, best memory-mapped; it may go when this returns.

        Raises:
            ValueError: this FAISS has no GPU support, or finds no GPU.
        """
        refuse_without_gpu()
        self.d: int = index.d
        self.ntotal: int = index.ntotal
        self._owner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gpu-index")
        self._resources, self._index = self._owner.submit(_filled, index).result()

    def search(
        self, vectors: Float32[np.ndarray, "num dimension"], k: int
    ) -> tuple[Float32[np.ndarray, "num k"], Int64[np.ndarray, "num k"]]:
        """As `faiss.Index.search`.

        Raises:
            ValueError: k is more than a GPU can find.
        """
        if k > MOST_NEIGHBOURS:
            raise ValueError(
                f"{k} vectors are asked of the index on the GPU, at most {MOST_NEIGHBOURS} can be: "
                "ask for fewer passages or set retrieval.device=cpu"
            )
        return self._owner.submit(self._index.search, vectors, k).result()

    def reconstruct_batch(
        self, places: Int64[np.ndarray, " num"]
    ) -> Float32[np.ndarray, "num dimension"]:
        """As `faiss.Index.reconstruct_batch`; rounded to fp16."""
        return self._owner.submit(self._index.reconstruct_batch, places).result()


def refuse_without_gpu() -> None:
    """Raises ValueError if this FAISS cannot search on a GPU here."""
    if not hasattr(faiss, "StandardGpuResources"):
        raise ValueError(
            "retrieval.device=gpu: this FAISS has no GPU support; install the extra 'gpu' in place "
            "of 'cpu', or set retrieval.device=cpu"
        )
    if faiss.get_num_gpus() == 0:
        raise ValueError("retrieval.device=gpu: FAISS finds no GPU; set retrieval.device=cpu")


def _filled(index: faiss.IndexFlat) -> tuple[Any, Any]:
    """The GPU's memory pools and the index in them; the pools must outlive it."""
    resources = faiss.StandardGpuResources()
    config = faiss.GpuIndexFlatConfig()
    config.useFloat16 = True
    config.use_cuvs = False  # cuVS takes all vectors at once again
    filled = faiss.GpuIndexFlatIP(resources, index.d, config)
    filled.add(_view(index))
    return resources, filled


def _view(index: faiss.IndexFlat) -> Float32[np.ndarray, "count dimension"]:
    """The vectors of a Flat index where they lie, without a copy."""
    flat = faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d)
    return flat.reshape(index.ntotal, index.d)
