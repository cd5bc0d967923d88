"""What the grammar allows, as masks over the vocabulary."""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from pixsearch.generation.grammar import NOTHING, TokenClass
from pixsearch.tokens import TokenIds


class VocabularyConstraints:
    """Knows the class of each token, and keeps one ban mask per set of classes that ever occurred.

    Args:
        vocabulary_size: width of the logits.
        never: more ids that are not words, e.g. begin and unknown tokens, or rows of the head
            beyond the tokenizer's vocabulary.
    """

    def __init__(
        self,
        ids: TokenIds,
        *,
        vocabulary_size: int,
        never: Iterable[int] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        self._classes = [TokenClass.TEXT] * vocabulary_size
        for token in (*never, *ids.never_in_text):
            self._classes[token] = NOTHING
        self._classes[ids.seg] = TokenClass.SEG
        self._classes[ids.search] = TokenClass.SEARCH
        self._classes[ids.search_end] = TokenClass.SEARCH_END
        self._classes[ids.region] = TokenClass.REGION
        self._classes[ids.whole] = TokenClass.WHOLE
        self._classes[ids.end] = TokenClass.END
        self._class_values = torch.tensor([int(c) for c in self._classes], device=device)
        self._index_of_set: dict[TokenClass, int] = {}
        self._bans = torch.empty(0, vocabulary_size, dtype=torch.bool, device=device)

    def class_of(self, token: int) -> TokenClass:
        """The class of a token; `NOTHING` for one that is never sampled."""
        return self._classes[token]

    def banned(self, allowed: Sequence[TokenClass]) -> Bool[Tensor, "num_rows vocabulary"]:
        """True where a row may not go, given the classes that each row may choose from."""
        for classes in set(allowed) - self._index_of_set.keys():
            self._index_of_set[classes] = len(self._bans)
            ban = (self._class_values & int(classes)) == 0
            self._bans = torch.cat([self._bans, ban[None]])
        indices = torch.tensor([self._index_of_set[classes] for classes in allowed])
        return self._bans[indices.to(self._bans.device)]
