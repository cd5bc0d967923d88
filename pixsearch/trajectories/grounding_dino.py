"""Masks of phrases by Grounding DINO (boxes) and SAM (a mask in each box), through transformers."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoModelForZeroShotObjectDetection,
    AutoProcessor,
    PreTrainedModel,
    SamModel,
    SamProcessor,
)

from pixsearch.config import GroundingDinoOptions
from pixsearch.datasets.example import Masks
from pixsearch.precision import best_device

Part = TypeVar("Part")
Boxes = Float[Tensor, "_num_boxes 4"]  # left, top, right, bottom in pixels of the image

_END_OF_PHRASE = "."
_DELIMITERS = re.compile(r"[.?]")  # at both the detector's attention is cut


class GroundingDino:
    """A `PhraseGrounder`. Both image encoders run once an image, however many phrases there are.

    The phrases go to the detector in one text, `a cup. the lid.`, in which words see those of their
    own phrase alone; of a box only the scores of a phrase's own words say whether it shows it. A
    text that would be longer than the detector reads is parted, and it runs once for each part.
    """

    def __init__(self, options: GroundingDinoOptions) -> None:
        """Load both models.

        Raises:
            ValueError: one cannot be had, or is of another kind.
        """
        self._options = options
        self._device = best_device()
        detector, revision = options.detector, options.detector_revision
        self._detector_processor = _load(AutoProcessor.from_pretrained, detector, revision)
        self._detector = self._model(AutoModelForZeroShotObjectDetection, detector, revision)
        if self._detector.config.model_type != "grounding-dino":
            raise ValueError(
                f"grounding_dino.detector={detector}: a model of type "
                f"{self._detector.config.model_type!r}, not a Grounding DINO"
            )
        segmenter, revision = options.segmenter, options.segmenter_revision
        self._segmenter_processor = _load(SamProcessor.from_pretrained, segmenter, revision)
        self._segmenter = self._model(SamModel, segmenter, revision)

    @torch.inference_mode()
    def masks(self, image: Image.Image, phrases: Sequence[str]) -> Masks:
        """One mask per phrase in the image's own pixels; empty where no box shows the phrase.

        Raises:
            ValueError: a phrase is longer than the detector reads.
        """
        image = image.convert("RGB")
        boxes = self.boxes(image, phrases)
        masks = np.zeros((len(phrases), image.height, image.width), dtype=bool)
        if any(len(some) for some in boxes):
            in_boxes = self._masks_in(image, torch.cat(boxes))
            places = np.repeat(np.arange(len(phrases)), [len(some) for some in boxes])
            for place, mask in zip(places, in_boxes, strict=True):
                masks[place] |= mask
        return masks

    @torch.inference_mode()
    def boxes(self, image: Image.Image, phrases: Sequence[str]) -> list[Boxes]:
        """The boxes of each phrase, best first; one at most, unless `every_box`."""
        words = [_as_detected(phrase) for phrase in phrases]
        found = [torch.zeros(0, 4) for _ in phrases]
        for rows in self._parts(words):
            for row, boxes in zip(
                rows, self._detect(image, [words[row] for row in rows]), strict=True
            ):
                found[row] = boxes
        return found

    def _parts(self, words: Sequence[str]) -> Iterator[list[int]]:
        """Rows of phrases that the detector reads together; those without a word are nowhere."""
        longest = self._detector.config.max_text_len - 2  # but for the tokens at both ends
        part: list[int] = []
        length = 0
        for row, phrase in enumerate(words):
            if not phrase:
                continue
            tokens = self._detector_processor.tokenizer.tokenize(phrase)
            needed = len(tokens) + 1
            if needed > longest:
                raise ValueError(
                    f"the phrase {phrase[:40]!r} has {len(tokens)} tokens; {longest - 1} are read"
                )
            if part and length + needed > longest:
                yield part
                part, length = [], 0
            part.append(row)
            length += needed
        if part:
            yield part

    def _detect(self, image: Image.Image, phrases: Sequence[str]) -> list[Boxes]:
        text = " ".join(f"{phrase}{_END_OF_PHRASE}" for phrase in phrases)
        inputs = self._detector_processor(images=image, text=text, return_tensors="pt")
        outputs = self._detector(**inputs.to(self._device))
        scores = outputs.logits[0].sigmoid().float().cpu()
        boxes = _corners(outputs.pred_boxes[0].float().cpu(), image)
        own = self._words_of(inputs["input_ids"][0].cpu(), len(phrases))
        return [self._chosen(scores[:, : len(words)][:, words], boxes) for words in own]

    def _words_of(
        self, input_ids: Tensor, num_phrases: int
    ) -> Bool[Tensor, "num_phrases num_tokens"]:
        """Which tokens of the text are words of which phrase; an unknown word says nothing."""
        tokenizer = self._detector_processor.tokenizer
        ends = input_ids == tokenizer.convert_tokens_to_ids(_END_OF_PHRASE)
        phrase_of_token = ends.cumsum(0)
        is_word = ~ends & (input_ids != tokenizer.unk_token_id)
        is_word[0] = is_word[-1] = False  # [CLS] and [SEP]
        return (phrase_of_token == torch.arange(num_phrases)[:, None]) & is_word

    def _chosen(self, scores: Float[Tensor, "num_boxes num_words"], boxes: Boxes) -> Boxes:
        if scores.shape[1] == 0:
            return boxes[:0]
        best_word = scores.max(dim=1).values
        least = max(self._options.box_threshold, self._options.text_threshold)
        order = best_word.argsort(descending=True, stable=True)
        order = order[best_word[order] > least]
        return boxes[order if self._options.every_box else order[:1]]

    def _masks_in(
        self, image: Image.Image, boxes: Boxes
    ) -> Bool[np.ndarray, "num_boxes height width"]:
        """SAM's one mask for each box."""
        inputs = self._segmenter_processor(image, input_boxes=[boxes.tolist()], return_tensors="pt")
        outputs = self._segmenter(
            pixel_values=inputs["pixel_values"].to(self._device),
            input_boxes=inputs["input_boxes"].float().to(self._device),
            multimask_output=False,
        )
        masks = self._segmenter_processor.post_process_masks(
            outputs.pred_masks.float().cpu(),
            inputs["original_sizes"],
            inputs["reshaped_input_sizes"],
        )
        return masks[0][:, 0].numpy()

    def _model(self, kind: Any, name: str, revision: str | None) -> PreTrainedModel:
        model, found = _load(
            lambda *args, **named: kind.from_pretrained(*args, output_loading_info=True, **named),
            name,
            revision,
        )
        if found["missing_keys"]:
            first = sorted(found["missing_keys"])[0]
            raise ValueError(
                f"{name}: its weights lack {first}; it is no model for this, or broken"
            )
        return model.to(self._device).eval()


def _as_detected(phrase: str) -> str:
    """A phrase as the detector was trained with it: small letters, one sentence; or nothing."""
    words = " ".join(_DELIMITERS.sub(" ", phrase).lower().split())
    return words if re.search(r"\w", words) else ""


def _load(load: Callable[..., Part], name: str, revision: str | None) -> Part:
    try:
        return load(name, revision=revision)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{name}: cannot be loaded for grounding_dino ({reason})") from error


def _corners(
    boxes: Float[Tensor, "num_boxes 4"], image: Image.Image
) -> Float[Tensor, "num_boxes 4"]:
    """From centre, width and height as shares of the image to corners in its pixels."""
    centre, size = boxes[:, :2], boxes[:, 2:]
    side = torch.tensor([image.width, image.height], dtype=boxes.dtype)
    return torch.cat([(centre - size / 2) * side, (centre + size / 2) * side], dim=1)
