"""What others publish and this project reads: where it is fetched, under which licence, how large.

data/README.md says how the folders look afterwards. Licences and sizes are what the publishers said
on 2026-11-27; sizes are of the downloads, those of weights with "about" being their parameters at
two bytes each (SAM, Grounding DINO, mpnet and DINOv3: four). A hash stands where one is published.
"""

from pixsearch.datasets.published_records import ByHand, HubFiles, Kind, Source, WebFile

_COCO = "http://images.cocodataset.org/zips/"
_CRAG = "CC BY-NC 4.0: not for commercial use"
_ARCHIVED = "https://web.archive.org/web/"
_REFERIT = "https://bvisionweb1.cs.unc.edu/licheng/referit/data/"
_FACEBOOK = "https://dl.fbaipublicfiles.com/"
_TEXTVQA, _PACO = f"{_FACEBOOK}textvqa/", f"{_FACEBOOK}paco/annotations/"
_OKVQA = "https://okvqa.allenai.org/static/data/"
_GOOGLE = "https://storage.googleapis.com/"
_OPEN_VISION = f"{_GOOGLE}gresearch/open-vision-language/"
_NOT_STATED = "not stated"


def _files(base: str, folder: str, *names: str) -> tuple[WebFile, ...]:
    return tuple(WebFile(url=f"{base}{name}", folder=folder) for name in names)


