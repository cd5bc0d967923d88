"""What all counts of arithmetic are made of. A multiplication and an addition are two FLOP."""

from dataclasses import dataclass

from torch import nn

MATRICES = (nn.Linear, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)


@dataclass(frozen=True, kw_only=True)
class Passes:
    """FLOP of a part.

    Attributes:
        backward: gradients of the states, and of the weights that train.
    """

    forward: int
    backward: int = 0

    def __add__(self, other: "Passes") -> "Passes":
        return Passes(forward=self.forward + other.forward, backward=self.backward + other.backward)

    @property
    def total(self) -> int:
        return self.forward + self.backward


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


def dense(module: nn.Module, *, positions: int, has_gradient: bool = True) -> Passes:
    """A module that each position goes through.

    Args:
        has_gradient: its input has one; else nothing flows back through it unless it trains.
    """
    trained = matrix_weights(module, trained_only=True)
    forward = 2 * matrix_weights(module) * positions
    through = forward if has_gradient or trained else 0
    return Passes(forward=forward, backward=through + 2 * trained * positions)
