"""Which examples each step draws: a pure function of the step, so that resuming needs no replay."""

import random
from collections.abc import Callable

from pixsearch.chat import Conversation, Grounded, Searched, Text

CHARACTERS_PER_TOKEN = 4


class BatchOrder:
    """The indices of each global batch in an endless mixture.

    With `window` above 1, the examples of that many batches are put together by length, `together`
    at a time, and these groups then shuffled: less padding, batches of all lengths, the same
    examples within every window. With `image`, the examples of a global batch that are about one
    image stand together, so that they meet in a micro-batch.

    Args:
        together: examples that are padded to one length: a micro-batch of every process.
        length: length of the example at an index; only asked for when `window` is above 1.
    """

    def __init__(
        self,
        *,
        global_batch: int,
        together: int,
        window: int,
        seed: int,
        length: Callable[[int], int],
        image: Callable[[int], str | None] | None = None,
    ) -> None:
        assert global_batch % together == 0
        self.global_batch = global_batch
        self._together = together
        self._window = window
        self._seed = seed
        self._length = length
        self._image = image
        self._grouped: tuple[int, list[list[int]]] = (-1, [])

    def indices(self, step: int) -> list[int]:
        """The global batch of a step, its first micro-batches first."""
        if self._window == 1:
            return self._by_image(self._batch(step))
        number, place = divmod(step, self._window)
        if self._grouped[0] != number:
            self._grouped = (number, self._group(number))
        return self._grouped[1][place]

    def _batch(self, step: int) -> list[int]:
        return list(range(step * self.global_batch, (step + 1) * self.global_batch))

    def _by_image(self, indices: list[int]) -> list[int]:
        """The same, the examples of an image where its first one stands."""
        if self._image is None:
            return indices
        first: dict[object, int] = {}
        places = {}
        for place, index in enumerate(indices):
            image = self._image(index)
            places[index] = first.setdefault(index if image is None else image, place)
        return sorted(indices, key=lambda index: places[index])

    def _group(self, number: int) -> list[list[int]]:
        steps = range(number * self._window, (number + 1) * self._window)
        indices = sorted((i for step in steps for i in self._batch(step)), key=self._length)
        groups = _cut(indices, self._together)
        random.Random(f"{self._seed}/{number}").shuffle(groups)
        return _cut([index for group in groups for index in group], self.global_batch)


def _cut(indices: list[int], size: int) -> list[list[int]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def micro_batches(
    indices: list[int], *, batch_size: int, rank: int, num_processes: int
) -> list[list[int]]:
    """The part of a global batch that one process takes, cut into micro-batches.

    >>> micro_batches([0, 1, 2, 3, 4, 5, 6, 7], batch_size=2, rank=1, num_processes=2)
    [[2, 3], [6, 7]]
    """
    starts = range(rank * batch_size, len(indices), num_processes * batch_size)
    return [indices[start : start + batch_size] for start in starts]


def approximate_length(conversation: Conversation, *, num_image_tokens: int) -> int:
    """Tokens of a conversation, guessed from its characters: good enough to group by."""
    characters = sum(_characters(part) for turn in conversation.messages for part in turn.parts)
    image = num_image_tokens if conversation.has_image else 0
    return image + characters // CHARACTERS_PER_TOKEN


def _characters(part: Text | Grounded | Searched) -> int:
    match part:
        case Text(text=text):
            return len(text)
        case Grounded(phrase=phrase):
            return len(phrase)
        case Searched(text=text, passages=passages):
            return len(text or "") + sum(len(passage.text) for passage in passages)
