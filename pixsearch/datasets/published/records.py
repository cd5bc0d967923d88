"""What is said of something published: where it is fetched, under which licence, how large."""

from dataclasses import dataclass
from enum import StrEnum

NOT_VERIFIED = "not verified"
"""How a licence begins of which nothing was found that says it."""


class Kind(StrEnum):
    """What a source is of."""

    data = "data"
    weights = "weights"


@dataclass(frozen=True, kw_only=True)
class WebFile:
    """A file at an address.

    Attributes:
        folder: under `paths.data`.
        sha256: as the publisher gives it.
    """

    url: str
    folder: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class HubFiles:
    """A repository of the Hugging Face hub.

    Attributes:
        folder: under `paths.data`; None: the hub's own cache, where transformers looks.
        revision: a commit, which names the content; None: the newest. In the hub's cache a commit
            alone is not found by who asks for the newest, as the loaders of models do.
        patterns: of the files that are needed; none: all.
    """

    repo: str
    is_dataset: bool = False
    folder: str | None = None
    revision: str | None = None
    patterns: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ByHand:
    """What nothing but a person fetches: behind a form, a drive, or to be made of other files."""

    page: str
    what: str


Fetch = WebFile | HubFiles | ByHand


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set, or the weights of a model.

    Attributes:
        licence: begins with `NOT_VERIFIED` where no page was found that says it.
        licence_page: where the licence was read; of a set of which none is stated, where it was
            looked for. None where it is not verified.
        size: in words; "not stated" where the publisher does not say.
        folders: under `paths.data`, in which readers look for it once `afterwards` is done; none of
            weights.
        afterwards: what is to be done with the files.
    """

    fetches: tuple[Fetch, ...]
    licence: str
    licence_page: str | None
    size: str
    folders: tuple[str, ...] = ()
    kind: Kind = Kind.data
    afterwards: str = ""


def web_files(base: str, folder: str, *names: str) -> tuple[WebFile, ...]:
    """Files at one address, into one folder."""
    return tuple(WebFile(url=f"{base}{name}", folder=folder) for name in names)
