"""What a dry run says of a build that was not run, begun and finished."""

from dataclasses import replace
from pathlib import Path

import pytest

from pixsearch.config import BuildStage, EstimateOptions, RetrievalOptions
from pixsearch.trajectories.build import build_trajectories
from pixsearch.trajectories.estimate import as_table, estimate
from pixsearch.trajectories.sources import Questions
from pixsearch.trajectories.teacher.prompts import read_prompts
from pixsearch.trajectories.teacher.tasks import Task
from tests.chat_server import serving
from tests.trajectories.toys import know, options_of, write_questions


def test_an_estimate_knows_what_is_done(tmp_path: Path, source: RetrievalOptions) -> None:
    root, output = write_questions(tmp_path / "toy"), tmp_path / "built"
    with serving(know) as server:
        options = options_of(root, source, server.url, output)
        options.teacher.input_price, options.teacher.output_price = 2.0, 8.0
        options.estimate = EstimateOptions(search_share=0.5, searches=2.0)
        questions, prompts = Questions(options.sources), read_prompts()
        usage = estimate(questions, options, prompts)
        assert {task: each.requests for task, each in usage.items()} == {
            Task.select: 8,
            **dict.fromkeys((Task.decompose, Task.respond, Task.refine, Task.choose), 4),
            Task.check: 0,
            Task.assign: 4,
            Task.judge: 8,
        }
        prompt = len(prompts[Task.select].text) / 4 * 8
        images = options.teacher.image_tokens * 4  # every second one has an image
        assert prompt + images < usage[Task.select].input_tokens < 1.3 * (prompt + images)
        assert float(as_table(usage, options).split()[-1]) == pytest.approx(
            sum(each.cost(options.teacher) for each in usage.values()), abs=0.01
        )
        build_trajectories(replace(options, until=BuildStage.select))
        begun = estimate(questions, options, prompts)
        assert begun[Task.select].requests == 0
        assert begun[Task.respond].requests == 5  # of 8, as was found out
        build_trajectories(options)
        assert {each.requests for each in estimate(questions, options, prompts).values()} == {0}
