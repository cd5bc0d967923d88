"""Memory and peak arithmetic of cards, as NVIDIA's data sheets give them."""

from dataclasses import dataclass

from pixsearch.config import Gpu


@dataclass(frozen=True, kw_only=True)
class Card:
    """One card.

    Attributes:
        memory_gib: the data sheets' "GB" taken as GiB; one or two of them are never free.
        bf16: peak FLOP/s of dense matrix products, without sparsity.
        fp32: the same outside the tensor cores (torch leaves TF32 off).
        bandwidth: of the memory, bytes/s.
    """

    memory_gib: int
    bf16: float
    fp32: float
    bandwidth: float


CARDS: dict[Gpu, Card] = {
    # "NVIDIA A100 Tensor Core GPU", data sheet, June 2021
    Gpu.a100_40gb: Card(memory_gib=40, bf16=312e12, fp32=19.5e12, bandwidth=1555e9),
    Gpu.a100_80gb: Card(memory_gib=80, bf16=312e12, fp32=19.5e12, bandwidth=2039e9),
    # "NVIDIA L40S GPU", data sheet, 2023; 733 TFLOP/s with sparsity
    Gpu.l40s: Card(memory_gib=48, bf16=362e12, fp32=91.6e12, bandwidth=864e9),
    # "NVIDIA H100 Tensor Core GPU", data sheet, 2023, SXM; 1,979 TFLOP/s with sparsity
    Gpu.h100: Card(memory_gib=80, bf16=989e12, fp32=67e12, bandwidth=3350e9),
    # "NVIDIA H200 Tensor Core GPU", data sheet, 2024, SXM; the arithmetic of the H100
    Gpu.h200: Card(memory_gib=141, bf16=989e12, fp32=67e12, bandwidth=4800e9),
}
