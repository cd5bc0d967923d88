"""What all readers of questions share: records of a file, looked up when asked for."""

import json
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from jaxtyping import Int64, UInt, UInt32
from PIL import Image

from pixsearch.datasets.files import JsonLines, load_image, require
from pixsearch.datasets.questions.question import AnnotatedQuestion

Build = Callable[[Any, str], AnnotatedQuestion]
"""Makes a question of a record and its place, for instance `file:line`."""

_CHUNK_BYTES = 1 << 24


class LazyQuestions(Sequence):
    """Questions built when asked for; an id that occurs again is an error where it does.

    Args:
        where: names the place of a row.
        repeated: rows whose id stands earlier already, each with the first row that has it.
        files: what they were read from, images aside.
    """

    def __init__(
        self,
        records: Sequence[Any],
        build: Build,
        *,
        where: Callable[[int], str],
        repeated: Mapping[int, int],
        files: Sequence[Path] = (),
    ) -> None:
        self.files = tuple(files)
        self._records = records
        self._build = build
        self._where = where
        self._repeated = dict(repeated)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> AnnotatedQuestion:  # type: ignore[override]
        row = range(len(self))[index]
        where = self._where(row)
        if row in self._repeated:
            first = self._where(self._repeated[row])
            raise ValueError(f"{where}: has the id of {first} again; take one of the two out")
        try:
            question = self._build(self._records[row], where)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise ValueError(
                f"{where}: not of the official form ({error!r}); mend or fetch it again"
            ) from error
        _check_texts(question, where)
        return question


def _check_texts(question: AnnotatedQuestion, where: str) -> None:
    """See that what is compared, rendered and sent is text.

    Raises:
        ValueError: the id, the question, an answer or an earlier turn is something else.
    """
    turns = chain.from_iterable(question.history)
    for text in (question.id, question.question, *question.answers, *turns):
        if not isinstance(text, str):
            kind = type(text).__name__
            raise ValueError(f"{where}: {text!r} is a {kind}, not text; mend or fetch it again")


def questions_of_json(
    path: Path,
    records: Sequence[Any],
    build: Build,
    *,
    id_field: str,
    fields: Sequence[str] = (),
    others: Sequence[Path] = (),
) -> LazyQuestions:
    """Questions of a JSON file that was read whole.

    Args:
        fields: what each record must have beside the id; all else is forgotten.
        others: further files that say something of the questions.
    """
    return questions_of_records(
        records,
        build,
        id_field=id_field,
        fields=fields,
        where=partial(_item, path),
        files=(path, *others),
    )


def questions_of_records(
    records: Sequence[Any],
    build: Build,
    *,
    id_field: str,
    fields: Sequence[str],
    where: Callable[[int], str],
    files: Sequence[Path],
) -> LazyQuestions:
    """Questions of records that were read whole, as `questions_of_json`."""
    kept = [_only(record, (id_field, *fields)) for record in records]
    checked = partial(_checked, build=build, fields=(id_field, *fields))
    ids = [record.get(id_field) if isinstance(record, dict) else None for record in kept]
    return LazyQuestions(kept, checked, where=where, repeated=repeated_ids(ids), files=files)


def questions_of_lines(
    lines: "KeyedLines", records: Sequence[Any], build: Build, *, others: Sequence[Path] = ()
) -> LazyQuestions:
    """Questions of a JSONL file, of which little more than the lines' offsets is kept.

    Args:
        records: the lines themselves, or lines joined with those of other files, row for row.
        others: those other files.
    """
    return LazyQuestions(
        records,
        build,
        where=lines.where,
        repeated=lines.repeated(),
        files=(lines.path, *others),
    )


def repeated_ids(ids: Iterable[Any]) -> dict[int, int]:
    """Rows whose id stands earlier already, each with the first row that has it; None is no id.

    >>> repeated_ids(["a", "b", "a", None, None])
    {2: 0}
    """
    first: dict[Any, int] = {}
    repeated = {}
    for row, id in enumerate(ids):
        if isinstance(id, Hashable) and id is not None and first.setdefault(id, row) != row:
            repeated[row] = first[id]
    return repeated


def repeated_rows(
    hashes: UInt[np.ndarray, " num_rows"], id_of: Callable[[int], Any]
) -> dict[int, int]:
    """As `repeated_ids`, by hashes of the ids: only the ids whose hashes agree are looked at.

    >>> repeated_rows(np.array([7, 7, 9, 7], dtype=np.uint32), "abca".__getitem__)
    {3: 0}
    """
    order = np.argsort(hashes, kind="stable")
    same = np.diff(hashes[order]) == 0
    suspects = np.union1d(order[:-1][same], order[1:][same]).tolist()
    repeated = repeated_ids(map(id_of, suspects))
    return {suspects[row]: suspects[first] for row, first in repeated.items()}


