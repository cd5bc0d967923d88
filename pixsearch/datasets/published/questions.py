"""Questions with their answers and images: what trajectories are built from and benchmarks ask."""

from pixsearch.datasets.published.images import COCO_TERMS
from pixsearch.datasets.published.knowledge import (
    CRAG_MM_LICENCE,
    CRAG_MM_PAGE,
    GOOGLE,
    OPEN_VISION,
)
from pixsearch.datasets.published.records import (
    NOT_VERIFIED,
    ByHand,
    HubFiles,
    Source,
    WebFile,
    web_files,
)
from pixsearch.datasets.questions import hotpotqa, nq_open, popqa
from pixsearch.datasets.questions.releases import HubRelease

_TEXTVQA = "https://dl.fbaipublicfiles.com/textvqa/"
_OKVQA = "https://okvqa.allenai.org/"
_VQA = "https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa/"
_SPLITS = ("train", "val", "test")


def _released(release: HubRelease, folder: str) -> tuple[HubFiles]:
    """The files that a reader reads, at its revision."""
    return (
        HubFiles(
            repo=release.repository,
            is_dataset=True,
            folder=folder,
            revision=release.revision,
            patterns=tuple(release.files.values()),
        ),
    )


def _open_vision(name: str, *splits: str) -> tuple[WebFile, ...]:
    return web_files(f"{OPEN_VISION}{name}/", name, *(f"{name}_{split}.jsonl" for split in splits))


_ABOUT_IMAGES: dict[str, Source] = {
    "textvqa": Source(
        fetches=(
            *web_files(
                f"{_TEXTVQA}data/",
                "textvqa",
                *(f"TextVQA_0.5.1_{split}.json" for split in _SPLITS),
                *(f"TextVQA_Rosetta_OCR_v0.2_{split}.json" for split in _SPLITS),
            ),
            *web_files(f"{_TEXTVQA}images/", "textvqa", "train_val_images.zip", "test_images.zip"),
        ),
        licence="annotations CC BY 4.0; images of Open Images",
        licence_page="https://huggingface.co/datasets/facebook/textvqa",
        size="0.1 GB, Rosetta's words not stated; images 6.6 and 0.9 GB",
        folders=("textvqa",),
        afterwards="unzip both in textvqa/",
    ),
    "infoseek": Source(
        fetches=(
            *_open_vision("infoseek", *_SPLITS, "human", "train_withkb", "val_withkb"),
            ByHand(
                page="https://github.com/edchengg/infoseek_eval",
                what="infoseek_val_qtype.jsonl, by which the official scorer chooses its metric",
            ),
        ),
        licence="the repository is Apache-2.0; images: those of oven",
        licence_page="https://github.com/open-vision-language/infoseek",
        size="0.4 GB without images",
        folders=("infoseek",),
    ),
    "oven": Source(
        fetches=(
            *_open_vision(
                "oven", *(f"{kind}_{split}" for kind in ("entity", "query") for split in _SPLITS)
            ),
            *_open_vision("oven", "human"),
            *web_files(OPEN_VISION, "oven", "Wiki6M_ver_1_0_title_only.jsonl"),
            HubFiles(repo="ychenNLP/oven", is_dataset=True, folder="oven"),
            ByHand(
                page="https://github.com/edchengg/oven_eval",
                what="merge_oven_images.py, which makes oven_images/ of the tars",
            ),
        ),
        licence="the repository is Apache-2.0; images: terms of fourteen data sets",
        licence_page="https://github.com/open-vision-language/oven",
        size="1.1 GB, titles of entities 0.4 GB; images 240 GB",
        folders=("oven",),
    ),
    "webqa": Source(
        fetches=(
            ByHand(
                page="https://github.com/WebQnA/WebQA",
                what="WebQA_train_val.json, WebQA_test.json and imgs.7z.001, .002, …",
            ),
        ),
        licence="CC0",
        licence_page="https://github.com/WebQnA/WebQA/blob/main/LICENSE",
        size="51 GB",
        folders=("webqa",),
        afterwards="7z x imgs.7z.001 in webqa/",
    ),
    "okvqa": Source(
        fetches=web_files(
            f"{_OKVQA}static/data/",
            "okvqa",
            *(
                name
                for split in ("train2014", "val2014")
                for name in (
                    f"OpenEnded_mscoco_{split}_questions.json.zip",
                    f"mscoco_{split}_annotations.json.zip",
                )
            ),
        ),
        licence="not stated; images: Flickr's terms",
        licence_page=f"{_OKVQA}download.html",
        size="GB not stated; images: coco (2014)",
        folders=("okvqa",),
        afterwards="unzip each in okvqa/",
    ),
    "aokvqa": Source(
        fetches=web_files(
            "https://prior-datasets.s3.us-east-2.amazonaws.com/aokvqa/",
            "aokvqa",
            "aokvqa_v1p0.tar.gz",
        ),
        licence="Apache-2.0; images: Flickr's terms",
        licence_page="https://github.com/allenai/aokvqa/blob/main/LICENSE",
        size="GB not stated; images: coco (2017), of test coco_test",
        folders=("aokvqa",),
        afterwards="tar -xzf in aokvqa/",
    ),
    "vqav2": Source(
        fetches=web_files(
            _VQA,
            "vqav2",
            *(f"v2_Questions_{split}_mscoco.zip" for split in ("Train", "Val", "Test")),
            *(f"v2_Annotations_{split}_mscoco.zip" for split in ("Train", "Val")),
        ),
        licence="its site's terms of use, and the field `license` of its files; images: Flickr's "
        f"terms ({COCO_TERMS})",
        licence_page="https://visualqa.org/download.html",
        size="GB not stated; images: coco (2014), of test coco_test",
        folders=("vqav2",),
        afterwards="unzip each in vqav2/",
    ),
    "gqa": Source(
        fetches=web_files(
            "https://downloads.cs.stanford.edu/nlp/data/gqa/",
            "gqa",
            "questions1.2.zip",
            "images.zip",
        ),
        licence=f"{NOT_VERIFIED}: conversions by others say CC BY 4.0; images are of Visual Genome",
        licence_page=None,
        size="1.4 GB; images 20.3 GB",
        folders=("gqa",),
        afterwards="unzip images.zip in gqa/, and questions1.2.zip so that "
        "gqa/questions/testdev_balanced_questions.json is there",
    ),
    "encyclopedic_vqa": Source(
        fetches=(
            *web_files(
                f"{GOOGLE}encyclopedic-vqa/",
                "encyclopedic_vqa",
                *(f"{split}.csv" for split in _SPLITS),
            ),
            ByHand(
                page="https://github.com/visipedia/inat_comp/tree/master/2021",
                what="iNaturalist 2021, the images of train and val with their lists, to "
                "encyclopedic_vqa/inaturalist",
            ),
            ByHand(
                page="https://github.com/cvdfoundation/google-landmark",
                what="Google Landmarks v2, to encyclopedic_vqa/landmarks",
            ),
        ),
        licence="the repository that describes it: data sets in it CC BY 4.0; of these files, "
        "which lie elsewhere, nothing is stated; images: each publisher's",
        licence_page="https://github.com/google-research/google-research#readme",
        size="77 MB without images; knowledge base: encyclopedic_wiki",
        folders=("encyclopedic_vqa",),
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
        licence=CRAG_MM_LICENCE,
        licence_page=CRAG_MM_PAGE,
        size="multi-turn validation 0.9 GB; others not stated",
        folders=("crag_mm_single_turn", "crag_mm_multi_turn"),
    ),
}

