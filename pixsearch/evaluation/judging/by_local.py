"""A judge on this machine: a causal language model of transformers, greedily, in batches."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from pixsearch.config import JudgeOptions
from pixsearch.endpoint.asking import parse_json
from pixsearch.endpoint.schema import check
from pixsearch.evaluation.checkpoints import published_digest
from pixsearch.evaluation.judging.cases import Case
from pixsearch.evaluation.judging.judge import Ruling
from pixsearch.evaluation.judging.prompt import SCHEMA, fields_of, judge_prompt, read_ruling
from pixsearch.evaluation.segmentation import in_chunks
from pixsearch.evaluation.verdicts import JudgeVerdict
from pixsearch.generation.baseline.outside import OutsideText
from pixsearch.precision import best_device, has_bf16_units

Part = TypeVar("Part")


class LocalJudge:
    """See `Judge`. The weights are read when the first case is asked about.

    An answer that is cut, is no JSON or does not fit the schema is no verdict; it is not asked
    again, for a greedy model would say the same.

    Raises:
        ValueError: there is no such model, it has no chat template, or there is no such prompt.
    """

    is_free = False

    def __init__(self, options: JudgeOptions) -> None:
        self._options = options.local
        if not self._options.model:
            raise ValueError("judge.local.model: name a folder or hub id of a chat model")
        self._prompt = judge_prompt(options.prompt)
        self.name = self._options.model
        self.identity = {
            "kind": "local",
            "model": self._options.model,
            "weights": self._weights(),
            "answer_tokens": self._options.answer_tokens,
            "prompt": self._prompt.version,
        }
        if self._tokenizer.chat_template is None:
            raise ValueError(f"judge.local.model={self.name}: it has no chat template")

    def rule(self, cases: Iterable[Case]) -> Iterator[tuple[Case, Ruling]]:
        """See `Judge.rule`."""
        for batch in in_chunks(list(cases), self._options.batch_size):
            yield from zip(batch, self._rule(batch), strict=True)

    def close(self) -> None:
        """See `Judge.close`: frees the model's memory."""
        self.__dict__.pop("_model", None)

    def _weights(self) -> str | None:
        """What is behind the name: the content of a folder, the commit of a hub id."""
        folder = Path(self._options.model)
        return published_digest(folder) if folder.is_dir() else self._config._commit_hash

    @cached_property
    def _config(self) -> PreTrainedConfig:
        return self._load(AutoConfig.from_pretrained)

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerFast:
        tokenizer = self._load(AutoTokenizer.from_pretrained)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        tokenizer.padding_side = "left"
        return tokenizer

    @cached_property
    def _model(self) -> PreTrainedModel:
        device = best_device()
        dtype = "auto" if has_bf16_units(device) else torch.float32
        model = self._load(AutoModelForCausalLM.from_pretrained, dtype=dtype, use_safetensors=True)
        return model.eval().to(device)

    @cached_property
    def _outside(self) -> OutsideText:
        return OutsideText(self._tokenizer)

    def _load(self, load: Callable[..., Part], **options: Any) -> Part:
        try:
            return load(self._options.model, revision=self._options.revision, **options)
        except (OSError, ValueError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"judge.local.model={self.name}: it cannot be loaded: {reason}"
            ) from error

    def _rule(self, cases: Sequence[Case]) -> list[Ruling]:
        """One batch; those that are longer than the model was made for are unscored."""
        prompts = [self._ids(case) for case in cases]
        fitting = [ids for ids in prompts if self._fits(ids)]
        texts = iter(self._answer(fitting) if fitting else ())
        return [
            self._read(next(texts)) if self._fits(ids) else self._unscored(_too_long(len(ids)))
            for ids in prompts
        ]

    def _ids(self, case: Case) -> list[int]:
        """What is asked, in the model's template; no word of it becomes one of its added tokens."""
        fields = _map_texts(fields_of(case), self._outside)
        text = f"{self._prompt.text}\n\n{json.dumps(fields, ensure_ascii=False)}"
        return self._tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=True
        )["input_ids"]

    def _fits(self, ids: Sequence[int]) -> bool:
        longest = getattr(self._config.get_text_config(), "max_position_embeddings", None)
        return longest is None or len(ids) + self._options.answer_tokens <= longest

    def _answer(self, prompts: Sequence[Sequence[int]]) -> list[str | None]:
        """The words of each answer; None of one that was cut."""
        return [self._words(ids) for ids in self._new_ids(prompts)]

    @torch.no_grad()
    def _new_ids(self, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        """What comes behind each prompt, up to its end token."""
        inputs = self._tokenizer.pad({"input_ids": list(prompts)}, return_tensors="pt")
        inputs = inputs.to(self._model.device)
        sequences = self._model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            do_sample=False,
            num_beams=1,
            max_new_tokens=self._options.answer_tokens,
            pad_token_id=self._tokenizer.pad_token_id,
        )
        new = sequences[:, inputs["input_ids"].shape[1] :].tolist()
        return [self._to_end(ids) for ids in new]

    def _to_end(self, ids: list[int]) -> list[int]:
        ends = [place for place, token in enumerate(ids) if token in self._end_ids]
        return ids[: ends[0] + 1] if ends else ids

    @cached_property
    def _end_ids(self) -> frozenset[int]:
        found = self._model.generation_config.eos_token_id
        found = self._tokenizer.eos_token_id if found is None else found
        return frozenset(found if isinstance(found, list) else [found])

    def _words(self, ids: Sequence[int]) -> str | None:
        if ids[-1] not in self._end_ids:
            return None
        return self._tokenizer.decode(ids[:-1], skip_special_tokens=True)

    def _read(self, text: str | None) -> Ruling:
        if text is None:
            longest = self._options.answer_tokens
            return self._unscored(f"its answer was cut at {longest} tokens (local.answer_tokens)")
        try:
            value = parse_json(_object_in(text))
            check(value, SCHEMA)
        except ValueError as error:
            return self._unscored(str(error))
        return read_ruling(value, self.name)

    def _unscored(self, reason: str) -> Ruling:
        return Ruling(verdict=JudgeVerdict.unscored, by=self.name, reason=reason)


def _too_long(length: int) -> str:
    return f"the request takes {length} tokens, more than the judge has room for"


def _object_in(text: str) -> str:
    """From the first brace to the last: small models talk around their JSON.

    >>> _object_in('Sure! {"verdict": "wrong"} I hope this helps.')
    '{"verdict": "wrong"}'
    """
    start, end = text.find("{"), text.rfind("}")
    return text[start : end + 1] if 0 <= start < end else text


def _map_texts(fields: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """
    >>> _map_texts({"a": "x", "b": ["y"]}, str.upper)
    {'a': 'X', 'b': ['Y']}
    """
    return {
        name: [change(text) for text in value] if isinstance(value, list) else change(value)
        for name, value in fields.items()
    }
