"""What the demo is made of: calls of the project's scripts, and the arguments that they share."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pixsearch.config import OF_ONE_POLICY, DemoOptions, StageOptions
from pixsearch.miniature.overrides import to_overrides

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
OF_ONE_KNOWLEDGE_BASE = ("knowledge_base", "index")
DATASETS = ("refcoco", "llava", "trajectories")  # those of configs/data/miniature.yaml


@dataclass(frozen=True, kw_only=True)
class Step:
    """One call of a script."""

    name: str
    script: str
    arguments: Sequence[str]

    @property
    def command(self) -> list[str]:
        return [sys.executable, str(SCRIPTS / self.script), *self.arguments]


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What several steps are given alike.

    Attributes:
        train: of both stages.
        scored: of whatever looks at answers.
    """

    paths: Sequence[str]
    world: Sequence[str]
    retrieval: Sequence[str]
    policy: Sequence[str]
    train: Sequence[str]
    scored: Sequence[str]

    @classmethod
    def of(cls, options: DemoOptions) -> "Arguments":
        paths = to_overrides("paths", options.paths)
        retrieval = to_overrides("retrieval", options.retrieval, but=OF_ONE_KNOWLEDGE_BASE)
        policy = to_overrides("policy", options.policy, but=OF_ONE_POLICY)
        return cls(
            paths=paths,
            world=to_overrides("miniature", options.miniature),
            retrieval=retrieval,
            policy=policy,
            train=[
                "experiment=miniature",
                *paths,
                *to_overrides("model", options.model),
                *to_overrides("run", options.run, but=("output_dir",)),
                *retrieval,
            ],
            scored=[
                "benchmark=miniature",
                f"answer={options.answer}",
                *paths,
                *to_overrides("benchmark", options.benchmark),
                *to_overrides("generation", options.generation),
                *retrieval,
                *policy,
            ],
        )


def stage_2(
    stage: StageOptions, common: Arguments, more: Sequence[str] = (), *, name: str = "search"
) -> Step:
    arguments = ["stage=search", *common.train, *to_overrides("stage", all_named(stage)), *more]
    return Step(name=f"stage 2: {name}", script="train.py", arguments=arguments)


def all_named(stage: StageOptions) -> StageOptions:
    """With weight 0 for what the mixture leaves out, lest the script's own YAML brings it back."""
    return replace(stage, mixture=dict.fromkeys(DATASETS, 0.0) | stage.mixture)
