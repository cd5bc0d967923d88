"""What a language model is asked as a judge: our own words, and no word of who answered."""

from pathlib import Path
from typing import Any

from pixsearch.endpoint.prompts import Prompt, read_prompt
from pixsearch.endpoint.schema import TEXT, choice, record
from pixsearch.evaluation.judging.cases import Case
from pixsearch.evaluation.judging.judge import Ruling
from pixsearch.evaluation.verdicts import JudgeVerdict

OWN = Path(__file__).with_name("prompts") / "verdict_v1.md"

WORDS = {"correct": JudgeVerdict.correct, "wrong": JudgeVerdict.hallucination}
"""What a judge may say. `missing` is settled by the benchmark's test for "I don't know" alone."""

SCHEMA = record(reason=TEXT, verdict=choice(list(WORDS)))


def judge_prompt(path: str | None) -> Prompt:
    """The project's prompt, or the one in a file.

    Raises:
        ValueError: there is no such file.
    """
    return read_prompt(Path(path) if path else OWN, example=OWN)


def fields_of(case: Case) -> dict[str, Any]:
    """What a judge sees of a case: as the official scorers, without image and earlier turns."""
    first, *others = case.references
    fields: dict[str, Any] = {"question": case.question, "reference": first}
    if others:
        fields["other_references"] = others
    return {**fields, "answer": case.answer}


def read_ruling(answer: dict[str, Any], judge: str) -> Ruling:
    """Of an answer that fits the schema."""
    return Ruling(verdict=WORDS[answer["verdict"]], by=judge, reason=answer["reason"])
