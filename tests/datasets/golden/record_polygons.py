"""Records what OpenCV draws: `pip install opencv-python-headless==4.8.0.74`, then

    python tests/datasets/golden/record_polygons.py

Recorded with OpenCV 4.8.0.74, which LISA asks for, 2026-11-27. Corners are inside the image, near
it and far outside.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("polygons.json")
MARGINS = (0.0, 0.0, 0.05, 0.5)  # how far corners lie outside, in sides of the image
PER_MARGIN = 50


def main() -> None:
    import cv2  # not among the requirements: nothing but this script needs it

    generator = np.random.default_rng(0)
    recorded = []
    for margin in MARGINS:
        for _ in range(PER_MARGIN):
            height, width = generator.integers(8, 100, 2).tolist()
            count = int(generator.integers(3, 20))
            places = generator.uniform(-margin, 1 + margin, (count, 2)) * (width, height)
            corners = places.astype(int)
            drawn = np.zeros((height, width), dtype=np.uint8)
            cv2.polylines(drawn, corners[None].astype(np.int32), True, 1, 1)
            cv2.fillPoly(drawn, corners[None].astype(np.int32), 1)
            sha256 = hashlib.sha256(np.packbits(drawn).tobytes()).hexdigest()
            recorded.append([height, width, corners.tolist(), int(drawn.sum()), sha256[:16]])
    lines = ",\n".join(json.dumps(each, separators=(",", ":")) for each in recorded)
    PATH.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
