"""What is searched: knowledge bases, and indexes that their publishers made."""

from pixsearch.datasets.published.records import HubFiles, Source, web_files

GOOGLE = "https://storage.googleapis.com/"
OPEN_VISION = f"{GOOGLE}gresearch/open-vision-language/"
CRAG_MM_LICENCE = "CC BY-NC 4.0: not for commercial use"
CRAG_MM_PAGE = "https://github.com/facebookresearch/CRAG-MM#license"


def _crag_mm_index(name: str, folder: str, revision: str | None) -> HubFiles:
    repo = f"crag-mm-2025/{name}"
    return HubFiles(repo=repo, is_dataset=True, folder=folder, revision=revision)


KNOWLEDGE: dict[str, Source] = {
    "crag_mm_search": Source(
        fetches=(
            _crag_mm_index("image-search-index-public-test", "crag_mm_image_index", None),
            _crag_mm_index(
                "web-search-index-public-test",
                "crag_mm_web_index",
                "bd32162ffb21626994ad86ab147793561ba8fad2",
            ),
        ),
        licence=CRAG_MM_LICENCE,
        licence_page=CRAG_MM_PAGE,
        size="web 17.6 GB; images not stated",
        folders=("crag_mm_image_index", "crag_mm_web_index"),
        afterwards="retrieval.crag_mm.image_index=data/crag_mm_image_index and web_index likewise, "
        "with web_revision=null, or leave all three to the first search, which fetches itself",
    ),
    "crag_mm_search_validation": Source(
        fetches=(
            _crag_mm_index(
                "image-search-index-validation",
                "crag_mm_image_index_validation",
                "19b5f4dca7218b0231b59e2c3da74da73b6acad7",
            ),
            _crag_mm_index(
                "web-search-index-validation",
                "crag_mm_web_index_validation",
                "ad1614b964d62575637babb7469f8c3086adb402",
            ),
        ),
        licence=CRAG_MM_LICENCE,
        licence_page=CRAG_MM_PAGE,
        size="web 9.5 GB or more; images not stated",
        folders=("crag_mm_image_index_validation", "crag_mm_web_index_validation"),
        afterwards="as crag_mm_search, with retrieval=crag_mm_validation, both revisions null",
    ),
    "wiki6m": Source(
        fetches=web_files(OPEN_VISION, "wiki6m", "Wiki6M_ver_1_0.jsonl.gz"),
        licence="the repository is Apache-2.0; articles and images have licences of their own",
        licence_page="https://github.com/open-vision-language/oven",
        size="6.9 GB without images",
        folders=("wiki6m",),
        afterwards="python scripts/prepare_knowledge.py source=wiki6m",
    ),
    "encyclopedic_wiki": Source(
        fetches=web_files(
            f"{GOOGLE}encyclopedic-vqa/", "encyclopedic_vqa", "encyclopedic_kb_wiki.zip"
        ),
        licence="the repository that describes it: data sets in it CC BY 4.0; of the file itself, "
        "which lies elsewhere, nothing is stated",
        licence_page="https://github.com/google-research/google-research#readme",
        size="4.9 GB without images",
        folders=("encyclopedic_vqa/knowledge_base",),
        afterwards="python scripts/import_corpus.py reader=encyclopedic_vqa "
        "source=data/encyclopedic_vqa/encyclopedic_kb_wiki.zip "
        "knowledge_base=data/encyclopedic_vqa/knowledge_base; "
        "the .json in the .zip has sha256 "
        "36af1b6718a975c355a776114be216f4800c61320897b2186d33d17a08e44c77",
    ),
}
