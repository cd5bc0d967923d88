"""transformers' continuous batching on trajectories of text: no barrier, each segment a request.

Its prefix cache may find what an earlier segment has computed. Its tokens cannot be forced, so the
rows say what the random model says, as many tokens as the trajectory has; the work is the same.
"""

from collections.abc import Sequence

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig, LlamaForCausalLM
from transformers.generation.continuous_batching import ContinuousBatchingManager

from pixsearch.generation.bench.subject import ForcedTrajectory
from pixsearch.model.pixsearch import PixSearch

NEVER = -1  # an end token that no vocabulary has
LONGEST_WAIT = 600.0  # seconds for one result


def plain_language_model(model: PixSearch) -> LlamaForCausalLM:
    """The language model alone, its weights shared; attention that reads a paged cache."""
    backbone = model.backbone
    with torch.device("meta"):
        plain = LlamaForCausalLM(backbone.config.text_config)
    plain.model = backbone.model.language_model
    plain.lm_head = backbone.lm_head
    return plain.eval()


def run_continuous(
    model: PixSearch, trajectories: Sequence[ForcedTrajectory], *, batch_size: int
) -> None:
    """Answer along the trajectories; a row that ends a segment comes back with its evidence.

    Raises:
        RuntimeError: transformers reports a request that failed.
    """
    plain = plain_language_model(model)
    longest = max(each.num_tokens for each in trajectories)
    page = 16
    config = ContinuousBatchingConfig(
        page_size=page,
        num_blocks=batch_size * (longest // page + 2),
        max_batch_tokens=batch_size * longest,
        max_requests_per_batch=batch_size,
    )
    generation = GenerationConfig(do_sample=False, eos_token_id=NEVER, pad_token_id=0)
    with plain.continuous_batching_context_manager(
        generation_config=generation, continuous_batching_config=config, warmup=False
    ) as manager:
        _serve(manager, trajectories)


def _serve(manager: ContinuousBatchingManager, trajectories: Sequence[ForcedTrajectory]) -> None:
    of_id = {each.id: each for each in trajectories}
    for each in trajectories:
        _ask(manager, each, list(each.prompt_ids), place=0)
    unfinished = len(trajectories)
    while unfinished:
        output = manager.get_result(timeout=LONGEST_WAIT)
        if output is None or output.error:
            raise RuntimeError(f"transformers' continuous batching: {output and output.error}")
        name, place = output.request_id.split("/")
        each, place = of_id[name], int(place)
        if place == each.num_searches:
            unfinished -= 1
            continue
        so_far = [*output.prompt_ids, *output.generated_tokens, *each.evidence_ids]
        _ask(manager, each, so_far, place=place + 1)


def _ask(
    manager: ContinuousBatchingManager,
    trajectory: ForcedTrajectory,
    context: list[int],
    *,
    place: int,
) -> None:
    manager.add_request(
        context,
        request_id=f"{trajectory.id}/{place}",
        max_new_tokens=len(trajectory.segments[place]),
        eos_token_id=NEVER,
    )
