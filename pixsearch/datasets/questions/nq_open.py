"""NQ-open: questions that people asked Google, with short answers of Wikipedia; no images.

Layout under `root`: `NQ-open.<split>.jsonl` as its authors have it, or the hub's
`nq_open/<split>-*.parquet`.
"""

from pathlib import Path
from typing import Any

from pixsearch.datasets.questions.question import AnnotatedQuestion
from pixsearch.datasets.questions.records import LazyQuestions, questions_of_records
from pixsearch.datasets.questions.releases import HubRelease, Rows, files_of

HUB = HubRelease(
    repository="google-research-datasets/nq_open",
    revision="5dd9790a83002ad084ddeb7c420dc716852c6f28",
    files={"train": "nq_open/train-*.parquet", "dev": "nq_open/validation-*.parquet"},
)


def load(root: Path, split: str) -> LazyQuestions:
    """The questions in the file's order, by which they are numbered: they have no ids.

    Args:
        split: train or dev, which the hub calls validation; efficientqa.dev.1.1 if its file is
            there.

    Raises:
        ValueError: the file is missing or broken.
    """
    rows = Rows(files_of(root, split, root / f"NQ-open.{split}.jsonl", HUB))
    return questions_of_records(
        [_numbered(record, f"{split}-{row}") for row, record in enumerate(rows)],
        _question,
        id_field="id",
        fields=("question", "answer"),
        where=rows.where,
        files=rows.paths,
    )


def _numbered(record: Any, id: str) -> Any:
    return record | {"id": id} if isinstance(record, dict) else record


def _question(record: dict[str, Any], where: str) -> AnnotatedQuestion:
    return AnnotatedQuestion(
        id=record["id"], question=record["question"], answers=tuple(record["answer"])
    )
