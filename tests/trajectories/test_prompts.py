"""The examples in the prompts are what the requests send and what the stages read."""

import json

import pytest
from PIL import Image

from pixsearch.config import BuildStage
from pixsearch.datasets.questions.question import AnnotatedQuestion
from pixsearch.endpoint.schema import check
from pixsearch.trajectories import agreement
from pixsearch.trajectories.checks import faults_of
from pixsearch.trajectories.records import PlannedQuery, SubQuestion
from pixsearch.trajectories.stages import assign, choose, decompose, respond, retrieve, select
from pixsearch.trajectories.stages.assign import _read as read_assigned
from pixsearch.trajectories.stages.respond import _response, read_responses
from pixsearch.trajectories.teacher.prompts import read_prompts
from pixsearch.trajectories.teacher.tasks import Task

SCHEMAS = {
    Task.select: select.SCHEMA,
    Task.decompose: decompose.SCHEMA,
    Task.respond: respond.SCHEMA,
    Task.refine: respond.SCHEMA,
    Task.check: agreement.SCHEMA,
    Task.choose: choose.SCHEMA,
    Task.assign: assign.SCHEMA,
    Task.judge: retrieve.SCHEMA,
}


def examples(task: Task) -> list[tuple[dict, dict]]:
    text = read_prompts()[task].text.partition("## Example")[2]
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return list(zip(lines[::2], lines[1::2], strict=True))


@pytest.mark.parametrize("task", Task)
def test_examples_fit_the_schema(task: Task) -> None:
    assert examples(task)
    for sent, answer in examples(task):
        assert {"question", "has_image"} <= sent.keys()
        check(answer, SCHEMAS[task])


@pytest.mark.parametrize("task", [Task.respond, Task.refine])
def test_example_responses_are_without_fault(task: Task) -> None:
    for sent, answer in examples(task):
        sub_questions = [SubQuestion(**each) for each in sent["sub_questions"]]
        count = sent.get("num_responses") or len(sent["responses"])
        question = AnnotatedQuestion(
            id="1", question=sent["question"], answers=tuple(sent["accepted_answers"])
        )
        for response in read_responses(answer, count=count, sub_questions=sub_questions):
            assert faults_of(response, sub_questions, question, most_words=4) == []


def test_example_assignments_can_be_read() -> None:
    for sent, answer in examples(Task.assign):
        segments = [{"words": each["words_before"], "sub_question": 1} for each in sent["searches"]]
        response = _response({"segments": segments, "answer": "x"})
        question = AnnotatedQuestion(
            id="1",
            question=sent["question"],
            answers=tuple(sent["accepted_answers"]),
            load_image=(lambda: Image.new("RGB", (2, 2))) if sent["has_image"] else None,
        )
        queries = read_assigned(
            answer, response=response, question=question, most=sent["max_texts"]
        )
        assert all(isinstance(query, PlannedQuery) for query in queries)


def test_every_stage_that_asks_has_its_prompts_in_its_manifest() -> None:
    from pixsearch.trajectories.stages import STAGES

    assert sorted(task for stage in STAGES for task in stage.tasks) == sorted(Task)
    assert [stage.name for stage in STAGES] == list(BuildStage)[:-1]
