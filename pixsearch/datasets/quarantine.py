"""Examples that are left out of a run because they are broken, and the list of them."""

import fcntl
import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pixsearch.datasets.batch import load_masks_of
from pixsearch.datasets.example import Example
from pixsearch.datasets.subset import Rows, SomeExamples

logger = logging.getLogger(__name__)

QUARANTINE = "quarantine.jsonl"
_MOST_IN_A_ROW = 100  # so many broken ones, one after the other, are no accident
_UNSEEN, _WHOLE, _BROKEN = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """A line of the list.

    Attributes:
        row: place in the dataset, from 0.
        id: of the example; None for a record of which no example can be made.
    """

    dataset: str
    row: int
    id: str | None
    reason: str


class Quarantine:
    """A run's `quarantine.jsonl`: one line per example left out, whichever process finds it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, found: Quarantined) -> None:
        """List an example, if it is not listed yet; processes write one after the other."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            listed = [Quarantined(**json.loads(line)) for line in file]
            if all((each.dataset, each.row) != (found.dataset, found.row) for each in listed):
                file.write(json.dumps(asdict(found), ensure_ascii=False) + "\n")
                where = f"{found.dataset} {found.row}"
                logger.warning("left out, %d so far: %s: %s", len(listed) + 1, where, found.reason)

    def listed(self) -> list[Quarantined]:
        """What was left out so far."""
        if not self.path.is_file():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return [Quarantined(**json.loads(line)) for line in lines]

    def report(self) -> None:
        """Log how many examples of each dataset were left out."""
        for name, count in Counter(each.dataset for each in self.listed()).items():
            logger.warning("%s: %d broken examples were left out, see %s", name, count, self.path)

    def clear(self) -> None:
        """Forget what an earlier run left out."""
        self.path.unlink(missing_ok=True)


class UnbrokenExamples(SomeExamples):
    """The examples of a dataset; in place of a broken one stands the next that is whole.

    An example is decoded when it is first asked for, to see that it can be. Which one stands at a
    place hangs on the files alone, so that processes, workers and a resumed run agree.

    Raises:
        ValueError: (when an example is asked for) a hundred in a row are broken, or all there are.
    """

    def __init__(self, dataset: Sequence, rows: Rows, *, name: str, quarantine: Quarantine) -> None:
        super().__init__(dataset, rows)
        self._name = name
        self._quarantine = quarantine
        self._seen = bytearray(len(dataset))

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        first = self._row(index)
        for step in range(min(_MOST_IN_A_ROW, len(self))):
            row = self._row((index + step) % len(self))
            if self._is_whole(row):
                return self._dataset[row]
        raise ValueError(
            f"data.sources.{self._name}: {step + 1} examples in a row are broken, from row {first} "
            f"on; {self._quarantine.path} says why: mend the data set, or check its root"
        )

    def image_id(self, index: int) -> str | None:
        """None for an example that cannot be built; of a broken one its own, not its stand-in's."""
        try:
            return super().image_id(index)
        except ValueError:
            return None

    def undecoded(self, index: int) -> Example | None:
        try:
            return super().undecoded(index)
        except ValueError:
            return None

    def at(self, places: Rows) -> "UnbrokenExamples":
        rows = self._rows_at(places)
        return UnbrokenExamples(self._dataset, rows, name=self._name, quarantine=self._quarantine)

    def usable(self, places: Iterable[int]) -> list[Example]:
        """The examples at some places without those that are broken."""
        rows = [self._row(place) for place in places]
        return [self._dataset[row] for row in rows if self._is_whole(row)]

    def _is_whole(self, row: int) -> bool:
        if self._seen[row] == _UNSEEN:
            self._seen[row] = _WHOLE if self._decode(row) else _BROKEN
        return self._seen[row] == _WHOLE

    def _decode(self, row: int) -> bool:
        """Whether an example can be built and decoded; it is listed if not."""
        id = None
        try:
            example = self._dataset[row]
            id = example.id
            check_example(example)
        except ValueError as error:
            self._quarantine.add(Quarantined(dataset=self._name, row=row, id=id, reason=str(error)))
            return False
        return True


def check_example(example: Example) -> None:
    """Decode an example's image and masks, and see that they fit each other.

    Raises:
        ValueError: they cannot be decoded or do not fit; names the example.
    """
    image = None if example.load_image is None else example.load_image()
    masks = load_masks_of(example)
    maps = [] if masks is None else [*masks]
    maps += [] if example.load_ignore is None else [example.load_ignore()]
    for each in maps:
        if image is None or each.shape != (image.height, image.width):
            size = "no image" if image is None else f"an image of {image.height}x{image.width}"
            height, width = each.shape
            raise ValueError(
                f"example {example.id!r} has a mask of {height}x{width} and {size}: fetch the "
                "images that belong to the annotations"
            )
