"""Options of the detector that looks for a region before the model speaks."""

from dataclasses import dataclass, field

from pixsearch.config.choices import DetectorKind
from pixsearch.config.grounding_dino import GroundingDinoOptions


@dataclass
class DetectorOptions:
    """`policy.detector`: it is given the question's words, and no other."""

    kind: DetectorKind = DetectorKind.grounding_dino
    grounding_dino: GroundingDinoOptions = field(default_factory=GroundingDinoOptions)
    folder: str = "outputs/miniature/detector"  # of kind=miniature
