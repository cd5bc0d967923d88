"""The miniature's stage-2 data: made as the demo makes it, from a small world."""

from pathlib import Path

import pytest

from pixsearch.datasets.files import JsonLines
from pixsearch.miniature.foundation.assembly import assemble
from pixsearch.miniature.templates import DONT_KNOW
from pixsearch.miniature.trajectories import build_trajectories
from pixsearch.miniature.world import build_world
from pixsearch.retrieval.build import build_indexes
from tests.test_configs import composed

SMALL = (
    "miniature.seed=3",
    "miniature.num_train_scenes=24",
    "miniature.num_eval_scenes=6",
    "miniature.num_entities=60",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run: world, index of the training entities, trajectories."""
    folder = tmp_path_factory.mktemp("trajectories")
    paths = f"paths.miniature={folder}"
    world = composed("build_world", paths, *SMALL)
    build_world(world.miniature)
    assemble(Path(world.paths.foundation), folder / "parts")
    options = composed("build_miniature_trajectories", paths, *SMALL)
    build_indexes(options.retrieval, progress=False)
    build_trajectories(options)
    return folder


def test_trajectories_end_with_what_their_evidence_says(root: Path) -> None:
    world = root / "world"
    questions = {each["id"]: each for each in JsonLines(world / "questions" / "train.jsonl")}
    evaluated = {each["id"] for each in JsonLines(world / "knowledge_base" / "corpus.jsonl")}
    evaluated -= {each["id"] for each in JsonLines(world / "knowledge_base_train" / "corpus.jsonl")}
    num_forced = num_beside_label = 0
    for trajectory in JsonLines(world / "trajectories" / "train.jsonl"):
        name = trajectory["id"].removesuffix("-misled").removesuffix("-beside-label")
        question = questions[name.split("-forced-")[0]]
        parts = trajectory["messages"][-1]["parts"]
        searches = [part["search"] for part in parts if "search" in part]
        found = [{passage["id"] for passage in search["passages"]} for search in searches]
        is_forced = "-forced-" in trajectory["id"]
        assert all(search["supervised"] is not is_forced for search in searches)
        assert evaluated.isdisjoint(set().union(*found))
        wanted = [step["entity_id"] for step in question["steps"]]
        if not is_forced:
            supported = [id in ids for id, ids in zip(wanted, found, strict=False)]
            assert all(supported[:-1])  # it ends at the first search that brings nothing
            is_whole = len(found) == len(wanted) and all(supported)
            assert parts[-1]["text"] == (question["answer"] if is_whole else DONT_KNOW)
        num_forced += is_forced
        num_beside_label += trajectory["id"].endswith("-beside-label")
    assert num_forced > 0
    assert num_beside_label > 0


def test_forced_searches_of_cluttered_pictures_occur_several_times(root: Path) -> None:
    """In the searcher's order where they are needed, with anything at all where they are not."""
    world = root / "world"
    questions = {each["id"]: each for each in JsonLines(world / "questions" / "train.jsonl")}
    orders: dict[str, list[list[str]]] = {}
    for trajectory in JsonLines(world / "trajectories" / "train.jsonl"):
        question, _, _ = trajectory["id"].rpartition("-forced-image-")
        if question:
            search = next(p["search"] for p in trajectory["messages"][-1]["parts"] if "search" in p)
            ids = [passage["id"] for passage in search["passages"]]
            orders.setdefault(question, []).append(ids)
    repeated = {name: each for name, each in orders.items() if len(each) > 1}
    needed = {name for name in repeated if questions[name]["steps"]}
    assert needed
    assert len(needed) < len(repeated)
    for name, each in repeated.items():
        assert all(ids == each[0] for ids in each) == (name in needed)
