"""The pipeline baseline's first step: a detector looks for what a question names.

It is what came before models that ground: detect and segment (Grounded SAM), search with the crop,
then ask the language model.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pixsearch.config import DetectorKind, DetectorOptions, ForcedFirst, PolicyOptions, to_dict
from pixsearch.datasets.files import fingerprint
from pixsearch.evaluation.checkpoints import published_digest
from pixsearch.generation.records import Mask, Request
from pixsearch.line_store import digest
from pixsearch.miniature.detector import DESCRIPTION, PARTS, MiniatureDetector, frozen_parts
from pixsearch.training.checkpoint import weights_digest
from pixsearch.trajectories.grounder import PhraseGrounder
from pixsearch.trajectories.grounding_dino import GroundingDino

LONGEST_PHRASE = 40  # words of a question, from the first; detectors read few

_opened: dict[str, PhraseGrounder] = {}  # at most one, by its options and content


def with_region(request: Request, detector: PhraseGrounder | None) -> Request:
    """The request with what finds the region of a forced first search, if the policy forces one.

    The detector is asked when the search is, by the words of the question alone.

    Args:
        detector: of `detector_of`.
    """
    image = request.image
    if detector is None or image is None:
        return request
    phrase = " ".join(request.asked.split()[:LONGEST_PHRASE])

    def find() -> Mask:
        return detector.masks(image, [phrase])[0]

    return replace(request, find_region=find)


def detector_of(policy: PolicyOptions) -> PhraseGrounder | None:
    """What finds the region of a forced first search, loaded; None if the policy forces none.

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


def policy_identity(policy: PolicyOptions) -> dict[str, Any]:
    """All that decides the answers under a policy, the run aside: its detector by content too.

    Raises:
        ValueError: the detector is not there.
    """
    identity: dict[str, Any] = {"policy": to_dict(policy)}
    if policy.forced_first is ForcedFirst.region and policy.detector is not None:
        identity["detector"] = detector_digest(policy.detector)
    return identity


def detector_digest(options: DetectorOptions) -> str:
    """Of all that decides which regions a detector finds; what is on the hub counts by its commit.

    Raises:
        ValueError: it is not there.
    """
    if options.kind is DetectorKind.miniature:
        parts = frozen_parts(options.folder)
        folders = (Path(options.folder), *(parts / name for name in PARTS))
        described = fingerprint([Path(options.folder, DESCRIPTION)])
        return digest([described, *map(weights_digest, folders)])
    dino = options.grounding_dino
    return digest(
        [
            published_digest(dino.detector, revision=dino.detector_revision),
            published_digest(dino.segmenter, revision=dino.segmenter_revision),
        ]
    )


def open_detector(options: DetectorOptions) -> PhraseGrounder:
    """Load a detector; it stays loaded for the next policy.

    Raises:
        ValueError: it is not there, or is another model.
    """
    key = digest([to_dict(options), detector_digest(options)])
    if key not in _opened:
        _opened.clear()
        if options.kind is DetectorKind.miniature:
            _opened[key] = MiniatureDetector.open(options.folder)
        else:
            _opened[key] = GroundingDino(options.grounding_dino)
    return _opened[key]
