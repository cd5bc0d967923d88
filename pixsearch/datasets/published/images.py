"""Images with masks and conversations: what stage 1 is trained on and benchmarks of masks ask."""

from pixsearch.datasets.published.records import ByHand, HubFiles, Source, WebFile, web_files

COCO_TERMS = "https://github.com/nightrome/cocostuff#licensing"
_COCO = "http://images.cocodataset.org/zips/"
_ARCHIVED = "https://web.archive.org/web/"
_REFERIT = "https://bvisionweb1.cs.unc.edu/licheng/referit/data/"
_PACO = "https://dl.fbaipublicfiles.com/paco/annotations/"

IMAGES: dict[str, Source] = {
    "coco": Source(
        fetches=web_files(
            _COCO, "coco", "train2017.zip", "val2017.zip", "train2014.zip", "val2014.zip"
        ),
        licence="images: Flickr's terms",
        licence_page=COCO_TERMS,
        size="18, 1, 13 and 6 GB",
        folders=("coco",),
        afterwards="unzip each; link train2014 to refer_seg/images/mscoco/images/train2014",
    ),
    "coco_test": Source(
        fetches=web_files(_COCO, "coco", "test2015.zip", "test2017.zip"),
        licence="images: Flickr's terms",
        licence_page=COCO_TERMS,
        size="test2017 6 GB, test2015 not stated; of VQAv2's and A-OKVQA's test splits",
        folders=("coco",),
        afterwards="unzip each",
    ),
    "ade20k": Source(
        fetches=web_files(
            "http://data.csail.mit.edu/places/ADEchallenge/", "", "ADEChallengeData2016.zip"
        ),
        licence="BSD 3-clause by its card; images for research and teaching (not verified)",
        licence_page="https://huggingface.co/datasets/zhoubolei/scene_parse_150",
        size="0.9 GB",
        folders=("ade20k",),
        afterwards="unzip; rename ADEChallengeData2016 to ade20k",
    ),
    "coco_stuff": Source(
        fetches=web_files(
            "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/",
            "cocostuff",
            "stuffthingmaps_trainval2017.zip",
        ),
        licence="annotations CC BY 4.0; images: Flickr's terms",
        licence_page=COCO_TERMS,
        size="0.7 GB; images: coco",
        folders=("cocostuff",),
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
        licence_page="https://github.com/facebookresearch/paco",
        size="GB not stated; images: coco",
        folders=("vlpart/paco",),
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
        licence_page="http://roozbehm.info/pascal-parts/pascal-parts.html",
        size="GB not stated; 4,366 images",
        folders=("vlpart/pascal_part",),
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
        licence_page="https://github.com/TACJu/PartImageNet",
        size="3.1 GB",
        folders=("partimagenet",),
        afterwards="unzip; rename its folder PartImageNet to partimagenet",
    ),
    "refcoco": Source(
        fetches=(
            *web_files(f"{_ARCHIVED}20220413011718/{_REFERIT}", "refer_seg", "refcoco.zip"),
            *web_files(f"{_ARCHIVED}20220413011656/{_REFERIT}", "refer_seg", "refcoco+.zip"),
            ByHand(
                page="https://github.com/lichengunc/refer",
                what="refcocog.zip (umd), from the addresses of its README or an archive of them: "
                "the authors' server is away",
            ),
        ),
        licence="not stated; images: Flickr's terms",
        licence_page="https://github.com/lichengunc/refer",
        size="GB not stated; images: coco (train2014)",
        folders=("refer_seg/refcoco", "refer_seg/refcoco+", "refer_seg/refcocog"),
        afterwards="unzip each in refer_seg/",
    ),
    "grefcoco": Source(
        fetches=(HubFiles(repo="FudanCVL/gRefCOCO", is_dataset=True, folder="refer_seg/grefcoco"),),
        licence="not stated in its repository; images: Flickr's terms",
        licence_page="https://github.com/henghuiding/gRefCOCO",
        size="not stated; images: coco (train2014)",
        folders=("refer_seg/grefcoco",),
        afterwards="grefs(unc).json and instances.json are to lie in refer_seg/grefcoco/ itself",
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
        licence="CC BY 4.0, and by its repository OpenAI's terms; images: each publisher's",
        licence_page="https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K",
        size="1.3 GB without images",
        folders=("llava",),
    ),
    "reason_seg": Source(
        fetches=(
            ByHand(
                page="https://github.com/dvlab-research/LISA#dataset",
                what="ReasonSeg, from Google Drive, to reason_seg/ReasonSeg",
            ),
        ),
        licence="the repository is Apache-2.0; of the data nothing is stated",
        licence_page="https://github.com/dvlab-research/LISA",
        size="GB not stated; 1,218 images",
        folders=("reason_seg/ReasonSeg",),
    ),
}
