"""What is to be known of a published family of checkpoints so that it can be converted."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor
from transformers import PreTrainedTokenizerFast

from pixsearch.config import ConvertOptions, GroundBy
from pixsearch.model.config import PixSearchConfig
from pixsearch.model.published.names import Rule
from pixsearch.model.published.read import Tensors

PUBLISHED_SEG = "[SEG]"  # our <seg>, in all of them


@dataclass(frozen=True, kw_only=True)
class Source:
    """A checkpoint as it was published.

    Attributes:
        told: its config.json.
        names: of its tensors, without peft's prefix.
    """

    folder: Path
    told: dict[str, Any]
    names: Collection[str]


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What a PixSearch is built from.

    Attributes:
        weights: all of the model's, under our names.
    """

    config: PixSearchConfig
    weights: Tensors


class Published(ABC):
    """One family of published checkpoints. A new one: a file, and a line in convert.py.

    Attributes:
        name: for messages.
        rules: published names -> ours.
        dropped: pattern of published names that are not used -> the reason.
    """

    name: ClassVar[str]
    rules: ClassVar[tuple[Rule, ...]]
    dropped: ClassVar[Mapping[str, str]]

    @abstractmethod
    def owns(self, names: Collection[str]) -> bool:
        """Whether a checkpoint with these names is of this family."""

    @abstractmethod
    def check(self, source: Source, options: ConvertOptions) -> None:
        """See, before anything heavy is done, that this member of the family can be read.

        Raises:
            ValueError: it cannot; or an option is missing, or one that does not belong is set.
        """

    def prepare(self, tensors: Tensors, source: Source) -> Tensors:
        """The tensors, adapters merged, with all that `rules` expect; by default as they are.

        Raises:
            ValueError: values or shapes show that this member of the family cannot be read.
        """
        return tensors

    @abstractmethod
    def tokenizer(self, source: Source, options: ConvertOptions) -> PreTrainedTokenizerFast:
        """The checkpoint's own, with our tokens added."""

    @abstractmethod
    def convert(
        self,
        tensors: Tensors,
        source: Source,
        tokenizer: PreTrainedTokenizerFast,
        options: ConvertOptions,
    ) -> Converted:
        """Infer the sizes, take what shapes do not tell from config.json, complete the weights.

        Args:
            tensors: the checkpoint's, under our names.
        """


def new_rows(published: Tensor, config: PixSearchConfig) -> Tensor:
    """The mean of all rows for each token of ours: no word is preferred.

    Where a token grounds phrases, that is [SEG], which has a row.
    """
    rows = published.float().mean(dim=0).repeat(len(config.ids.own), 1).to(published.dtype)
    if GroundBy(config.ground_by) is GroundBy.seg:
        rows[config.ids.own.index(config.ids.seg)] = published[config.ids.seg]
    return rows
