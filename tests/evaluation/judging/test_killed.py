"""Judging that is ended by SIGKILL loses at most what is under way, and buys nothing twice."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from pixsearch.config import JudgingOptions
from tests.chat_server import Act, Asked, ChatServer, serving
from tests.evaluation.judging.answered import (
    lines_of,
    options_of,
    oracle,
    save,
    verdicts_of,
    write_questions,
)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
NUM_QUESTIONS, NUM_KILLS, CONCURRENCY = 40, 4, 2


class Pausing(ChatServer):
    """Answers so many requests; from then on nobody is answered."""

    def answer_only(self, count: int) -> None:
        self.left, self.waiting, self.hold = count, 0, threading.Event()

    def answer(self, asked: Asked) -> Act:
        with self.lock:
            self.left -= 1
            if self.left >= 0:
                return oracle(asked)
            self.waiting += 1
            return Act(wait_for=self.hold)


def start(options: JudgingOptions) -> subprocess.Popen[bytes]:
    endpoint = options.judge.endpoint
    overrides = [
        "benchmark=crag_mm_single",
        f"benchmark.root={options.benchmark.root}",
        "benchmark.split=validation",
        "benchmark.tokenizer=none",
        f"output_dir={options.output_dir}",
        f"verdict_cache={options.verdict_cache}",
        f"judge.endpoint.url={endpoint.url}",
        f"judge.endpoint.model={endpoint.model}",
        f"judge.endpoint.concurrency={CONCURRENCY}",
    ]
    command = [sys.executable, "scripts/judge.py", *overrides]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"HF_HUB_OFFLINE": "1"})


def test_kills_cost_what_was_under_way(tmp_path: Path) -> None:
    write_questions(tmp_path, NUM_QUESTIONS)
    answers = {f"q{number}": f"It is {number % 7} ." for number in range(NUM_QUESTIONS)}
    with serving(oracle, kind=Pausing) as server:
        server.script = server.answer
        options = options_of(tmp_path, server.url)
        save(options, "full", answers)
        for _ in range(NUM_KILLS):
            server.answer_only(NUM_QUESTIONS // (NUM_KILLS + 1))
            process = start(options)
            while server.waiting < CONCURRENCY:
                assert process.poll() is None, "it ended before it was killed"
                time.sleep(0.02)
            process.kill()
            assert process.wait() == -9
            server.hold.set()
        server.answer_only(NUM_QUESTIONS)
        assert start(options).wait(300) == 0
        asked = Counter(json.dumps(one.fields, sort_keys=True) for one in server.asked)
    assert len(asked) == NUM_QUESTIONS  # nothing was lost
    assert sum(asked.values()) <= NUM_QUESTIONS + NUM_KILLS * CONCURRENCY  # what was under way
    assert len(lines_of(options)) == NUM_QUESTIONS
    verdicts = verdicts_of(options)
    for number in range(NUM_QUESTIONS):
        assert verdicts[f"q{number}"] == ("correct" if number < 7 else "hallucination")
    (kept,) = (tmp_path / "cache").glob("*/verdicts.jsonl")
    assert len(kept.read_text().splitlines()) == NUM_QUESTIONS