DATA: dict[str, Source] = {
    "coco": Source(
        fetches=_files(
            _COCO, "coco", "train2017.zip", "val2017.zip", "train2014.zip", "val2014.zip"
        ),
        licence="images: Flickr's terms",
        size="18, 1, 13 and 6 GB",
        afterwards="unzip each; link train2014 to refer_seg/images/mscoco/images/train2014",
    ),
    "ade20k": Source(
        fetches=_files(
            "http://data.csail.mit.edu/places/ADEchallenge/", "", "ADEChallengeData2016.zip"
        ),
        licence="research and teaching; annotations BSD 3-clause",
        size="0.9 GB",
        afterwards="unzip; rename ADEChallengeData2016 to ade20k",
    ),
    "coco_stuff": Source(
        fetches=_files(
            "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/",
            "cocostuff",
            "stuffthingmaps_trainval2017.zip",
        ),
        licence="annotations CC BY 4.0; images: Flickr's terms",
        size="0.7 GB; images: coco",
        afterwards="unzip in cocostuff/",
    ),
    "paco_lvis": Source(
        fetches=(
            WebFile(
                url=f"{_PACO}paco_lvis_v1.zip",
                folder="vlpart/paco/annotations",
                sha256="02ac4edb22c251e07853e6231d69aec3fad0a180f03de2f8c880650322debc80",
            ),
        ),
        licence="the repository is MIT; of annotations nothing is stated; images: Flickr's terms",
        size="GB not stated; images: coco",
        afterwards="unzip in vlpart/paco/annotations/",
    ),
    "pascal_part": Source(
        fetches=(
            ByHand(
                page="http://roozbehm.info/pascal-parts/pascal-parts.html",
                what="the parts and VOC 2010, made into train.json by pascal_part_mat2json.py of "
                "facebookresearch/VLPart",
            ),
        ),
        licence="not stated; images: Flickr's terms",
        size="GB not stated; 4,366 images",
    ),
    "part_imagenet": Source(
        fetches=(
            HubFiles(
                repo="turkeyju/PartImageNet",
                is_dataset=True,
                folder="partimagenet_download",
                patterns=("*PartImageNet_Seg.zip",),
            ),
        ),
        licence="not stated; images: ImageNet's terms (research)",
        size="3.1 GB",
        afterwards="unzip; rename its folder PartImageNet to partimagenet",
    ),
    "refcoco": Source(
        fetches=(
            *_files(f"{_ARCHIVED}20220413011718/{_REFERIT}", "refer_seg", "refcoco.zip"),
            *_files(f"{_ARCHIVED}20220413011656/{_REFERIT}", "refer_seg", "refcoco+.zip"),
            ByHand(
                page="https://github.com/lichengunc/refer",
                what="refcocog.zip (umd), from the addresses of its README or an archive of them: "
                "the authors' server is away",
            ),
        ),
        licence="not stated; images: Flickr's terms",
        size="GB not stated; images: coco (train2014)",
        afterwards="unzip each in refer_seg/",
    ),
    "llava": Source(
        fetches=(
            HubFiles(
                repo="liuhaotian/LLaVA-Instruct-150K",
                is_dataset=True,
                folder="llava",
                patterns=("llava_v1_5_mix665k.json", "llava_instruct_150k.json"),
            ),
            ByHand(
                page="https://github.com/haotian-liu/LLaVA#visual-instruction-tuning",
                what="the images of COCO, GQA, OCR-VQA, TextVQA and Visual Genome",
            ),
        ),
        licence="CC BY 4.0 and OpenAI's terms; images: each publisher's",
        size="1 GB without images",
    ),
    "reason_seg": Source(
        fetches=(
            ByHand(
                page="https://github.com/dvlab-research/LISA#dataset",
                what="ReasonSeg, from Google Drive, to reason_seg/ReasonSeg",
            ),
        ),
        licence="the repository is Apache-2.0; of the data nothing is stated",
        size="GB not stated; 1,218 images",
    ),
    "textvqa": Source(
        fetches=(
            *_files(
                f"{_TEXTVQA}data/",
                "textvqa",
                "TextVQA_0.5.1_train.json",
                "TextVQA_0.5.1_val.json",
                "TextVQA_0.5.1_test.json",
            ),
            *_files(f"{_TEXTVQA}images/", "textvqa", "train_val_images.zip", "test_images.zip"),
        ),
        licence="annotations CC BY 4.0; images of Open Images",
        size="0.1 GB; images 6.6 and 0.9 GB",
        afterwards="unzip both in textvqa/",
    ),
    "infoseek": Source(
        fetches=(
            *_files(
                f"{_OPEN_VISION}infoseek/",
                "infoseek",
                "infoseek_train.jsonl",
                "infoseek_val.jsonl",
                "infoseek_test.jsonl",
                "infoseek_train_withkb.jsonl",
                "infoseek_val_withkb.jsonl",
            ),
            ByHand(
                page="https://github.com/edchengg/infoseek_eval",
                what="infoseek_val_qtype.jsonl, by which the official scorer chooses its metric",
            ),
        ),
        licence="the repository is Apache-2.0; images: those of oven",
        size="0.4 GB without images",
    ),
    "oven": Source(
        fetches=(
            HubFiles(repo="ychenNLP/oven", is_dataset=True, folder="oven"),
            ByHand(
                page="https://github.com/edchengg/oven_eval",
                what="annotations, and merge_oven_images.py, which makes oven_images/ of the tars",
            ),
        ),
        licence="the repository is Apache-2.0; images: terms of fourteen data sets",
        size="1 GB; images 240 GB",
    ),
    "webqa": Source(
        fetches=(
            ByHand(
                page="https://github.com/WebQnA/WebQA",
                what="WebQA_train_val.json, WebQA_test.json and imgs.7z.001, .002, …",
            ),
        ),
        licence="CC0",
        size="51 GB",
        afterwards="7z x imgs.7z.001 in webqa/",
    ),
    "okvqa": Source(
        fetches=_files(
            _OKVQA,
            "okvqa",
            "OpenEnded_mscoco_train2014_questions.json.zip",
            "mscoco_train2014_annotations.json.zip",
            "OpenEnded_mscoco_val2014_questions.json.zip",
            "mscoco_val2014_annotations.json.zip",
        ),
        licence="not stated; images: Flickr's terms",
        size="GB not stated; images: coco (2014)",
        afterwards="unzip each in okvqa/",
    ),
    "aokvqa": Source(
        fetches=_files(
            "https://prior-datasets.s3.us-east-2.amazonaws.com/aokvqa/",
            "aokvqa",
            "aokvqa_v1p0.tar.gz",
        ),
        licence="Apache-2.0; images: Flickr's terms",
        size="GB not stated; images: coco (2017)",
        afterwards="tar -xzf in aokvqa/",
    ),
    "crag_mm": Source(
        fetches=tuple(
            HubFiles(
                repo=f"crag-mm-2025/crag-mm-{turns}-turn-public",
                is_dataset=True,
                folder=f"crag_mm_{turns}_turn",
                revision=revision,
            )
            for turns, revision in (
                ("single", "e3a061380b9e5c7cab76f6001173872fe9149081"),
                ("multi", "5f87aed919b7bb35a00a518ea401e1fb70a02d20"),
            )
        ),
        licence=_CRAG,
        size="multi-turn validation 0.9 GB; others not stated",
    ),
    "crag_mm_search": Source(
        fetches=(
            HubFiles(
                repo="crag-mm-2025/image-search-index-public-test",
                is_dataset=True,
                folder="crag_mm_image_index",
            ),
            HubFiles(
                repo="crag-mm-2025/web-search-index-public-test",
                is_dataset=True,
                folder="crag_mm_web_index",
                revision="bd32162ffb21626994ad86ab147793561ba8fad2",
            ),
        ),
        licence=_CRAG,
        size="web 17.6 GB; images not stated",
        afterwards="retrieval.crag_mm.image_index=data/crag_mm_image_index and web_index likewise, "
        "or leave both to the first search, which fetches them itself",
    ),
    "wiki6m": Source(
        fetches=_files(_OPEN_VISION, "wiki6m", "Wiki6M_ver_1_0.jsonl.gz"),
        licence="the repository is Apache-2.0; articles and images have licences of their own",
        size="6.9 GB without images",
        afterwards="python scripts/prepare_knowledge.py source=wiki6m",
    ),
    "encyclopedic_vqa": Source(
        fetches=_files(
            f"{_GOOGLE}encyclopedic-vqa/",
            "encyclopedic_vqa",
            "train.csv",
            "val.csv",
            "test.csv",
            "encyclopedic_kb_wiki.zip",
        ),
        licence=_NOT_STATED,
        size="4.9 GB without images",
        afterwards="the .json in the .zip has sha256 "
        "36af1b6718a975c355a776114be216f4800c61320897b2186d33d17a08e44c77",
    ),
}


