"""The engine and each other side in turn, within one run: one table, one file."""

import json
import logging
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers

from pixsearch.config import BenchGenerationOptions, BenchSide
from pixsearch.generation.bench.continuous import run_continuous
from pixsearch.generation.bench.ours import run_ours
from pixsearch.generation.bench.restart import run_restart
from pixsearch.generation.bench.subject import (
    ForcedTrajectory,
    build_model,
    make_trajectories,
)
from pixsearch.generation.bench.theory import (
    Costs,
    barrier_wait,
    costs_of,
    kept_flops,
    no_cache_flops,
    restart_flops,
    tower_share,
)
from pixsearch.model.pixsearch import PixSearch

logger = logging.getLogger(__name__)

HEADLINES = {
    BenchSide.restart: "speedup_vs_restart",
    BenchSide.single: "speedup_vs_single",
    BenchSide.no_cache: "speedup_vs_no_cache",
    BenchSide.continuous: "speedup_vs_continuous",
}


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Seconds of two sides that did the same work in turn.

    Attributes:
        ours, theirs: of each repetition.
        theoretical: their FLOPs over ours.
    """

    ours: list[float]
    theirs: list[float]
    theoretical: float

    @property
    def speedup(self) -> float:
        """
        >>> Contest(ours=[1.0, 2.0, 9.0], theirs=[4.0, 4.0, 4.0], theoretical=2.5).speedup
        2.0
        """
        return statistics.median(self.theirs) / statistics.median(self.ours)

    def as_dict(self) -> dict[str, Any]:
        return {
            "speedup": self.speedup,
            "theoretical": self.theoretical,
            "share_of_theory": self.speedup / self.theoretical,
            "seconds_ours": self.ours,
            "seconds_theirs": self.theirs,
        }


@dataclass(frozen=True, kw_only=True)
class Waits:
    """Seconds of one side beside a retriever that takes no time, and beside a slow one."""

    instant: list[float]
    slow: list[float]

    @property
    def cost(self) -> float:
        """
        >>> Waits(instant=[10.0, 9.0, 10.0], slow=[15.0, 30.0, 15.0]).cost
        0.5
        """
        return statistics.median(self.slow) / statistics.median(self.instant) - 1


def compare(options: BenchGenerationOptions) -> dict[str, Any]:
    """Run what is asked for; what came of it is written after each side, and returned."""
    torch.set_num_threads(options.threads)
    subjects: dict[str, dict[str, Any]] = {}
    for place, subject in enumerate(options.subjects):
        sides = options.sides if place == 0 else [BenchSide.restart]
        for found in _of_subject(subject, sides, options):
            subjects[subject] = found
            result = _result(subjects, options)
            _write(result, Path(options.output))
    for line in _table(result):
        logger.info("%s", line)
    return result


def _of_subject(
    subject: str, sides: Sequence[BenchSide], options: BenchGenerationOptions
) -> Iterator[dict[str, Any]]:
    """What is known of one model before and after each contest, by their names in HEADLINES."""
    model = _model(subject, options)
    trajectories = make_trajectories(model, options, number=options.num_trajectories)
    costs = costs_of(model, trajectories)
    found: dict[str, Any] = {
        "weights": costs.weights,
        "tower_share_of_prefill": tower_share(costs, trajectories[0]),
        "tokens_per_trajectory": trajectories[0].num_tokens,
        "stats_of_one": _warm_up(model, trajectories[0]),
    }
    yield found
    for side in sides:
        logger.info("%s, %s …", subject, side.value)
        if side is BenchSide.slow:
            found["slow_retriever"] = _slow(options)
        else:
            contest = CONTESTS[side](model, trajectories, costs, options)
            found[HEADLINES[side]] = contest.as_dict()
            logger.info("%.2fx (theory %.2fx)", contest.speedup, contest.theoretical)
        yield found


def _warm_up(model: PixSearch, trajectory: ForcedTrajectory) -> dict[str, Any]:
    """Both sides once, on one trajectory; the engine's counts."""
    run_restart(model, [trajectory], batch_size=1)
    return run_ours(model, [trajectory], batch_size=1).stats.as_dict()


def _result(
    subjects: Mapping[str, Mapping[str, Any]], options: BenchGenerationOptions
) -> dict[str, Any]:
    return {
        **_headlines(subjects[options.subjects[0]]),
        "subjects": subjects,
        "options": asdict(options),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _write(result: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2))


def _restart(
    model: PixSearch,
    trajectories: Sequence[ForcedTrajectory],
    costs: Costs,
    options: BenchGenerationOptions,
    *,
    batch_size: int | None = None,
) -> Contest:
    batch_size = batch_size or options.batch_size
    return _contest(
        lambda: run_ours(model, trajectories, batch_size=options.batch_size),
        lambda: run_restart(model, trajectories, batch_size=batch_size),
        repeats=options.repeats,
        theoretical=restart_flops(costs, trajectories) / kept_flops(costs, trajectories),
    )


