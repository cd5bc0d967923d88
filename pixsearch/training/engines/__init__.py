"""The engines, by what launched the processes: see configs/accelerate/."""

import os

from pixsearch.training.engines.engine import Engine
from pixsearch.training.engines.fully_sharded import FullySharded
from pixsearch.training.engines.replicated import Replicated
from pixsearch.training.engines.zero import Zero2, Zero3
from pixsearch.training.processes import Processes, is_set

ZERO_STAGES: dict[str, type[Zero2]] = {"2": Zero2, "3": Zero3}
"""`zero_stage` of a launcher's configuration -> engine."""


def engine_of(processes: Processes) -> type[Engine]:
    """The engine that `accelerate launch --config_file` asks for.

    Accelerate itself is not asked to build it: on a CPU it would run something else under the name,
    so that nothing about the path that users run could be tested without GPUs.

    Raises:
        ValueError: the launcher asks for an engine that PixSearch does not have.
    """
    if is_set("ACCELERATE_USE_DEEPSPEED"):
        stage = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE")
        if stage not in ZERO_STAGES:
            raise ValueError(
                f"zero_stage: {stage}; PixSearch has {' and '.join(ZERO_STAGES)}: take "
                "configs/accelerate/zero2.yaml or zero3.yaml"
            )
        return ZERO_STAGES[stage]
    if is_set("ACCELERATE_USE_FSDP"):
        version = os.environ.get("FSDP_VERSION", "1")
        if version != "2":
            raise ValueError(f"fsdp_version: {version}; PixSearch has FSDP2, set fsdp_version: 2")
        return FullySharded
    return Replicated if processes.count > 1 else Engine
