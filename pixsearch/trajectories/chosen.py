"""The questions that the next stage sees, so that no other record is read again."""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from pixsearch.key_table import key_hash
from pixsearch.trajectories.sources import BrokenRecord, SourcedQuestion, SourceRows
from pixsearch.trajectories.stage_lines import Outcome, StageLines


class Chosen:
    """The questions that go on, by their rows: sixteen bytes each."""

    def __init__(self) -> None:
        self._rows: dict[str, array] = defaultdict(lambda: array("q"))
        self._hashes: dict[str, array] = defaultdict(lambda: array("Q"))

    def noting(
        self, records: Iterable[SourcedQuestion | BrokenRecord]
    ) -> Iterator[SourcedQuestion | BrokenRecord]:
        """The same records; the questions among them are chosen."""
        for record in records:
            if isinstance(record, SourcedQuestion):
                self._rows[record.source].append(record.row)
                self._hashes[record.source].append(key_hash(record.key))
            yield record

    def keep(self, lines: StageLines) -> None:
        """Only those that a stage has kept."""
        for source in self._rows:
            hashes = np.array(self._hashes[source], dtype=np.uint64)
            kept = lines.have(Outcome.kept, hashes)
            self._hashes[source] = array("Q", hashes[kept].tobytes())
            self._rows[source] = array("q", np.array(self._rows[source])[kept].tobytes())

    def rows(self) -> SourceRows:
        return {source: np.array(rows, dtype=np.int64) for source, rows in self._rows.items()}