def _single(
    model: PixSearch,
    trajectories: Sequence[ForcedTrajectory],
    costs: Costs,
    options: BenchGenerationOptions,
) -> Contest:
    """Theory knows of no batches: it is the restart's."""
    return _restart(model, trajectories, costs, options, batch_size=1)


def _no_cache(
    model: PixSearch,
    trajectories: Sequence[ForcedTrajectory],
    costs: Costs,
    options: BenchGenerationOptions,
) -> Contest:
    """A shorter case, since each token of the other side takes a whole forward."""
    short = replace(options, num_searches=1, generated_tokens=options.short_generated_tokens)
    few = make_trajectories(model, short, number=options.short_trajectories)
    return _contest(
        lambda: run_ours(model, few, batch_size=len(few)),
        lambda: run_restart(model, few, batch_size=len(few), use_cache=False),
        repeats=1,
        theoretical=no_cache_flops(costs, few) / kept_flops(costs, few),
    )


def _continuous(
    model: PixSearch,
    trajectories: Sequence[ForcedTrajectory],
    costs: Costs,
    options: BenchGenerationOptions,
) -> Contest:
    """Text alone. With a prefix cache that finds everything, theory sees no difference."""
    texts = make_trajectories(model, options, number=options.num_trajectories, with_image=False)
    return _contest(
        lambda: run_ours(model, texts, batch_size=options.batch_size),
        lambda: run_continuous(model, texts, batch_size=options.batch_size),
        repeats=options.repeats,
        theoretical=1.0,
    )


CONTESTS = {
    BenchSide.restart: _restart,
    BenchSide.single: _single,
    BenchSide.no_cache: _no_cache,
    BenchSide.continuous: _continuous,
}


def _model(subject: str, options: BenchGenerationOptions) -> PixSearch:
    size, dtype = subject.split("-")
    return build_model(size, dtype, device=options.device, seed=options.seed)


def _contest(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    repeats: int,
    theoretical: float,
) -> Contest:
    seconds: list[tuple[float, float]] = [(_timed(ours), _timed(theirs)) for _ in range(repeats)]
    first, second = zip(*seconds, strict=True)
    return Contest(ours=list(first), theirs=list(second), theoretical=theoretical)


def _timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _slow(options: BenchGenerationOptions) -> dict[str, Any]:
    """What a slow retriever costs either side over an instant one, as a share of its time.

    Either side is warm when it is timed, and which retriever comes first changes each time.
    """
    model = _model(options.slow_subject, options)
    many = make_trajectories(model, options, number=options.slow_trajectories)
    batch_size, delay = options.batch_size, options.retriever_seconds
    ours, theirs = [
        _waits(partial(run, model, many, batch_size=batch_size), delay, options.repeats)
        for run in (run_ours, run_restart)
    ]
    waited = barrier_wait(many, batch_size=batch_size, delay=delay)
    return {
        "subject": options.slow_subject,
        "num_slots": batch_size,
        "slow_retriever_cost": ours.cost,
        "theoretical": 0.0,
        "seconds": asdict(ours),
        "restart_cost": theirs.cost,
        "restart_theoretical": waited / statistics.median(theirs.instant),
        "restart_seconds": asdict(theirs),
    }


def _waits(run: Callable[..., object], delay: float, repeats: int) -> Waits:
    run(delay=0.0)
    seconds: dict[float, list[float]] = {0.0: [], delay: []}
    for repeat in range(repeats):
        for wait in sorted(seconds, reverse=repeat % 2 == 1):
            seconds[wait].append(_timed(lambda wait=wait: run(delay=wait)))
    return Waits(instant=seconds[0.0], slow=seconds[delay])


def _headlines(subject: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of the first subject, each with its theoretical value."""
    found: dict[str, Any] = {}
    for name in HEADLINES.values():
        if name in subject:
            found[name] = subject[name]["speedup"]
            found[f"{name}_theoretical"] = subject[name]["theoretical"]
    if "slow_retriever" in subject:
        found["slow_retriever_cost"] = subject["slow_retriever"]["slow_retriever_cost"]
        found["slow_retriever_cost_theoretical"] = subject["slow_retriever"]["theoretical"]
    return found


def _table(result: Mapping[str, Any]) -> Iterator[str]:
    """Lines to be read."""
    for subject, found in result["subjects"].items():
        yield (
            f"{subject}: {found['weights'] / 1e6:.0f} M weights, "
            f"{found['tokens_per_trajectory']} tokens a trajectory, "
            f"vision tower {found['tower_share_of_prefill']:.1%} of prefill FLOPs"
        )
        for name in HEADLINES.values():
            if name in found:
                one = found[name]
                yield (
                    f"  {name:22} {one['speedup']:6.2f}x   theory {one['theoretical']:6.2f}x "
                    f"({one['share_of_theory']:.0%} of it)"
                )
        if "slow_retriever" in found:
            slow = found["slow_retriever"]
            yield (
                f"  slow retriever costs   {slow['slow_retriever_cost']:+.1%}   "
                f"with a barrier {slow['restart_cost']:+.1%} "
                f"(theory {slow['restart_theoretical']:+.1%}), {slow['subject']}"
            )
