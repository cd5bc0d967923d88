"""Tiny training runs: a world of a few drawn squares, the tiny model's parts, and the options."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image

from pixsearch.chat import Conversation, Grounded, Message, Part, Role, Searched, Text
from pixsearch.config import (
    DataOptions,
    DatasetOptions,
    OptimOptions,
    QueryType,
    RunOptions,
    StageOptions,
    TrainablePart,
    TrainableTokens,
    TrainOptions,
    from_omegaconf,
    to_dict,
)
from pixsearch.datasets.masks import encode_rle
from pixsearch.datasets.trajectories import StoredTrajectory, write_trajectories
from pixsearch.queries import Passage
from tests.tiny import write_tiny_parts

REPOSITORY = Path(__file__).parents[2]
SIDE = 32  # pixels
PARTS = [
    TrainablePart.projector,
    TrainablePart.language_model,
    TrainablePart.tokens,
    TrainablePart.grounding,
    TrainablePart.mask_decoder,
]


def write_world(root: Path, *, num_examples: int = 24) -> None:
    """Squares to ground and to search by; every third conversation has no image."""
    generator = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    trajectories = []
    for index in range(num_examples):
        if index % 3 == 2:
            trajectories.append(_without_image(index))
            continue
        left, top = generator.integers(0, SIDE // 2, size=2)
        mask = np.zeros((SIDE, SIDE), dtype=bool)
        mask[top : top + SIDE // 2, left : left + SIDE // 2] = True
        pixels = np.where(mask[..., None], generator.integers(0, 256, size=3), 128)
        name = f"{index}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(root / "images" / name)
        trajectories.append(_with_image(index, name, mask))
    write_trajectories(root / "train.jsonl", trajectories)


def tiny_options(folder: Path, *, tied: bool = False, **stage: Any) -> TrainOptions:
    """Write a world and the tiny model's parts under `folder`; the options of a short run."""
    write_world(folder / "world")
    return TrainOptions(
        model=write_tiny_parts(folder / "parts", tied=tied),
        stage=StageOptions(
            **{
                "name": "tiny",
                "steps": 4,
                "trainable": PARTS,
                "trainable_tokens": TrainableTokens.all,
                "mixture": {"squares": 1.0},
                "batch_size": 2,
                "accumulation": 1,
                "optim": OptimOptions(lr=2e-3, warmup_steps=2),
            }
            | stage
        ),
        data=DataOptions(
            sources={"squares": DatasetOptions(reader="trajectories", root=str(folder / "world"))}
        ),
        run=RunOptions(output_dir=str(folder / "run"), save_every=2, evaluate_every=2, held_out=2),
    )


def metrics(options: TrainOptions) -> list[dict[str, Any]]:
    """The lines of a run's metrics file, without those figures that are a matter of time."""
    lines = (Path(options.run.output_dir) / "metrics.jsonl").read_text().splitlines()
    parsed = [json.loads(line) for line in lines]
    return [{k: v for k, v in line.items() if k != "tokens_per_second"} for line in parsed]


def write_options(options: TrainOptions) -> Path:
    """Where another process finds the options of a run."""
    options_file = Path(options.run.output_dir).with_suffix(".json")
    options_file.write_text(json.dumps(to_dict(options)))
    return options_file


@contextmanager
def started(
    options: TrainOptions, *, launcher: tuple[str, ...] = ()
) -> Iterator["subprocess.Popen[str]"]:
    """Run `fit` in a process of its own, or in as many as the launcher starts.

    With as many threads as here, so that sums are taken in the same order.
    """
    options_file = write_options(options)
    command = [sys.executable, *launcher, "-m", "tests.training.runs", str(options_file)]
    threads = str(torch.get_num_threads())
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": threads}
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            kill(process)  # it is there if the test gave up on it


def kill(process: "subprocess.Popen[str]") -> None:
    """SIGKILL a launcher and the processes it started, which are in sessions of their own."""
    with suppress(psutil.NoSuchProcess):
        launcher = psutil.Process(process.pid)
        for one in (*launcher.children(recursive=True), launcher):
            with suppress(psutil.NoSuchProcess):
                one.kill()


def main(options_file: str) -> None:
    from pixsearch.training import fit

    fit(from_omegaconf(TrainOptions, json.loads(Path(options_file).read_text())))


def _with_image(index: int, name: str, mask: np.ndarray) -> StoredTrajectory:
    search = Searched(type=QueryType.region, passages=(_passage(index),))
    answer = (Text(text="It is"), Grounded(phrase="the square"), search, Text(text=f"S{index}"))
    return StoredTrajectory(
        id=f"square-{index}",
        conversation=_conversation("What is this?", answer, has_image=True),
        image=name,
        masks=(encode_rle(mask),),
    )


def _without_image(index: int) -> StoredTrajectory:
    answer = (Text(text="I don't know. " * (1 + index % 4)),)
    return StoredTrajectory(
        id=f"words-{index}",
        conversation=_conversation(f"Where is {index}?", answer, has_image=False),
    )


def _passage(index: int) -> Passage:
    return Passage(
        id=f"p{index}",
        title=f"S{index}",
        text=f"The square S{index} is made in Tarnwick.",
        score=1.0,
    )


def _conversation(question: str, answer: tuple[Part, ...], *, has_image: bool) -> Conversation:
    messages = (
        Message(role=Role.USER, parts=(Text(text=question),)),
        Message(role=Role.ASSISTANT, parts=answer),
    )
    return Conversation(messages=messages, has_image=has_image)


if __name__ == "__main__":
    main(sys.argv[1])
