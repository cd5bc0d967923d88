"""PixSearch: a multimodal language model whose states prompt a mask decoder."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask
from transformers import (
    AutoModelForImageTextToText,
    Cache,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from pixsearch.chat import ChatRenderer
from pixsearch.config import (
    GenerationOptions,
    LossOptions,
    ModelOptions,
    PolicyOptions,
    Quantization,
)
from pixsearch.model.answering import Answer, answer
from pixsearch.model.backbone import Embedded, embed_images, inject_lora, without_lora
from pixsearch.model.composing import check_checkpoint, check_loaded, load_parts
from pixsearch.model.config import PixSearchConfig
from pixsearch.model.decoding import DecodesMasks
from pixsearch.model.families import family_of
from pixsearch.model.features import ImageFeatures, encode_images
from pixsearch.model.grounding import GroundedStates, build_grounding, mean_by_phrase
from pixsearch.model.losses import (
    LossCounts,
    Losses,
    language_loss,
    mask_losses,
    tagging_loss,
    teacher_loss,
)
from pixsearch.model.new_rows import NewTokenRows
from pixsearch.model.output import PixSearchOutput
from pixsearch.model.packing import Packing
from pixsearch.model.renderer import renderer_of
from pixsearch.model.segmenters import segmenter_kind
from pixsearch.queries import AnySearcher

NO_TARGET = -100  # label of a token that is no target


class PixSearch(DecodesMasks, PreTrainedModel):
    """The whole model. Images are encoded beforehand (`encode_image`), once each.

    `forward`:
        1. embed the tokens and put the projected patches where the placeholders are;
        2. run the language model over the embeddings;
        3. score the vocabulary where a token is supervised, and take the cross-entropy;
        4. take the states that stand for each grounded phrase, make a prompt of them, and decode
           the masks of the whole batch in one call (with mask feedback: one call per turn);
        5. compare the masks with their targets;
        6. where phrases are tagged: score the tags, and compare their states with a teacher's.

    Attributes:
        backbone: transformers' image-text-to-text model, its matrices not resized.
        segmenter: transformers' SAM, or one of its successors.
        family: what the backbone's family decides about images.
        grounding: from states of the language model to prompts of the mask decoder.
        new_rows: embedding and head rows of the tokens in pixsearch/tokens.py.
    """

    config_class = PixSearchConfig
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True

    def __init__(
        self,
        config: PixSearchConfig,
        *,
        backbone: PreTrainedModel | None = None,
        segmenter: PreTrainedModel | None = None,
        tokenizer: PreTrainedTokenizerFast | None = None,
    ) -> None:
        super().__init__(config)
        self.family = family_of(config)
        self._kind = segmenter_kind(config.segmenter)
        self.backbone = backbone or AutoModelForImageTextToText.from_config(config.backbone)
        self.family.replace_projector(self.backbone)
        self.segmenter = segmenter or self._kind.model_class(config.segmenter)
        self.grounding = build_grounding(config)
        self.new_rows = NewTokenRows(
            ids=config.ids.own,
            width=config.width,
            tied=config.backbone.tie_word_embeddings,
        )
        self.post_init()
        if segmenter is None:
            self._kind.initialise(self.segmenter)
        if config.lora_rank:  # after post_init, which would draw LoRA's zeros anew
            inject_lora(self.backbone, config)
        self._tokenizer = tokenizer
        self._renderer: ChatRenderer | None = None

    @classmethod
    def compose(cls, options: ModelOptions) -> "PixSearch":
        """Put a pre-trained backbone and segmenter together; what joins them is drawn anew.

        Raises:
            ValueError: a part cannot be loaded or does not fit; one line that names the option.
        """
        parts = load_parts(options)
        model = cls(
            parts.config,
            backbone=parts.backbone,
            segmenter=parts.segmenter,
            tokenizer=parts.tokenizer,
        )
        model.new_rows.draw_like(
            embedding=parts.backbone.get_input_embeddings(),
            head=parts.backbone.lm_head,
            kept=parts.kept_ids,
        )
        norm = parts.backbone.model.language_model.norm
        model.grounding.draw(state_size=norm.weight.square().mean().sqrt().item())
        return model

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], **options: Any) -> "PixSearch":
        """Load what `save_pretrained` wrote, weights and tokenizer.

        Args:
            options: passed on to transformers (`dtype`, `device_map`, `attn_implementation`, …).

        Raises:
            ValueError: no checkpoint of PixSearch lies there, or its weights do not fit its config.
        """
        check_checkpoint(folder)
        options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
        model, report = super().from_pretrained(folder, **options)
        check_loaded(folder, report)
        model._tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        return model

    def save_pretrained(self, folder: str | os.PathLike[str], **options: Any) -> None:
        """Weights as safetensors, config.json, and the tokenizer beside them."""
        if self.config.quantization != Quantization.none:
            options["save_original_format"] = False  # transformers cannot undo how it read them
        super().save_pretrained(folder, **options)
        if options.get("is_main_process", True):
            self.tokenizer.save_pretrained(folder)

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        if self._tokenizer is None:
            raise ValueError("no tokenizer: use PixSearch.compose or PixSearch.from_pretrained")
        return self._tokenizer

    @property
    def renderer(self) -> ChatRenderer:
        """The one renderer for this model's tokens and template."""
        if self._renderer is None:
            self._renderer = renderer_of(self.config, self.tokenizer)
        return self._renderer

    def get_input_embeddings(self) -> nn.Module:
        return self.backbone.get_input_embeddings()

    def train(self, mode: bool = True) -> "PixSearch":
        """Training mode for all but the image encoders, which stay frozen."""
        super().train(mode)
        self.family.encoder(self.backbone).eval()
        self.segmenter.vision_encoder.eval()
        return self

    def num_image_tokens(self, image: Image.Image | None) -> int:
        """Placeholders of an image in a sequence; 0 without one."""
        return 0 if image is None else self.family.layout((image.height, image.width)).num_tokens

    def encode_image(self, images: Sequence[Image.Image]) -> ImageFeatures:
        """Run both frozen encoders over the images, in one batch."""
        return encode_images(self.backbone, self.segmenter, self.family, images)

    def forward(
        self,
        *,
        input_ids: Int[Tensor, "batch length"],
        labels: Int[Tensor, "batch length"],
        image_features: ImageFeatures | None = None,
        image_index: Int[Tensor, " batch"] | None = None,
        span_tags: Int[Tensor, "batch length"] | None = None,
        target_masks: Float[Tensor, "num_masks low low"] | None = None,
        mask_weights: Float[Tensor, "num_masks low low"] | None = None,
        loss_options: LossOptions | None = None,
        packing: Packing | None = None,
    ) -> PixSearchOutput:
        """See the class for the steps.

        Rows are padded on the right. No position before the padding sees it, so there is no mask to
        give: causal attention without one has the faster kernels.

        Args:
            labels: at each position the id that stands there if it is to be learned, or NO_TARGET.
            image_index: for each row its image in `image_features`, -1 without one.
            span_tags: values of `SpanTag`, negative at padding; for a model that tags phrases.
            target_masks: share that the mask covers of what is known of each pixel; one per
                grounded phrase, row by row. Without them masks are decoded and not scored.
            mask_weights: share of each pixel that is known; all by default.
            packing: the rows as the language model is to see them; the states are the same.
        """
        # 1. embed
        embedded = self.embed(input_ids, image_features, image_index)
        if image_features is None:  # the same modules in every forward: see `touch_projector`
            idle = self.family.touch_projector(self.backbone)
            embedded = replace(embedded, embeddings=embedded.embeddings + idle)
        # 2. language model
        states = self.whole_states(embedded, packing)
        # 3. language loss
        targets = labels[:, 1:]
        is_target = targets != NO_TARGET
        logits = self.next_logits(states[:, :-1][is_target])
        # 4. masks
        options = loss_options or LossOptions()
        grounded = self.grounding.find(states, input_ids, span_tags)
        mask_logits, idle_masks = self._decode_batch(
            grounded, input_ids, image_features, image_index
        )
        # 5. mask losses
        bce, overlap = mask_losses(mask_logits, target_masks, mask_weights, options)
        # 6. tags
        tagging, tag_weight = states.new_zeros(()), 0.0
        tag_logits = self.grounding.tag(states, input_ids, span_tags)
        if tag_logits is not None and span_tags is not None:
            tagging, tag_weight = tagging_loss(tag_logits, span_tags, options.tag_weights)
        losses = Losses(
            language=language_loss(logits, targets[is_target]),
            mask_bce=bce + idle_masks,
            mask_overlap=overlap,
            span_tagging=tagging,
            teacher=self._teach(grounded, embedded, packing, options),
            counts=LossCounts(
                tokens=len(logits),
                masks=0 if target_masks is None else len(target_masks),
                tag_weight=tag_weight,
            ),
        )
        return PixSearchOutput(
            losses=losses, logits=logits, mask_logits=mask_logits, tag_logits=tag_logits
        )

    def embed(
        self,
        input_ids: Int[Tensor, "batch length"],
        image_features: ImageFeatures | None = None,
        image_index: Int[Tensor, " batch"] | None = None,
    ) -> Embedded:
        """Embeddings of tokens, projected patches where the image's placeholders are.

        Raises:
            ValueError: a row has not one placeholder per patch of its image.
        """
        return embed_images(
            self.new_rows.embed(input_ids, base=self.backbone.get_input_embeddings()),
            image_features,
            image_index,
            is_placeholder=input_ids == self.config.ids.image,
            family=self.family,
            backbone=self.backbone,
        )

    def language_states(
        self,
        embedded: Embedded,
        attention_mask: Tensor | BlockMask | None = None,
        *,
        position_ids: Int[Tensor, "*axes batch length"] | None = None,
        cache: Cache | None = None,
        **attention_arguments: Any,
    ) -> Float[Tensor, "batch length width"]:
        """States of the last layer, after its final norm.

        Args:
            attention_mask: [batch, all positions] or [batch, 1, queries, keys] of transformers;
                None where every position may see all before it.
            position_ids: of rows that go on (see backbone.py); `embedded` has those that begin.
            cache: keys and values of the positions before; the new ones are appended.
            attention_arguments: what a kind of attention takes in place of a mask.
        """
        return self.backbone.model.language_model(
            inputs_embeds=embedded.embeddings,
            attention_mask=attention_mask,
            position_ids=embedded.positions if position_ids is None else position_ids,
            past_key_values=cache,
            use_cache=cache is not None,
            **embedded.deepstack_arguments,
            **attention_arguments,
        ).last_hidden_state

    def next_logits(
        self, states: Float[Tensor, "*positions width"]
    ) -> Float[Tensor, "*positions vocabulary"]:
        """Scores of the token that follows each state."""
        return self.new_rows.logits(states, base=self.backbone.lm_head)

    def answer(
        self,
        image: Image.Image | None,
        question: str,
        searcher: AnySearcher,
        policy: PolicyOptions | None = None,
        generation: GenerationOptions | None = None,
    ) -> Answer:
        """Answer one question; `Answer.text`, `.masks` and `.trajectory` say what came of it."""
        return answer(self, image, question, searcher, policy, generation)

    def whole_states(
        self, embedded: Embedded, packing: Packing | None
    ) -> Float[Tensor, "batch length width"]:
        """States of whole rows, through packed ones if there is a packing."""
        if packing is None:
            return self.language_states(embedded)
        arguments = packing.attention_arguments(self.backbone, embedded.embeddings.dtype)
        return packing.unpack(self.language_states(packing.pack(embedded), **arguments))

    def _teach(
        self,
        grounded: GroundedStates,
        embedded: Embedded,
        packing: Packing | None,
        options: LossOptions,
    ) -> Float[Tensor, ""]:
        """How far the states of grounded words have gone from those of the model without LoRA."""
        if not options.teacher:
            return embedded.embeddings.new_zeros(())
        with torch.no_grad(), without_lora(self.backbone):
            teacher = self.whole_states(embedded, packing)[grounded.state_rows, grounded.columns]
        losses = teacher_loss(grounded.states, teacher, sigma=options.teacher_sigma)
        return mean_by_phrase(losses[:, None], grounded.phrases, len(grounded.rows)).sum()
