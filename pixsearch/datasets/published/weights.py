"""Weights of published models, by their hub ids in configs/; at the newest commit (`HubFiles`)."""

from pixsearch.datasets.published.records import HubFiles, Kind, Source, WebFile

_LLAMA_2, _LLAMA_3_2 = "Llama 2 community licence", "Llama 3.2 community licence"
_ASKED_FOR = "access is asked for on its page"
_HUB = "https://huggingface.co/"


def _weights(repo: str, licence: str, size: str, *, page: str | None = None) -> Source:
    """Licensed as the card says, if `page` names no other place."""
    return Source(
        fetches=(HubFiles(repo=repo),),
        licence=licence,
        licence_page=page or f"{_HUB}{repo}",
        size=size,
        kind=Kind.weights,
    )


def _of_llava(repo: str, size: str) -> Source:
    """One of whose card or file nothing was read: the authors say what holds for checkpoints."""
    licence = f"by its authors that of its language model, the {_LLAMA_2}; its own files not read"
    return _weights(repo, licence, size, page="https://github.com/haotian-liu/LLaVA#release")


WEIGHTS: dict[str, Source] = {
    "llava_13b": _weights("llava-hf/llava-1.5-13b-hf", _LLAMA_2, "27 GB"),
    "llava_next_13b": _of_llava("llava-hf/llava-v1.6-vicuna-13b-hf", "about 27 GB"),
    "llava_onevision_7b": _weights(
        "llava-hf/llava-onevision-qwen2-7b-ov-hf", "Apache-2.0", "about 16 GB"
    ),
    "qwen2_5_vl_7b": _weights("Qwen/Qwen2.5-VL-7B-Instruct", "Apache-2.0", "about 17 GB"),
    "qwen3_vl_8b": _weights("Qwen/Qwen3-VL-8B-Instruct", "Apache-2.0", "about 18 GB"),
    "internvl3_8b": _weights("OpenGVLab/InternVL3-8B-hf", "Qwen's licence", "15.9 GB"),
    "plum_language_model": _of_llava(
        "liuhaotian/llava-llama-2-13b-chat-lightning-preview", "about 26 GB"
    ),
    "sam_h": _weights(
        "facebook/sam-vit-huge",
        "Apache-2.0",
        "about 2.6 GB",
        page="https://github.com/facebookresearch/segment-anything#license",
    ),
    "sam2_1_l": _weights("facebook/sam2.1-hiera-large", "Apache-2.0", "0.9 GB in each format"),
    "grounding_dino": _weights(
        "IDEA-Research/grounding-dino-base",
        "Apache-2.0",
        "about 0.9 GB",
        page="https://github.com/IDEA-Research/GroundingDINO/blob/main/LICENSE",
    ),
    "llama_3_2_11b_vision": _weights(
        "meta-llama/Llama-3.2-11B-Vision-Instruct", f"{_LLAMA_3_2}; {_ASKED_FOR}", "about 21 GB"
    ),
    "clip_l14_336": _weights(
        "openai/clip-vit-large-patch14-336",
        "the repository is MIT; the card states none",
        "1.7 GB in each of two formats",
        page="https://github.com/openai/CLIP/blob/main/LICENSE",
    ),
    "open_clip_l14": _weights(
        "laion/CLIP-ViT-L-14-laion2B-s32B-b82K", "MIT", "1.7 GB in each format"
    ),
    "dinov3_vit_l": _weights(
        "facebook/dinov3-vitl16-pretrain-lvd1689m",
        f"DINOv3 licence; {_ASKED_FOR}",
        "about 1.2 GB",
        page=f"{_HUB}facebook/dinov3-vitl16-pretrain-lvd1689m/blob/main/LICENSE.md",
    ),
    "bge_large": _weights("BAAI/bge-large-en-v1.5", "MIT", "1.3 GB; 4 GB in all formats"),
    "all_mpnet_base_v2": _weights(
        "sentence-transformers/all-mpnet-base-v2", "Apache-2.0", "0.4 GB; 3.8 GB in all formats"
    ),
    "llama_3_2_tokenizer": Source(
        fetches=(
            WebFile(
                url=f"{_HUB}onnx-community/Llama-3.2-1B-Instruct-ONNX/resolve/main/tokenizer.json",
                folder="llama_3_2_tokenizer",
                sha256="79e3e522635f3171300913bb421464a87de6222182a0570b9b2ccba2a964b2b4",
            ),
        ),
        licence=_LLAMA_3_2,
        licence_page=f"{_HUB}onnx-community/Llama-3.2-1B-Instruct-ONNX",
        size="9 MB",
        kind=Kind.weights,
    ),
}
