"""Stage 2 at several mixtures from one stage 1: steps of `demo.py experiment=miniature_mix`."""

import re
from collections.abc import Mapping
from dataclasses import replace

from pixsearch.config import DemoOptions, MakeTableOptions
from pixsearch.miniature.overrides import override, to_overrides
from pixsearch.miniature.steps import Arguments, Step, stage_2

SEARCHING = "trajectories"  # the set of stage 2; the others are those of stage 1


def mixture_steps(options: DemoOptions, common: Arguments) -> list[Step]:
    """Each mixture trained and evaluated, stage 1 evaluated for comparison; then one table.

    The mixture that the demo has lies where the demo puts it, so that it is trained once.

    Raises:
        ValueError: a mixture is not written like 7to9.
    """
    run = options.paths.miniature
    folders = {"stage_1": f"{run}/mixtures/stage_1"}
    steps = [_evaluation(common, f"{run}/ground", folders["stage_1"], "no_search", "stage 1")]
    for name in options.mixtures:
        mixture = mixture_at(name, options.search.mixture)
        place = run if mixture == options.search.mixture else f"{run}/mixtures/{name}"
        search, folders[name] = f"{place}/search", f"{place}/evaluation"
        stage = replace(options.search, mixture=mixture)
        steps.append(stage_2(stage, common, [override("run.output_dir", search)], name=name))
        steps.append(_evaluation(common, search, folders[name], "full", name))
    return [*steps, _table(folders, f"{run}/mixtures")]


def mixture_at(name: str, mixture: Mapping[str, float]) -> dict[str, float]:
    """The mixture with its samples of stage 1 to those of stage 2 as the name says.

    >>> mixture_at("1to9", {"refcoco": 4.0, "llava": 3.0, "trajectories": 9.0})
    {'refcoco': 4.0, 'llava': 3.0, 'trajectories': 63.0}
    """
    ratio = re.fullmatch(r"([1-9]\d*)to([1-9]\d*)", name)
    if ratio is None:
        raise ValueError(f"mixtures: {name!r} is none; write 7to9 for seven to nine")
    earlier, later = map(int, ratio.groups())
    others = {key: weight for key, weight in mixture.items() if key != SEARCHING}
    return {**others, SEARCHING: round(sum(others.values()) * later / earlier, 6)}


def _evaluation(common: Arguments, run: str, output: str, policy: str, name: str) -> Step:
    """Of the final checkpoint of a training run."""
    arguments = [
        f"policy={policy}",
        *common.scored,
        override("checkpoint", f"{run}/final"),
        override("output_dir", output),
    ]
    return Step(name=f"evaluation: {name}", script="evaluate.py", arguments=arguments)


def _table(folders: Mapping[str, str], output: str) -> Step:
    asked = MakeTableOptions(
        table="mixtures",
        runs=[f"{name}:{folder}" for name, folder in folders.items()],
        output_dir=output,
    )
    lines = to_overrides("asked", asked, but=("paths",))
    arguments = [line.removeprefix("asked.") for line in lines]
    return Step(name="table", script="make_table.py", arguments=arguments)
