"""HotpotQA 1.1: questions that need two articles of Wikipedia; no images.

Layout under `root`: `hotpot_train_v1.1.json` and `hotpot_<split>_v1.json` as its authors have them,
or the hub's `distractor/…` and `fullwiki/<split>-*.parquet`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pixsearch.datasets.files import require
from pixsearch.datasets.questions.question import AnnotatedQuestion, OfficialFields
from pixsearch.datasets.questions.records import LazyQuestions, questions_of_records
from pixsearch.datasets.questions.releases import HubRelease, Rows, files_of

HUB = HubRelease(
    repository="hotpotqa/hotpot_qa",
    revision="1908d6afbbead072334abe2965f91bd2709910ab",
    files={
        "train": "distractor/train-*.parquet",
        "dev_distractor": "distractor/validation-*.parquet",
        "dev_fullwiki": "fullwiki/validation-*.parquet",
        "test_fullwiki": "fullwiki/test-*.parquet",
    },
)
_FILES = {
    "train": "hotpot_train_v1.1.json",
    "dev_distractor": "hotpot_dev_distractor_v1.json",
    "dev_fullwiki": "hotpot_dev_fullwiki_v1.json",
    "test_fullwiki": "hotpot_test_fullwiki_v1.json",
}
_WITHHELD = ("test_fullwiki",)
_ANSWERED = ("answer", "type", "level", "supporting_facts", "context")


def load(root: Path, split: str) -> LazyQuestions:
    """The questions in the file's order; of the articles given to each, the supporting facts alone.

    `supporting` are titles. A fact is in `evidence` where its article is among the given ones,
    which is not sure in dev_fullwiki.

    Args:
        split: train, dev_distractor, dev_fullwiki (the same questions with other articles), or
            test_fullwiki, whose answers are withheld.

    Raises:
        ValueError: the file is missing or broken, or there is no such split.
    """
    if split not in _FILES:
        raise ValueError(f"HotpotQA has no split {split!r}; there are: {', '.join(_FILES)}")
    rows = Rows(files_of(root, split, root / _FILES[split], HUB), keep=_light)
    answered = () if split in _WITHHELD else ("answer", "type", "level")
    return questions_of_records(
        rows,
        _question,
        id_field="id",
        fields=("question", *answered, "supporting", "evidence"),
        where=rows.where,
        files=rows.paths,
    )


def _light(record: Any, where: str) -> dict[str, Any]:
    """A record without the articles, the official file's and the hub's in one form."""
    require(record, "question", where=where)
    kept = {name: record[name] for name in ("id", "question", *_ANSWERED[:3]) if name in record}
    if "_id" in record:
        kept["id"] = record["_id"]
    try:
        facts = [*_facts(record)]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{where}: not of the official form ({error!r}); mend or fetch it again"
        ) from error
    kept["supporting"] = [*dict.fromkeys(title for title, _ in facts)]
    kept["evidence"] = [text.strip() for _, text in facts if text is not None]
    return kept


def _facts(record: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Each supporting fact's title, and its sentence where it is given."""
    articles = dict(_pairs(record.get("context") or [], "title", "sentences"))
    for title, number in _pairs(record.get("supporting_facts") or [], "title", "sent_id"):
        sentences = articles.get(title, ())
        yield title, sentences[number] if number < len(sentences) else None


def _pairs(value: Any, *columns: str) -> Iterator[tuple[Any, Any]]:
    """Pairs of the official file's lists; the hub keeps them as two columns."""
    if isinstance(value, dict):
        return zip(*(value[column] for column in columns), strict=True)
    return ((first, second) for first, second in value)


def _question(record: dict[str, Any], where: str) -> AnnotatedQuestion:
    labels = [(label, record[label]) for label in ("type", "level") if record.get(label)]
    return AnnotatedQuestion(
        id=record["id"],
        question=record["question"],
        answers=(record["answer"],) if record.get("answer") else (),
        supporting=tuple(record["supporting"]),
        labels=tuple(labels),
        official=OfficialFields(evidence=tuple(record["evidence"])),
    )
