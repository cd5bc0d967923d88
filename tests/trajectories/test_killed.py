"""A build that is ended by SIGKILL in the middle of a stage loses at most what is under way."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pixsearch.config import RetrievalOptions, to_dict
from pixsearch.trajectories.build import build_trajectories
from pixsearch.trajectories.running import FOLDER
from tests.chat_server import Act, Asked, ChatServer, serving
from tests.trajectories.toys import build_source, know, options_of, write_questions

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CONCURRENCY = 2  # of toys.options_of
NUM_QUESTIONS = 12


@pytest.fixture(scope="module")
def boats(tmp_path_factory: pytest.TempPathFactory) -> RetrievalOptions:
    return build_source(tmp_path_factory.mktemp("boats"), plain=NUM_QUESTIONS)


def start(root: Path, boats: RetrievalOptions, url: str, output: Path) -> subprocess.Popen[bytes]:
    arguments = {"root": str(root), "retrieval": to_dict(boats), "url": url, "output": str(output)}
    command = [sys.executable, "-m", "tests.trajectories.building", json.dumps(arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})


def kill_when_it_stands_still(process: subprocess.Popen[bytes], server: ChatServer) -> None:
    while not server.stands_still():
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -9


class Pausing(ChatServer):
    """Answers until the nth request of a task; from then on nobody is answered."""

    task, number = "", 0

    def pause_at(self, task: str, number: int) -> None:
        self.task, self.number = task, number
        self.released.clear()
        self.waiting = 0

    def stands_still(self) -> bool:
        return self.waiting == CONCURRENCY

    def answer(self, asked: Asked) -> Act:
        with self.lock:
            self.number -= asked.task == self.task
            if not self.task or self.number >= 0:
                return know(asked)
            self.waiting += 1
        return Act(wait_for=self.released)


def test_kills_in_every_stage_cost_what_was_under_way(tmp_path, boats) -> None:
    root = write_questions(tmp_path / "toy", plain=NUM_QUESTIONS)
    with serving(know) as server:
        build_trajectories(options_of(root, boats, server.url, tmp_path / "whole"))
        expected = Counter((asked.task, json.dumps(asked.body)) for asked in server.asked)
    output = tmp_path / "killed"
    with serving(know, kind=Pausing) as server:
        server.script = server.answer
        for task, number in (("select", 5), ("respond", 3), ("refine", 6), ("judge", 4)):
            server.pause_at(task, number)
            kill_when_it_stands_still(start(root, boats, server.url, output), server)
            server.released.set()
        server.task = ""
        assert start(root, boats, server.url, output).wait(300) == 0
        asked = Counter((asked.task, json.dumps(asked.body)) for asked in server.asked)
    assert asked.keys() == expected.keys()  # nothing was lost
    again = asked - expected
    assert sum(again.values()) == 4 * CONCURRENCY  # those that were under way, and no other
    assert {count for count in again.values()} == {1}
    for name in ("train.jsonl", "quarantine.jsonl"):
        assert (output / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (output / FOLDER / "superseded").exists()
