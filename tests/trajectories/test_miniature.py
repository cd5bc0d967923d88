"""The same pipeline on the miniature world: its own builder writes the same trajectories."""

from pathlib import Path
from typing import Any

import pytest

from pixsearch.chat import Searched
from pixsearch.config import BuildOptions, MiniatureOptions, QueryType
from pixsearch.datasets.files import JsonLines
from pixsearch.datasets.trajectories import load
from pixsearch.miniature.foundation.assembly import assemble
from pixsearch.miniature.teaching import miniature_parts
from pixsearch.miniature.templates import DONT_KNOW
from pixsearch.miniature.trajectories import build_trajectories as build_own
from pixsearch.miniature.world import build_world
from pixsearch.retrieval.build import build_indexes
from pixsearch.trajectories.build import build_trajectories
from tests.test_configs import composed

pytestmark = pytest.mark.slow

SEED = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world with its own trajectories, and those of the pipeline."""
    folder = tmp_path_factory.mktemp("miniature")
    build_world(
        MiniatureOptions(
            root=str(folder / "world"),
            seed=SEED,
            num_train_scenes=60,
            num_eval_scenes=4,
            num_entities=150,
        )
    )
    assemble(Path("assets/miniature"), folder / "parts")
    paths = f"paths.miniature={folder}"
    own = composed("build_miniature_trajectories", paths, f"miniature.seed={SEED}")
    build_indexes(own.retrieval, BuildOptions(), progress=False)
    build_own(own)
    options = composed("build_trajectories", "building=miniature", paths)
    build_trajectories(options, miniature_parts(options))
    return folder


def lines(path: Path) -> dict[str, dict[str, Any]]:
    return {line["id"].removeprefix("miniature/"): line for line in JsonLines(path)}


def test_each_plain_question_has_the_same_trajectory(folder: Path) -> None:
    """Searches, evidence, masks, answer and pixels; forced and misled drafts are its own alone."""
    own = lines(folder / "world" / "trajectories" / "train.jsonl")
    built = lines(folder / "built_trajectories" / "train.jsonl")
    questions = lines(folder / "world" / "questions" / "train.jsonl")
    assert built.keys() == questions.keys()
    for id, line in built.items():
        assert (line["messages"], line["masks"]) == (own[id]["messages"], own[id]["masks"]), id
    assert not (folder / "built_trajectories" / "quarantine.jsonl").read_text()


def test_the_world_shows_all_that_the_pipeline_does(folder: Path) -> None:
    examples = load(folder / "built_trajectories", "train")
    answers = [example.conversation.messages[-1].parts for example in examples]
    searches = [part for parts in answers for part in parts if isinstance(part, Searched)]
    assert {search.type for search in searches} == set(QueryType)
    assert any(len(parts) == 1 for parts in answers)  # without a search
    assert any(parts[-1].text == DONT_KNOW for parts in answers)
    own = {each.id: each for each in load(folder / "world" / "trajectories", "train")}
    example = next(each for each in examples if each.load_image is not None)
    twin = own[example.id.removeprefix("miniature/")]
    assert example.load_image().tobytes() == twin.load_image().tobytes()
