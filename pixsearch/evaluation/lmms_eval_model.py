"""The model `pixsearch` of lmms-eval (extra `lmms-eval`): docs/evaluation.md, "lmms-eval"."""

import os
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from loguru import logger

from pixsearch.evaluation.harness import Harness, HarnessQuestion, read_options
from pixsearch.evaluation.segmentation import in_chunks

BATCHES_PER_CHUNK = 8  # engine batches of questions whose images are held in memory at a time


class PixSearchLmm(lmms):
    """Searches inside its answer, and returns what stands behind the last search.

    `--model_args options=FILE,source=DIGEST,trace=FILE` and any option of the file by its name:
    `policy.max_searches=2`. A task's `until` is obeyed; its other generation arguments are not,
    since `generation` of the file has them. With several processes each writes its own trace.
    """

    is_simple = True

    def __init__(
        self,
        options: str,
        batch_size: int | str | None = None,
        source: str | None = None,
        trace: str | None = None,
        **overrides: Any,
    ) -> None:
        """
        Args:
            options: file with the options of scripts/evaluate.py.
            batch_size: of the engine; lmms-eval's default of 1 leaves it as the file has it.
        """
        super().__init__()
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            self.accelerator = Accelerator()
            self.device = self.accelerator.device  # where the evaluator gathers its counts
            if self.accelerator.device.type != "cpu":
                torch.accelerator.set_device_index(self.accelerator.local_process_index)
            rank = int(os.environ["RANK"])  # on CPUs torchrun's processes are all 0 to accelerate
            trace = trace and f"{trace}.part-{rank:02d}"
        if str(batch_size or 1) != "1":
            overrides["generation.batch_size"] = batch_size
        read = read_options(options, overrides)
        self._harness = Harness.open(read, source=source, trace=trace)
        logger.info("pixsearch searches source={}", self._harness.source)

    def generate_until(self, requests: Sequence[Instance]) -> list[str]:
        """The answer to each request, in their order."""
        answers: list[str] = []
        for chunk in in_chunks(list(requests), BATCHES_PER_CHUNK * self._harness.batch_size):
            answers += self._harness.answers(
                [self._question(place, one) for place, one in enumerate(chunk, len(answers))]
            )
        return answers

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        raise NotImplementedError(
            "pixsearch searches while it writes, so that no likelihood of a given answer is "
            "defined; choose tasks with output_type=generate_until"
        )

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> list[str]:
        raise NotImplementedError(
            "pixsearch answers tasks of one round; choose tasks with output_type=generate_until"
        )

    def _question(self, place: int, request: Instance) -> HarnessQuestion:
        context, arguments, doc_to_visual, doc_id, task, split = request.args
        images = doc_to_visual(self.task_dict[task][split][doc_id]) or []
        until = arguments.get("until") or ()
        return HarnessQuestion(
            id=f"{task}/{split}/{doc_id}#{place}",
            words=context,
            images=tuple(images),
            until=(until,) if isinstance(until, str) else tuple(until),
        )
