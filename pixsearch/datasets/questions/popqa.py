"""PopQA: questions of one fact of Wikidata each, of subjects known and unknown; no images.

Layout under `root`: `popQA.tsv` of the authors' repository, or the hub's `test.tsv`.
"""

import json
from pathlib import Path
from typing import Any

from pixsearch.datasets.questions.question import AnnotatedQuestion
from pixsearch.datasets.questions.records import LazyQuestions, questions_of_records
from pixsearch.datasets.questions.releases import HubRelease, Rows, files_of

HUB = HubRelease(
    repository="akariasai/PopQA",
    revision="098765c79ea10a2cb19c828324e33281b8336ec0",
    files={"test": "test.tsv"},
)


def load(root: Path, split: str) -> LazyQuestions:
    """The questions in the file's order.

    `entity_id` is the subject's address in Wikidata, the label `prop` the relation asked for.

    Args:
        split: test, the only one.

    Raises:
        ValueError: the file is missing or broken, or there is no such split.
    """
    if split not in HUB.files:
        raise ValueError(f"PopQA has no split {split!r}; there is: test")
    rows = Rows(files_of(root, split, root / "popQA.tsv", HUB))
    return questions_of_records(
        rows,
        _question,
        id_field="id",
        fields=("question", "possible_answers", "prop", "s_uri", "s_wiki_title"),
        where=rows.where,
        files=rows.paths,
    )


def _question(record: dict[str, Any], where: str) -> AnnotatedQuestion:
    title = record["s_wiki_title"]
    return AnnotatedQuestion(
        id=record["id"],
        question=record["question"],
        answers=_answers(record["possible_answers"], where),
        entity_id=record["s_uri"] or None,
        supporting=(title,) if title else (),
        labels=(("prop", record["prop"]),),
    )


def _answers(text: str, where: str) -> tuple[str, ...]:
    """The column `possible_answers`: a list in JSON."""
    try:
        answers = json.loads(text)
    except (json.JSONDecodeError, TypeError) as error:
        raise ValueError(f"{where}: possible_answers is no JSON ({error}); mend it") from error
    return tuple(answers)