_WITHOUT_IMAGES: dict[str, Source] = {
    "hotpotqa": Source(
        fetches=_released(hotpotqa.HUB, "hotpotqa"),
        licence="CC BY-SA 4.0",
        licence_page="https://github.com/hotpotqa/hotpot#license",
        size="dev_distractor 27 MB, others not stated",
        folders=("hotpotqa",),
    ),
    "nq_open": Source(
        fetches=_released(nq_open.HUB, "nq_open"),
        licence="CC BY-SA 3.0",
        licence_page="https://github.com/google-research-datasets/natural-questions/tree/master/"
        "nq_open",
        size="not stated",
        folders=("nq_open",),
    ),
    "popqa": Source(
        fetches=_released(popqa.HUB, "popqa"),
        licence="the repository is MIT",
        licence_page="https://github.com/AlexTMallen/adaptive-retrieval/blob/main/LICENSE",
        size="not stated",
        folders=("popqa",),
    ),
    "musique": Source(
        fetches=(
            ByHand(
                page="https://github.com/StonyBrookNLP/musique#data",
                what="musique_v1.0.zip, from Google Drive; the musique_ans_v1.0_….jsonl in it to "
                "musique/",
            ),
        ),
        licence="CC BY 4.0",
        licence_page="https://github.com/StonyBrookNLP/musique#data",
        size="not stated",
        folders=("musique",),
    ),
}

QUESTIONS: dict[str, Source] = _ABOUT_IMAGES | _WITHOUT_IMAGES
