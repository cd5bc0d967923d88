"""What others publish and this project reads: where it is fetched, under which licence, how large.

data/README.md says how the folders look afterwards. Licences were read on 2026-11-27 on the page
that each record names, or in a stored copy of it. Sizes are of the downloads, as their publishers
state them; those with "about" are parameters at two bytes each (SAM, Grounding DINO and DINOv3:
four), so that a repository which keeps several formats is larger. A hash stands where one is
published.
"""

from pixsearch.datasets.published.images import IMAGES
from pixsearch.datasets.published.knowledge import KNOWLEDGE
from pixsearch.datasets.published.questions import QUESTIONS
from pixsearch.datasets.published.records import Source
from pixsearch.datasets.published.weights import WEIGHTS

DATA: dict[str, Source] = IMAGES | QUESTIONS | KNOWLEDGE

PUBLISHED: dict[str, Source] = DATA | WEIGHTS
