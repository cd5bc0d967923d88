"""The GPU's index without a GPU: who is refused, and what would be handed over."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import faiss
import numpy as np
import pytest

from pixsearch.config import IndexDevice
from pixsearch.retrieval import gpu_flat
from pixsearch.retrieval.build import build_indexes
from pixsearch.retrieval.gpu_flat import GpuFlat
from pixsearch.retrieval.searcher import Searcher

WITHOUT_GPU = pytest.mark.skipif(
    hasattr(faiss, "StandardGpuResources"), reason="this FAISS has GPU support"
)


@WITHOUT_GPU
def test_a_faiss_without_gpu_support_is_refused_in_one_line(built):
    with pytest.raises(ValueError, match=r"device=gpu: this FAISS has no GPU support; .*=cpu$"):
        Searcher.open(replace(built, device=IndexDevice.gpu))


def test_only_flat_goes_to_a_gpu(own):
    options = replace(own, factory="HNSW8", device=IndexDevice.gpu)
    build_indexes(options, progress=False)
    with pytest.raises(ValueError, match=r"factory=Flat alone, the index is 'HNSW8'"):
        Searcher.open(options)


class StandIn:
    """In the place of faiss.GpuIndexFlatIP: notes what is asked of it, and by which thread."""

    def __init__(self, resources, dimension, config):
        self.config, self.threads, self.added = config, [threading.get_ident()], []
        self.dimension = dimension

    def add(self, vectors):
        self.threads.append(threading.get_ident())
        self.added.append(vectors)

    def search(self, vectors, k):
        self.threads.append(threading.get_ident())
        return np.zeros((len(vectors), k), np.float32), np.zeros((len(vectors), k), np.int64)


def test_vectors_are_handed_over_once_uncopied_by_one_thread(monkeypatch):
    library = SimpleNamespace(
        StandardGpuResources=object,
        GpuIndexFlatConfig=SimpleNamespace,
        GpuIndexFlatIP=StandIn,
        get_num_gpus=lambda: 1,
        rev_swig_ptr=faiss.rev_swig_ptr,
    )
    monkeypatch.setattr(gpu_flat, "faiss", library)
    vectors = np.eye(5, 4, dtype=np.float32)
    flat = faiss.IndexFlatIP(4)
    flat.add(vectors)
    index = GpuFlat(flat)
    scores, places = index.search(vectors[:2], 3)
    filled = index._index
    assert (index.d, index.ntotal, scores.shape, places.shape) == (4, 5, (2, 3), (2, 3))
    assert filled.config.useFloat16
    assert len(filled.added) == 1
    np.testing.assert_array_equal(filled.added[0], vectors)
    assert np.shares_memory(filled.added[0], faiss.rev_swig_ptr(flat.get_xb(), 20))
    assert len(set(filled.threads)) == 1
    assert threading.get_ident() not in filled.threads
    with pytest.raises(ValueError, match="at most 2048"):
        index.search(vectors, 2049)
