"""The one training loop, for both stages."""

from pixsearch.training.loop import fit

__all__ = ["fit"]
