"""The model: a language backbone that sees, a segmenter, and the projection between them."""

from pixsearch.model.config import PixSearchConfig
from pixsearch.model.features import ImageFeatures
from pixsearch.model.pixsearch import PixSearch

__all__ = ["ImageFeatures", "PixSearch", "PixSearchConfig"]
