"""What all counts of arithmetic are made of. A multiplication and an addition are two FLOP."""

from torch import nn

MATRICES = (nn.Linear, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)


def matrix_weights(module: nn.Module, *, trained_only: bool = False) -> int:
    """Weights of the matrices in a module: each is used once for a position that goes through it.

    >>> matrix_weights(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 4)))
    18
    """
    weights = [each.weight for each in module.modules() if isinstance(each, MATRICES)]
    return sum(each.numel() for each in weights if each.requires_grad or not trained_only)


def attention_flops(*, queries: int, keys: int, width: int) -> int:
    """FLOP of scores and of their product with the values, summed over heads.

    A causal mask is not subtracted, as in PaLM (Chowdhery et al. 2022, appendix B) and in torch's
    FlopCounterMode; kernels skip up to half of it.

    Args:
        width: of all heads together.
    """
    return 4 * queries * keys * width