class KeyedLines(JsonLines):
    """A JSONL file whose lines are also found by the text of one field.

    It is read through twice and held as 20 bytes per line. A hash is kept of each id; those that
    agree are compared in the file.
    """

    def __init__(self, path: Path, field: str) -> None:
        super().__init__(path)
        self._field = field
        self._hashes = hash_ids(path, field)
        self._order: Int64[np.ndarray, " num_lines"] | None = None

    def find(self, id: str, *, near: int) -> dict[str, Any]:
        """The first line with this id.

        Args:
            near: the line to look at first; files of one release are mostly in one order.

        Raises:
            ValueError: there is none.
        """
        candidates = chain([near] if near < len(self) else [], self._rows_with(id))
        for record in map(self.__getitem__, candidates):
            if record.get(self._field) == id:
                return record
        raise ValueError(
            f"{self.path}: no line with the {self._field} {id!r}; fetch the files of one release"
        )

    def repeated(self) -> dict[int, int]:
        """Rows whose id stands earlier already, each with the first row that has it."""
        return repeated_rows(self._hashes, self._id)

    def _by_hash(self) -> Int64[np.ndarray, " num_lines"]:
        if self._order is None:
            self._order = np.argsort(self._hashes, kind="stable")
        return self._order

    def _rows_with(self, id: str) -> Iterator[int]:
        """Rows whose id may be this one: their hashes agree."""
        order, hashed = self._by_hash(), np.uint32(crc32(id.encode()))
        begin, end = (
            np.searchsorted(self._hashes, hashed, side=side, sorter=order)
            for side in ("left", "right")
        )
        yield from order[begin:end].tolist()

    def _id(self, row: int) -> str | None:
        """A line's id; None where there is none, or no JSON: that is told when it is asked for."""
        try:
            return self[row].get(self._field)
        except ValueError:
            return None


def hash_ids(path: Path, field: str) -> UInt32[np.ndarray, " num_lines"]:
    """CRC-32 of the text of a field in each line, in one pass and without holding the file.

    A line that begins with the field, as in the official files, is not parsed for it.
    """
    first = re.compile(rb'\n(?:\{\s*"%s"\s*:\s*"([^"\\\n]*)")?' % re.escape(field).encode())
    parts = [np.zeros(0, dtype=np.uint32)]
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            chunk = (chunk + file.readline()).removesuffix(b"\n")  # whole lines
            ids = first.findall(b"\n" + chunk)
            if b"" in ids:
                pairs = zip(ids, chunk.split(b"\n"), strict=True)
                ids = [id or _parsed_id(line, field) for id, line in pairs]
            parts.append(np.fromiter(map(crc32, ids), dtype=np.uint32, count=len(ids)))
    return np.concatenate(parts)


def _parsed_id(line: bytes, field: str) -> bytes:
    """Empty where there is no text, or no JSON: that is told when the line is asked for."""
    try:
        id = json.loads(line).get(field)
    except (AttributeError, ValueError):
        return b""
    return id.encode("utf-8", "surrogatepass") if isinstance(id, str) else b""


def by_agreement(answers: Iterable[str]) -> tuple[str, ...]:
    """Annotators' answers, the most frequent first, equal ones together.

    >>> by_agreement(["no", "yes", "maybe", "yes"])
    ('yes', 'yes', 'no', 'maybe')
    """
    counted = Counter(answers).most_common()
    return tuple(answer for answer, count in counted for _ in range(count))


def load_question_image(path: Path, *, question: str, source: str) -> Image.Image:
    """Decode a question's image to RGB.

    Args:
        source: where it is to be had, for the error.

    Raises:
        ValueError: it is absent or cannot be decoded.
    """
    if not path.is_file():
        raise ValueError(
            f"{path}: missing image of question {question!r}; it comes with {source}, see "
            "data/README.md"
        )
    return load_image(path, example=question)


def first_folder(*folders: Path) -> Path:
    """The first of the folders that exists, or else the first of all, which errors then name."""
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def _only(record: Any, fields: Sequence[str]) -> Any:
    if not isinstance(record, dict):
        return record
    return {field: record[field] for field in fields if field in record}


def _checked(record: Any, where: str, *, build: Build, fields: Sequence[str]) -> AnnotatedQuestion:
    require(record, *fields, where=where)
    return build(record, where)


def _item(path: Path, row: int) -> str:
    return f"{path}: item {row}"
