"""Which entity an answer names, by the titles of all entities (OVEN)."""

import json
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path

from pixsearch.config import EntityLookup
from pixsearch.datasets.files import require
from pixsearch.retrieval.bm25 import LexicalIndex

_FIELDS = (("wikidata_id", "wikipedia_title"), ("id", "content"))


def entity_ids(answers: Collection[str], path: Path, lookup: EntityLookup) -> dict[str, str]:
    """The id of the entity that each answer names; answers that name none are not in it.

    The file is read as a stream, and its titles are not held. Of titles that differ by case alone
    the one that is spelt like the answer is taken, or else the first.

    Args:
        path: JSONL with `wikidata_id` and `wikipedia_title`, as Wiki6M_ver_1_0_title_only.jsonl has
            them, or with `id` and `content`, as OVEN's own baseline.

    Raises:
        ValueError: the file is missing or broken.
    """
    found = _by_title(answers, path)
    if lookup is EntityLookup.bm25:
        found |= _by_words([answer for answer in answers if answer not in found], path)
    return found


def check_entity_names(path: Path) -> None:
    """See that a file is one of entities, by its first line; `entity_ids` reads the others.

    Raises:
        ValueError: it is missing, empty or of another form.
    """
    if next(_entities(path), None) is None:
        raise ValueError(f"{path}: no entity in it; data/README.md says which file has OVEN's")


def _by_title(answers: Collection[str], path: Path) -> dict[str, str]:
    wanted: dict[str, list[str]] = {}
    for answer in answers:
        wanted.setdefault(_plain(answer), []).append(answer)
    found: dict[str, str] = {}
    for id, title in _entities(path):
        for answer in wanted.get(_plain(title), ()):
            if answer == title:
                found[answer] = id
            else:
                found.setdefault(answer, id)
    return found


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _by_words(answers: Collection[str], path: Path) -> dict[str, str]:
    if not answers:
        return {}
    best = zip(answers, _index(path).search([*answers], 1), strict=True)
    rows = {answer: hits[0].row for answer, hits in best if hits}
    wanted = set(rows.values())
    ids = {row: id for row, (id, _) in enumerate(_entities(path)) if row in wanted}
    return {answer: ids[row] for answer, row in rows.items()}


@lru_cache(maxsize=1)  # of six million titles it takes minutes
def _index(path: Path) -> LexicalIndex:
    return LexicalIndex.build(title for _, title in _entities(path))


def _entities(path: Path) -> Iterator[tuple[str, str]]:
    """Ids and titles, line by line."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; data/README.md says which has OVEN's entities")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}:{number}"
            try:
                record = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise ValueError(f"{where}: not JSON ({error}); mend the line") from error
            require(record, where=where)
            fields = next((fields for fields in _FIELDS if fields[0] in record), _FIELDS[0])
            require(record, *fields, where=where)
            yield record[fields[0]], record[fields[1]]