def _weights(repo: str, licence: str, size: str) -> Source:
    fetches = (HubFiles(repo=repo),)
    return Source(fetches=fetches, licence=licence, size=size, kind=Kind.weights)


_LLAMA_2, _ON_CARD = "Llama 2 community licence", "on the model's card"

WEIGHTS: dict[str, Source] = {
    "llava_13b": _weights("llava-hf/llava-1.5-13b-hf", _LLAMA_2, "about 27 GB"),
    "llava_next_13b": _weights("llava-hf/llava-v1.6-vicuna-13b-hf", _LLAMA_2, "about 27 GB"),
    "llava_onevision_7b": _weights(
        "llava-hf/llava-onevision-qwen2-7b-ov-hf", "Apache-2.0", "about 16 GB"
    ),
    "qwen2_5_vl_7b": _weights("Qwen/Qwen2.5-VL-7B-Instruct", "Apache-2.0", "about 17 GB"),
    "qwen3_vl_8b": _weights("Qwen/Qwen3-VL-8B-Instruct", "Apache-2.0", "about 18 GB"),
    "internvl3_8b": _weights("OpenGVLab/InternVL3-8B-hf", _ON_CARD, "about 16 GB"),
    "plum_language_model": _weights(
        "liuhaotian/llava-llama-2-13b-chat-lightning-preview", _LLAMA_2, "about 26 GB"
    ),
    "sam_h": _weights("facebook/sam-vit-huge", "Apache-2.0", "about 2.6 GB"),
    "sam2_1_l": _weights("facebook/sam2.1-hiera-large", "Apache-2.0", "about 0.9 GB"),
    "grounding_dino": _weights("IDEA-Research/grounding-dino-base", "Apache-2.0", "about 0.9 GB"),
    "llama_3_2_11b_vision": _weights(
        "meta-llama/Llama-3.2-11B-Vision-Instruct",
        "Llama 3.2 community licence; access is asked for on its page",
        "about 21 GB",
    ),
    "clip_l14_336": _weights("openai/clip-vit-large-patch14-336", _ON_CARD, "1.7 GB"),
    "dinov3_vit_l": _weights(
        "facebook/dinov3-vitl16-pretrain-lvd1689m",
        "DINOv3 licence; access is asked for on its page",
        "about 1.2 GB",
    ),
    "bge_large": _weights("BAAI/bge-large-en-v1.5", "MIT", "1.3 GB; 4 GB in all formats"),
    "all_mpnet_base_v2": _weights(
        "sentence-transformers/all-mpnet-base-v2", "Apache-2.0", "about 0.4 GB"
    ),
    "llama_3_2_tokenizer": Source(
        fetches=(
            WebFile(
                url="https://huggingface.co/onnx-community/Llama-3.2-1B-Instruct-ONNX/resolve/main/"
                "tokenizer.json",
                folder="llama_3_2_tokenizer",
                sha256="79e3e522635f3171300913bb421464a87de6222182a0570b9b2ccba2a964b2b4",
            ),
        ),
        licence="Llama 3.2 community licence",
        size="9 MB",
        kind=Kind.weights,
    ),
}

PUBLISHED: dict[str, Source] = DATA | WEIGHTS
