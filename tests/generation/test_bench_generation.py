"""The generation benchmark: all sides do the same work, and its arithmetic is right."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pixsearch.config import BenchGenerationOptions, BenchSide
from pixsearch.generation.bench.compare import compare
from pixsearch.generation.bench.ours import run_ours
from pixsearch.generation.bench.restart import run_restart
from pixsearch.generation.bench.subject import ForcedTrajectory, build_model, make_trajectories
from pixsearch.generation.bench.theory import (
    Costs,
    barrier_wait,
    kept_flops,
    no_cache_flops,
    restart_flops,
)
from pixsearch.model import PixSearch

TINY = BenchGenerationOptions(
    subjects=["tiny-fp32"],
    slow_subject="tiny-fp32",
    repeats=1,
    num_trajectories=3,
    batch_size=2,
    prompt_tokens=650,
    evidence_tokens=20,
    generated_tokens=40,
    short_trajectories=1,
    short_generated_tokens=10,
    slow_trajectories=3,
    retriever_seconds=0.001,
)
COSTS = Costs(weights=10, layers=0, width=0, tower=7.0)


@pytest.fixture(scope="module")
def subject() -> PixSearch:
    return build_model("tiny", "fp32", device="cpu", seed=0)


@pytest.fixture(scope="module")
def trajectories(subject: PixSearch) -> list[ForcedTrajectory]:
    return make_trajectories(subject, TINY, number=3)


def test_trajectories_are_as_asked_for(
    subject: PixSearch, trajectories: list[ForcedTrajectory]
) -> None:
    for each in trajectories:
        assert len(each.prompt_ids) == 650
        assert each.prompt_ids.count(subject.config.ids.image) == 576
        assert len(each.sampled_ids) == 40
        assert each.num_tokens == 650 + 40 + 3 * 20
    places = [tuple(map(len, each.segments)) for each in trajectories]
    assert len(set(places)) == 3, "searches at places of their own"
    assert len({each.image.tobytes() for each in trajectories}) == 3


def test_each_token_is_processed_once_by_ours(
    subject: PixSearch, trajectories: list[ForcedTrajectory]
) -> None:
    stats = run_ours(subject, trajectories, batch_size=2).stats
    processed = sum(each.num_tokens - 1 for each in trajectories)  # what follows the end is unasked
    assert stats.processed_tokens == processed
    assert stats.vision_encodes == 3


def test_both_sides_refuse_other_ids(
    subject: PixSearch, trajectories: list[ForcedTrajectory]
) -> None:
    first = trajectories[0]
    other_evidence = replace(first, evidence_ids=[*first.evidence_ids[:-1], first.prompt_ids[0]])
    with pytest.raises(AssertionError, match="not as forced"):
        run_ours(subject, [other_evidence], batch_size=1)
    end = subject.config.ids.end
    ends_early = replace(first, segments=((end, end, end),))
    with pytest.raises(AssertionError, match="not as forced"):
        run_restart(subject, [ends_early], batch_size=1)


def test_arithmetic_by_hand(trajectories: list[ForcedTrajectory]) -> None:
    one = replace(
        trajectories[0], prompt_ids=[1] * 5, segments=((2, 2), (3,)), evidence_ids=[4] * 4
    )
    # 5 prompt + 2 sampled + 4 evidence + 1 sampled, 20 FLOPs each
    assert kept_flops(COSTS, [one]) == 7 + 20 * 12
    assert restart_flops(COSTS, [one]) == (7 + 20 * 7) + (7 + 20 * 12)
    assert no_cache_flops(COSTS, [one]) == 3 * 7 + 20 * (5 + 6 + 11)
    assert barrier_wait([one] * 5, batch_size=2, delay=0.5) == 3 * 1 * 0.5


@pytest.mark.slow
def test_figures_stand_beside_their_theory(tmp_path: Path) -> None:
    sides = [BenchSide.restart, BenchSide.no_cache, BenchSide.slow]
    result = compare(replace(TINY, sides=sides, output=str(tmp_path / "generation.json")))
    assert json.loads((tmp_path / "generation.json").read_text())["torch"] == result["torch"]
    for name in ("speedup_vs_restart", "speedup_vs_no_cache", "slow_retriever_cost"):
        assert {name, f"{name}_theoretical"} <= set(result)
    assert result["speedup_vs_no_cache_theoretical"] > result["speedup_vs_restart_theoretical"] > 1


@pytest.mark.slow
def test_transformers_continuous_batching_runs_on_text(tmp_path: Path) -> None:
    options = replace(TINY, prompt_tokens=60, sides=[BenchSide.continuous])
    with pytest.raises(ValueError, match="prompt_tokens=60"):  # an image takes 576
        compare(options)
    result = compare(replace(TINY, sides=[BenchSide.continuous], output=str(tmp_path / "g.json")))
    assert result["speedup_vs_continuous"] > 0
