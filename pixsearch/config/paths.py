"""Where data and results lie."""

from dataclasses import dataclass


@dataclass
class PathOptions:
    """Where everything lies; the folders of the other options are given relative to these."""

    data: str = "data"  # real data sets and knowledge bases, see data/README.md
    outputs: str = "outputs"  # runs, indexes and results
    miniature: str = "outputs/miniature/runs/seed0-default"  # one run of the miniature
    foundation: str = "assets/miniature"  # the miniature's pre-trained parts
