"""The pipeline baseline's first step: a detector looks for what a question names.

It is what came before models that ground: detect and segment (Grounded SAM), search with the crop,
then ask the language model.
"""

from dataclasses import replace

from pixsearch.config import DetectorKind, DetectorOptions, ForcedFirst, PolicyOptions, to_dict
from pixsearch.generation.records import Mask, Request
from pixsearch.line_store import digest
from pixsearch.miniature.detector import MiniatureDetector
from pixsearch.trajectories.grounder import PhraseGrounder
from pixsearch.trajectories.grounding_dino import GroundingDino

LONGEST_PHRASE = 40  # words of a question, from the first; detectors read few

_opened: dict[str, PhraseGrounder] = {}  # at most one, by its options


def with_region(request: Request, policy: PolicyOptions) -> Request:
    """The request with what finds the region of a forced first search, if the policy forces one.

    The detector is asked when the search is, by the words of the question alone.

    Raises:
        ValueError: as `open_detector_of`.
    """
    image = request.image
    detector = None if image is None else open_detector_of(policy)
    if detector is None:
        return request
    phrase = " ".join(request.asked.split()[:LONGEST_PHRASE])

    def find() -> Mask:
        return detector.masks(image, [phrase])[0]

    return replace(request, find_region=find)


def open_detector_of(policy: PolicyOptions) -> PhraseGrounder | None:
    """The detector of a policy that forces a region; None where it forces none.

    Raises:
        ValueError: the policy names no detector, or it cannot be opened.
    """
    if policy.forced_first is not ForcedFirst.region:
        return None
    if policy.detector is None:
        raise ValueError(
            f"policy={policy.name}: forced_first=region without policy.detector; "
            "configs/policy/pipeline.yaml names one"
        )
    return open_detector(policy.detector)


def open_detector(options: DetectorOptions) -> PhraseGrounder:
    """Load a detector; it stays loaded for the next request.

    Raises:
        ValueError: it is not there, or is another model.
    """
    key = digest(to_dict(options))
    if key not in _opened:
        _opened.clear()
        if options.kind is DetectorKind.miniature:
            _opened[key] = MiniatureDetector.open(options.folder)
        else:
            _opened[key] = GroundingDino(options.grounding_dino)
    return _opened[key]
