"""Records what the package cragmm-search-pipeline finds in tiny collections.

    python -m venv ENV
    ENV/bin/pip install "transformers<5" "chromadb>=1.0.3,<1.5" cragmm-search-pipeline==0.5.1 torch
    ENV/bin/python tests/golden/crag_mm/record.py

writes beside this file: models/clip and models/bge (tiny random weights in the published models'
form), collections.tar.gz (as they were before the package opened them) and hits.json. The package
runs as it is but for `snapshot_download`, in whose place a local folder is given.
"""

import json
import shutil
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from synthetic import (
    NUM_CHUNKS,
    NUM_IMAGES,
    WORDS,
    chunk,
    image_queries,
    picture,
    text_queries,
    write_image_collection,
    write_web_collection,
)

HERE = Path(__file__).parent
COUNTS = (1, 5, 100)  # images or chunks asked for; the last is more than there are
LEAST_GAP = 2e-6  # between neighbouring scores: closer ones could change places elsewhere


def main() -> None:
    models = HERE / "models"
    shutil.rmtree(models, ignore_errors=True)
    write_clip(models / "clip")
    write_bge(models / "bge")
    with tempfile.TemporaryDirectory() as name:
        collections = Path(name)
        write_collections(collections, models)
        pack(collections, HERE / "collections.tar.gz")
        recorded = record(open_package(collections, models))
    lines = [json.dumps(entry, ensure_ascii=False) for entry in recorded]
    (HERE / "hits.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def write_clip(folder: Path) -> None:
    """A CLIP with ViT-L/14-336's processing (shorter side, centre crop) at 32 pixels."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    config = CLIPConfig(
        text_config={**small, "num_hidden_layers": 1, "vocab_size": 64},
        vision_config={**small, "num_hidden_layers": 2, "image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    CLIPModel(config).eval().save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPProcessor(CLIPImageProcessor(**sizes), clip_tokenizer(folder)).save_pretrained(folder)


def clip_tokenizer(folder: Path) -> Any:
    """The package loads one, though it never encodes a text with CLIP."""
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: id for id, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))


def write_bge(folder: Path) -> None:
    """A BERT of 512 positions whose words are those of the collection, letters for the rest."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789?"
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = [*specials, *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        initializer_range=0.3,
    )
    BertModel(config).eval().save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=512).save_pretrained(folder)


def write_collections(folder: Path, models: Path) -> None:
    """Both collections, encoded by the package's own functions."""
    from cragmm_search.image_search_mock_api import image_search
    from cragmm_search.web_search_mock_api.api import web_search
    from transformers import AutoModel, AutoTokenizer, CLIPModel, CLIPProcessor

    clip = CLIPModel.from_pretrained(models / "clip")
    processor = CLIPProcessor.from_pretrained(models / "clip")
    pictures = [picture(row) for row in range(NUM_IMAGES)]
    vectors = [image_search.extract_features(clip, processor, image) for image in pictures]
    write_image_collection(folder / "image", np.concatenate(vectors))
    bert = AutoModel.from_pretrained(models / "bge")
    tokenizer = AutoTokenizer.from_pretrained(models / "bge")
    texts = [chunk(row)[1] for row in range(NUM_CHUNKS)]
    write_web_collection(folder / "web", web_search.extract_features(bert, tokenizer, texts))


def pack(folder: Path, archive: Path) -> None:
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("image", "web"):
            tar.add(folder / name, arcname=name)


def open_package(collections: Path, models: Path) -> Any:
    """The package's pipeline on the local collections."""
    from cragmm_search.search import UnifiedSearchPipeline

    def local(repo_id: str, **_: Any) -> str:
        return str(collections / repo_id)

    of_images = "cragmm_search.image_search_mock_api.image_kg.snapshot_download"
    with mock.patch("huggingface_hub.snapshot_download", local), mock.patch(of_images, local):
        return UnifiedSearchPipeline(
            image_model_name=str(models / "clip"),
            image_hf_dataset_id="image",
            text_model_name=str(models / "bge"),
            web_hf_dataset_id="web",
        )


def record(pipeline: Any) -> list[dict[str, Any]]:
    """For every query its vector and, for each count, the package's result."""
    names = ("cragmm-search-pipeline", "transformers", "chromadb", "torch")
    recorded: list[dict[str, Any]] = [{"versions": {name: version(name) for name in names}}]
    for number, image in enumerate(image_queries()):
        vector = encoded_image(pipeline, image)
        results = {count: pipeline(image, k=count) for count in COUNTS}
        recorded.append({"image": number, "vector": vector, "results": results})
    for number, text in enumerate(text_queries()):
        vector = encoded_text(pipeline, text)
        results = {count: search_text(pipeline, text, count) for count in COUNTS}
        recorded.append({"text": number, "vector": vector, "results": results})
    for entry in recorded[1:]:
        refuse_near_ties(entry)
    return recorded


def encoded_image(pipeline: Any, image: Any) -> list[float]:
    from cragmm_search.image_search_mock_api.image_search import extract_features

    features = extract_features(pipeline.image_model, pipeline.image_processor, image)
    return features[0].tolist()


def encoded_text(pipeline: Any, text: str) -> list[float]:
    from cragmm_search.web_search_mock_api.api.web_search import extract_features

    return extract_features(pipeline.text_model, pipeline.text_tokenizer, text).tolist()


def search_text(pipeline: Any, text: str, count: int) -> list[dict[str, Any]]:
    """What the package finds, also for a text that it would take for an address and download."""
    from cragmm_search.search import InputType

    outputs = pipeline._forward({InputType.TEXT_QUERY: text}, k=count)
    return pipeline.postprocess(outputs)


def refuse_near_ties(entry: dict[str, Any]) -> None:
    for result in entry["results"].values():
        scores = [hit["score"] for hit in result]
        gaps = -np.diff(scores)
        assert (gaps > LEAST_GAP).all(), (entry, gaps.min())


if __name__ == "__main__":
    main()
