"""Options of fetching data sets and weights."""

from dataclasses import dataclass, field

from pixsearch.config.paths import PathOptions


@dataclass
class DownloadOptions:
    """scripts/download.py: prints the commands, or runs them."""

    what: list[str] = field(default_factory=list)  # names, `data` or `weights`; none: the names
    run: bool = False  # fetch, which accepts the licences that are printed
    paths: PathOptions = field(default_factory=PathOptions)
