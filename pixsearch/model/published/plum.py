"""PLUM: a LISA that tags the words it grounds. Facts: PLUM's code, torch's encoder layer."""

import logging
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import torch
from transformers import PreTrainedTokenizerFast

from pixsearch.config import ConvertOptions, GroundBy
from pixsearch.model.published.family import Converted, Source
from pixsearch.model.published.lisa import Lisa
from pixsearch.model.published.names import Rule, our_name, under
from pixsearch.model.published.read import Tensors
from pixsearch.model.published.sizes import required

logger = logging.getLogger(__name__)

ENCODER, HEAD, CROSS = "bio_encoder.", "model.token_to_mask_fcs.", "bio_cross_attn."
TAGGER, FEEDBACK = "grounding.tagger.", "grounding.feedback."
DROPOUT = 0.1  # written into PLUM.py

ENCODER_RULES: tuple[Rule, ...] = (
    (r"self_attn\.in_proj_(weight|bias)", r"in_proj.\1"),
    (r"self_attn\.out_proj\.(\w+)", r"output.\1"),
    (r"linear1\.(\w+)", r"feed_forward.0.\1"),
    (r"linear2\.(\w+)", r"feed_forward.3.\1"),
    (r"norm1\.(\w+)", r"attention_norm.\1"),
    (r"norm2\.(\w+)", r"feed_forward_norm.\1"),
)
FEEDBACK_RULES: tuple[Rule, ...] = (
    (r"queries", "queries"),
    (r"attn\.(.+)", r"attention.\1"),
    (r"mask_modulator\.projections\.(\d)\.(\w+)", r"films.\1.\2"),
)
ALIASES: tuple[Rule, ...] = (
    (r"mask_pooler\.prompt_encoder\.(.+)", r"model.visual_model.prompt_encoder.\1"),
    (
        r"mask_pooler\.(?:block1\.0|block2\.0)\.(\d\.\w+)",
        r"model.visual_model.prompt_encoder.mask_downscaling.\1",
    ),
    (
        r"mask_pooler\.final_conv\.(\w+)",
        r"model.visual_model.prompt_encoder.mask_downscaling.6.\1",
    ),
)
"""Second names of SAM's prompt encoder, which the pooler holds too -> the first."""


class Plum(Lisa):
    """PLUM: it has no token for masks, so that all of ours are new."""

    name = "PLUM"
    tokens: ClassVar[Mapping[str, str]] = {}
    rules = (
        *Lisa.rules,
        *under(ENCODER_RULES, theirs=r"bio_encoder\.encoder\.layers\.0\.", ours=TAGGER),
        (r"model\.token_to_mask_fcs\.0\.([02])\.(\w+)", rf"{TAGGER}head.\1.\2"),
        *under(FEEDBACK_RULES, theirs=r"mask_pooler\.", ours=FEEDBACK),
    )
    dropped = {  # noqa: RUF012 (read only)
        **Lisa.dropped,
        **{alias: "second names of SAM's prompt encoder, equal to it" for alias, _ in ALIASES},
        r"seg_h_ref": "a buffer with the states of an arbitrary batch",
        r"teacher_llm\..+": "the frozen teacher, a copy of the base model",
    }

    def owns(self, names: Collection[str]) -> bool:
        return any(name.startswith((ENCODER, HEAD)) for name in names)

    def check(self, source: Source, options: ConvertOptions) -> None:
        if any(name.startswith(CROSS) for name in source.names):
            raise ValueError(
                f"source={source.folder}: a PLUM whose spans look at the image before they prompt "
                f"({CROSS}*); PixSearch has no such layer: give one trained without "
                "--use_cross_attn_bio"
            )
        if not any(name.startswith(ENCODER) for name in source.names):
            raise ValueError(
                f"source={source.folder}: a PLUM without {ENCODER}*, whose head tags the states "
                "themselves; PixSearch reads those trained with --use_bidir_bio"
            )
        super().check(source, options)

    def prepare(self, tensors: Tensors, source: Source) -> Tensors:
        """See that tags are three and aliases equal; give a tensor its first name.

        safetensors writes a tensor that has several names under one of them.

        Raises:
            ValueError: the head is of --pred_binary_span; or a second copy has other values.
        """
        _check_head(tensors, source)
        complete, different = dict(tensors), []
        for alias, tensor in tensors.items():
            name = our_name(alias, ALIASES)
            if name is not None and not torch.equal(complete.setdefault(name, tensor), tensor):
                different.append(alias)
        if different:
            raise ValueError(
                f"source={source.folder}: {len(different)} tensors differ from those of SAM's "
                f"prompt encoder that they are a second name of (such as {min(different)}); the "
                "files are of different runs: merge the checkpoint anew"
            )
        return complete

    def convert(
        self,
        tensors: Tensors,
        source: Source,
        tokenizer: PreTrainedTokenizerFast,
        options: ConvertOptions,
    ) -> Converted:
        kept = _split_attention(tensors)
        if not options.mask_feedback:
            kept = {name: one for name, one in kept.items() if not name.startswith(FEEDBACK)}
            logger.info("mask_feedback=false: %d tensors are not used", len(tensors) - len(kept))
        return super().convert(kept, source, tokenizer, options)

    def grounding(self, tensors: Tensors, options: ConvertOptions) -> dict[str, Any]:
        """Merged files may lack the feedback; how many heads the tagger has, shapes do not tell.

        Raises:
            ValueError: the tagger cannot have so many heads.
        """
        inner, width = required(tensors, f"{TAGGER}feed_forward.0.weight").shape
        if width % options.tagger_heads:
            raise ValueError(
                f"tagger_heads={options.tagger_heads}: the tagger's width of {width} is no "
                "multiple; give bidir_nhead of the training"
            )
        return {
            "ground_by": GroundBy.span.value,
            "tagger_heads": options.tagger_heads,
            "tagger_width": inner,
            "tagger_dropout": DROPOUT,
            "mask_feedback": f"{FEEDBACK}queries" in tensors,
        }


def _check_head(tensors: Tensors, source: Source) -> None:
    head = tensors.get(f"{HEAD}0.2.weight")
    if head is not None and len(head) == 1:
        raise ValueError(
            f"source={source.folder}: a PLUM with one score a word ({HEAD}0.2.weight has one row); "
            "PixSearch tags begin, inside and outside: give one trained without --pred_binary_span"
        )


def _split_attention(tensors: Tensors) -> Tensors:
    """torch holds queries, keys and values in one matrix; ours are the first apart from the rest.

    Raises:
        ValueError: the matrix or its offset is missing.
    """
    split = dict(tensors)
    for kind in ("weight", "bias"):
        joined = required(tensors, f"{TAGGER}in_proj.{kind}")
        del split[f"{TAGGER}in_proj.{kind}"]
        width = len(joined) // 3
        split[f"{TAGGER}query.{kind}"] = joined[:width]
        split[f"{TAGGER}key_value.{kind}"] = joined[width:]
    return split
