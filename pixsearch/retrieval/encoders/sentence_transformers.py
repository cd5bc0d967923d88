"""Text encoder: a transformer of the library sentence-transformers, from a folder or the hub."""

import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from sentence_transformers.util import load_file_path
from torch import nn
from transformers import AutoConfig, PreTrainedTokenizerBase

from pixsearch.config import EncoderOptions, Pooling
from pixsearch.precision import best_device
from pixsearch.retrieval.encoders.fingerprint import described_config, fingerprint
from pixsearch.retrieval.encoders.loading import TEXT_ENCODER, load_part, refuse_missing

UNUSED = "pooler."  # weights of a head that sentence-transformers never asks; often not saved
SET_PER_CALL = ("truncation", "padding")  # of a tokenizer's description


class SentenceTransformers:
    """A transformer with its pooling, unit length.

    `model` is what the library itself writes, or a plain transformers folder or hub id with a
    pooling. The pooling is the model's own unless `cls` or `mean` is chosen: BGE says `cls`, but
    CRAG-MM's web index holds its `mean`. Prompts that the model brings are left out: what stands
    before a query is `prefix` alone, before a document `document_prefix`. Of a text longer than the
    model reads, the beginning counts (all-mpnet-base-v2: 384 tokens).
    """

    def __init__(self, options: EncoderOptions) -> None:
        subfolder = _transformer_folder(options)
        self._model = load_part(
            SentenceTransformer,
            options,
            role=TEXT_ENCODER,
            what="model",
            device=str(best_device()),
            local_files_only=Path(options.model).is_dir(),
            model_kwargs={"dtype": torch.float32},
        )
        self._model.eval().requires_grad_(False)
        _refuse_other_models(self._model, options)
        missing = _missing_weights(self._model, options, subfolder)
        refuse_missing(
            [name for name in missing if not name.startswith(UNUSED)], options, role=TEXT_ENCODER
        )
        if options.pooling != Pooling.none:
            _set_pooling(self._model, options)
        self._normalize = options.normalize
        self._batch_size = options.batch_size
        dimension = self._model.get_embedding_dimension()
        assert dimension is not None
        self.dimension: int = dimension
        self.fingerprint = _fingerprint(self._model, missing)

    def encode_text(self, texts: Sequence[str]) -> Float[np.ndarray, "num_texts dimension"]:
        """Unit vectors, computed in batches of `batch_size`; zero for a text without a word."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        worded = [place for place, text in enumerate(texts) if re.search(r"\w", text)]
        if worded:
            vectors[worded] = self._model.encode(
                [texts[place] for place in worded],
                prompt="",
                batch_size=self._batch_size,
                normalize_embeddings=self._normalize,
                show_progress_bar=False,
            )
        return vectors


def _transformer_folder(options: EncoderOptions) -> str:
    """Where in the model's folder its transformer lies.

    Raises:
        ValueError: there is no model, or a plain one without a pooling; the library would take
            the mean.
    """
    steps = load_part(_read_modules, options, role=TEXT_ENCODER, what="modules.json")
    if steps:
        return steps[0]["path"]
    load_part(AutoConfig.from_pretrained, options, role=TEXT_ENCODER, what="model")
    if options.pooling == Pooling.none:
        raise ValueError(
            f"text_encoder.model={options.model}: no modules.json says how it is pooled; set "
            "text_encoder.pooling=mean or cls"
        )
    return ""


def _read_modules(model: str, revision: str | None) -> list[dict[str, Any]]:
    """The steps of a model and their folders; none for a plain transformers model."""
    path = load_file_path(model, "modules.json", revision=revision)
    return [] if path is None else json.loads(Path(path).read_text())


def _refuse_other_models(model: SentenceTransformer, options: EncoderOptions) -> None:
    """See that words go through a transformer, and that their vectors have the length asked for.

    Raises:
        ValueError: they do not.
    """
    where = f"text_encoder.model={options.model}"
    if not isinstance(model[0], modules.Transformer) or not model.supports("text"):
        raise ValueError(
            f"{where}: it begins with a {type(model[0]).__name__} for "
            f"{', '.join(map(str, model.modalities))}; a transformer for text is needed"
        )
    if not options.normalize and any(isinstance(each, modules.Normalize) for each in model):
        raise ValueError(f"{where}: its last step normalises: set text_encoder.normalize=true")


def _missing_weights(
    model: SentenceTransformer, options: EncoderOptions, subfolder: str
) -> Collection[str]:
    """Names of the transformer's weights that its file lacks; the library draws them and goes on.

    Only the file's names are read: on the device "meta" weights have shapes and no values.
    """
    _, report = load_part(
        type(model[0].auto_model).from_pretrained,
        options,
        role=TEXT_ENCODER,
        what="weights",
        subfolder=subfolder,
        device_map="meta",
        output_loading_info=True,
    )
    return report["missing_keys"]


def _set_pooling(model: SentenceTransformer, options: EncoderOptions) -> None:
    """Put the chosen pooling in the place of the model's own.

    Raises:
        ValueError: there is none to replace.
    """
    places = [place for place, each in enumerate(model) if isinstance(each, modules.Pooling)]
    if len(places) != 1:
        raise ValueError(
            f"text_encoder.pooling={options.pooling}: {options.model} has {len(places)} poolings, "
            "not one to replace; set 'none'"
        )
    own = model[places[0]]
    model[places[0]] = modules.Pooling(
        own.embedding_dimension, options.pooling.value, include_prompt=own.include_prompt
    )


def _fingerprint(model: SentenceTransformer, missing: Collection[str]) -> str:
    """sha256 of all modules' weights and configurations and of the tokenizer."""
    described = {
        "modules": [[type(module).__name__, _described(module)] for module in model],
        "max_seq_length": model.max_seq_length,
        "tokenizer": _described_tokenizer(model.tokenizer),
    }
    own = {f"0.{name}" for name in missing}  # drawn anew each time, and never used
    weights = {
        f"{place}.{name}": tensor
        for place, module in enumerate(model)
        for name, tensor in getattr(module, "auto_model", module).state_dict().items()
    }
    return fingerprint(
        described, {name: tensor for name, tensor in weights.items() if name not in own}
    )


def _described(module: nn.Module) -> dict[str, Any]:
    if isinstance(module, modules.Transformer):
        config = described_config(module.auto_model.config)
        return {"config": config, "do_lower_case": module.do_lower_case}
    return {} if isinstance(module, modules.Normalize) else module.get_config_dict()


def _described_tokenizer(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """All that decides which tokens a text becomes."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return tokenizer.get_vocab()
    described = json.loads(backend.to_str())
    return {name: value for name, value in described.items() if name not in SET_PER_CALL}
