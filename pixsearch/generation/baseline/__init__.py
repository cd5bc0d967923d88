"""Plain image-text-to-text models of transformers as baselines: no special tokens, no masks."""

from pixsearch.generation.baseline.engine import PlainEngine, refuse_policy
from pixsearch.generation.baseline.model import PlainModel, describe, is_plain

__all__ = ["PlainEngine", "PlainModel", "describe", "is_plain", "refuse_policy"]
