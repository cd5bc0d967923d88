"""What a knowledge source is, be it in this process, behind a server or spread over several."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pixsearch.config import Backend, RetrievalOptions, to_dict
from pixsearch.line_store import digest
from pixsearch.queries import AnySearcher
from pixsearch.retrieval.build import IMAGE, TEXT_INDEXES
from pixsearch.retrieval.knowledge_base import KnowledgeBase

REGION_SETTINGS = ("min_region_side", "region_margin", "region_scales", "region_blur")
SETTINGS = (
    "factory",
    "search_parameters",
    "device",
    "text_search",
    "fuse_question",
    "fusion",
    "reranker",
    *REGION_SETTINGS,
    "from_document",
)
QDRANT_SETTINGS = ("exact", "ef_search")  # fields of QdrantOptions


@dataclass(frozen=True, kw_only=True)
class SourceInfo:
    """All that decides what a search finds, the query and the policy aside.

    Attributes:
        manifests: of each index by its name, as written beside it; of a reranker its identity.
        corpus_sha256: of the documents.
        settings: the options (of `RetrievalOptions`) by which queries are searched with.
    """

    manifests: dict[str, Any]
    corpus_sha256: str
    num_documents: int
    settings: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Any) -> "SourceInfo":
        """What `to_json` gave; fields of other names are left out.

        Raises:
            ValueError: a field lacks, or is of another type.
        """
        types = {"manifests": dict, "corpus_sha256": str, "num_documents": int, "settings": dict}
        values = record if isinstance(record, dict) else {}
        for name, type in types.items():
            if not isinstance(values.get(name), type):
                raise ValueError(f"it does not say its {name}")
        if not all(map(_is_manifest, values["manifests"].values())):
            raise ValueError("one of its manifests is none")
        return cls(**{name: values[name] for name in types})


def _is_manifest(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("identity"), dict)


@runtime_checkable
class KnowledgeSource(AnySearcher, Protocol):
    """A searcher that says what it searches."""

    def info(self) -> SourceInfo: ...


def local_info(
    options: RetrievalOptions, knowledge_base: KnowledgeBase, *, reranker: str | None = None
) -> SourceInfo:
    """Of the indexes that `Searcher.open(options)` opens.

    Args:
        reranker: fingerprint of the cross-encoder, if there is one.
    """
    opened = (IMAGE, *TEXT_INDEXES[options.text_search])
    paths = {name: Path(options.index) / name / "manifest.json" for name in opened}
    found = {name: path for name, path in paths.items() if path.exists()}
    manifests = {name: json.loads(path.read_text()) for name, path in found.items()}
    if reranker is not None:
        manifests["reranker"] = {"identity": {"fingerprint": reranker}}
    return SourceInfo(
        manifests=manifests,
        corpus_sha256=knowledge_base.sha256,
        num_documents=len(knowledge_base),
        settings=settings_of(options),
    )


def settings_of(options: RetrievalOptions) -> dict[str, Any]:
    """The options that decide what is found in an index."""
    plain = to_dict(options)
    settings = {name: plain[name] for name in SETTINGS}
    if options.backend is Backend.qdrant:
        settings["qdrant"] = {name: plain["qdrant"][name] for name in QDRANT_SETTINGS}
    return settings


def digest_of(info: SourceInfo) -> str:
    """sha256 of all that it says."""
    return digest(info.to_json())
