"""Draws entities, labels and backgrounds with PIL; everything in pixels of the final picture."""

import math

import numpy as np
from PIL import Image, ImageDraw

from pixsearch.miniature.appearance import COLOURS, INKS, Appearance
from pixsearch.miniature.font import text_bitmap
from pixsearch.miniature.vocabulary import LABEL_COLOURS

Point = tuple[float | int, float | int]
Polygon = list[Point]

_SUPERSAMPLING = 3
_LABEL_MARGIN = 3  # font pixels around the letters of a plate
LABEL_ROWS = 7 + 2 * _LABEL_MARGIN  # font pixels of a plate

# Outlines in the unit square (x right, y down): for each kind three silhouettes, each a body
# polygon, a trim polygon drawn over it, and the emblem's centre and radius.
_SHAPES: dict[str, list[tuple[Polygon, Polygon, Point, float]]] = {
    "boat": [
        (
            [(0.02, 0.5), (0.98, 0.5), (0.8, 0.95), (0.2, 0.95)],
            [(0.46, 0.02), (0.54, 0.02), (0.54, 0.12), (0.9, 0.46), (0.46, 0.46)],
            (0.5, 0.72),
            0.19,
        ),
        (
            [(0.0, 0.42), (0.2, 0.55), (0.8, 0.55), (1.0, 0.42), (0.85, 0.98), (0.15, 0.98)],
            [(0.3, 0.1), (0.7, 0.1), (0.7, 0.55), (0.3, 0.55)],
            (0.5, 0.77),
            0.19,
        ),
        (
            [(0.05, 0.6), (0.95, 0.48), (0.95, 0.95), (0.05, 0.95)],
            [(0.5, 0.02), (0.85, 0.5), (0.15, 0.56)],
            (0.5, 0.76),
            0.17,
        ),
    ],
    "tower": [
        (
            [(0.25, 0.25), (0.75, 0.25), (0.75, 1.0), (0.25, 1.0)],
            [(0.5, 0.0), (0.85, 0.27), (0.15, 0.27)],
            (0.5, 0.6),
            0.2,
        ),
        (
            [(0.3, 0.2), (0.7, 0.2), (0.9, 1.0), (0.1, 1.0)],
            [(0.2, 0.02), (0.8, 0.02), (0.8, 0.22), (0.2, 0.22)],
            (0.5, 0.62),
            0.2,
        ),
        (
            [(0.18, 0.3), (0.82, 0.3), (0.82, 1.0), (0.18, 1.0)],
            [
                (0.18, 0.05),
                (0.38, 0.05),
                (0.38, 0.2),
                (0.62, 0.2),
                (0.62, 0.05),
                (0.82, 0.05),
                (0.82, 0.34),
                (0.18, 0.34),
            ],
            (0.5, 0.67),
            0.21,
        ),
    ],
    "lantern": [
        (
            [(0.25, 0.25), (0.75, 0.25), (0.9, 0.55), (0.75, 0.88), (0.25, 0.88), (0.1, 0.55)],
            [(0.35, 0.05), (0.65, 0.05), (0.72, 0.26), (0.28, 0.26)],
            (0.5, 0.57),
            0.21,
        ),
        (
            [(0.2, 0.2), (0.8, 0.2), (0.8, 0.85), (0.2, 0.85)],
            [(0.12, 0.82), (0.88, 0.82), (0.88, 0.99), (0.12, 0.99)],
            (0.5, 0.52),
            0.22,
        ),
        (
            [(0.5, 0.12), (0.92, 0.5), (0.5, 0.95), (0.08, 0.5)],
            [(0.3, 0.02), (0.7, 0.02), (0.7, 0.2), (0.3, 0.2)],
            (0.5, 0.55),
            0.2,
        ),
    ],
    "fish": [
        (
            [
                (0.0, 0.5),
                (0.2, 0.28),
                (0.5, 0.2),
                (0.75, 0.38),
                (0.75, 0.62),
                (0.5, 0.82),
                (0.2, 0.74),
            ],
            [(0.7, 0.5), (1.0, 0.2), (1.0, 0.8)],
            (0.4, 0.51),
            0.2,
        ),
        (
            [(0.0, 0.55), (0.3, 0.22), (0.7, 0.22), (0.95, 0.55), (0.7, 0.85), (0.3, 0.85)],
            [(0.35, 0.02), (0.75, 0.08), (0.68, 0.25), (0.32, 0.25)],
            (0.5, 0.54),
            0.21,
        ),
        (
            [(0.0, 0.42), (0.75, 0.25), (0.75, 0.8), (0.0, 0.65)],
            [(0.72, 0.5), (0.9, 0.1), (1.0, 0.5), (0.9, 0.95)],
            (0.48, 0.53),
            0.18,
        ),
    ],
    "flask": [
        (
            [(0.4, 0.2), (0.6, 0.2), (0.95, 0.95), (0.05, 0.95)],
            [(0.33, 0.03), (0.67, 0.03), (0.67, 0.22), (0.33, 0.22)],
            (0.5, 0.7),
            0.19,
        ),
        (
            [(0.2, 0.35), (0.8, 0.35), (0.95, 0.65), (0.8, 0.98), (0.2, 0.98), (0.05, 0.65)],
            [(0.4, 0.02), (0.6, 0.02), (0.6, 0.37), (0.4, 0.37)],
            (0.5, 0.67),
            0.21,
        ),
        (
            [(0.28, 0.3), (0.72, 0.3), (0.72, 0.98), (0.28, 0.98)],
            [(0.72, 0.4), (0.95, 0.4), (0.95, 0.75), (0.72, 0.75)],
            (0.5, 0.65),
            0.19,
        ),
    ],
    "banner": [
        (
            [(0.15, 0.1), (0.85, 0.1), (0.85, 1.0), (0.5, 0.8), (0.15, 1.0)],
            [(0.05, 0.02), (0.95, 0.02), (0.95, 0.14), (0.05, 0.14)],
            (0.5, 0.46),
            0.23,
        ),
        (
            [(0.15, 0.1), (0.85, 0.1), (0.85, 0.7), (0.5, 1.0), (0.15, 0.7)],
            [(0.05, 0.02), (0.95, 0.02), (0.95, 0.14), (0.05, 0.14)],
            (0.5, 0.46),
            0.23,
        ),
        (
            [(0.12, 0.12), (1.0, 0.3), (1.0, 0.7), (0.12, 0.88)],
            [(0.02, 0.02), (0.14, 0.02), (0.14, 1.0), (0.02, 1.0)],
            (0.5, 0.5),
            0.21,
        ),
    ],
}


def draw_entity(appearance: Appearance, *, side: int, rotation: float = 0.0) -> Image.Image:
    """The entity alone on a transparent square.

    Args:
        side: pixels of the square.
        rotation: degrees, counter-clockwise.

    Returns:
        RGBA; the entity is where alpha is above one half.
    """
    scale = side * _SUPERSAMPLING
    canvas = Image.new("RGBA", (scale, scale), (0, 0, 0, 0))
    pen = ImageDraw.Draw(canvas)
    body, trim, centre, radius = _SHAPES[appearance.kind][appearance.silhouette]
    pen.polygon(_scaled(body, scale), fill=COLOURS[appearance.colour])
    pen.polygon(_scaled(trim, scale), fill=COLOURS[appearance.trim])
    _draw_emblem(pen, appearance, centre=centre, radius=radius, scale=scale)
    if rotation:
        canvas = canvas.rotate(rotation, Image.Resampling.BICUBIC)
    return canvas.reduce(_SUPERSAMPLING)


def draw_label(word: str, *, scale: int) -> Image.Image:
    """The word on a plate of its two colours, with a dark frame; `scale` pixels a font pixel. RGB.

    As on a brand's label the colours say the same as the letters, which a small tower cannot read.
    """
    is_ink = np.pad(text_bitmap(word), _LABEL_MARGIN).repeat(scale, axis=0).repeat(scale, axis=1)
    left, right = (COLOURS[name] for name in LABEL_COLOURS[word])
    plate = np.empty((*is_ink.shape, 3), dtype=np.uint8)
    plate[:, : plate.shape[1] // 2], plate[:, plate.shape[1] // 2 :] = left, right
    plate[is_ink] = INKS["white"]
    plate[:1], plate[-1:], plate[:, :1], plate[:, -1:] = 20, 20, 20, 20
    return Image.fromarray(plate)


def draw_background(
    generator: np.random.Generator, *, width: int, height: int, clutter: int
) -> Image.Image:
    """A pale gradient with `clutter` soft grey shapes and a little noise. RGB."""
    top, bottom = generator.integers(120, 235, size=(2, 3))
    ramp = np.linspace(0.0, 1.0, height)[:, None, None]
    pixels = np.broadcast_to(top * (1 - ramp) + bottom * ramp, (height, width, 3))
    canvas = Image.fromarray(pixels.astype(np.uint8))
    pen = ImageDraw.Draw(canvas)
    for _ in range(clutter):
        left, upper = generator.integers(-20, width), generator.integers(-20, height)
        across, down = generator.integers(10, 70, size=2)
        grey = int(generator.integers(100, 235))
        tint = tuple(int(value) for value in np.clip(grey + generator.integers(-14, 15, 3), 0, 255))
        box = (int(left), int(upper), int(left + across), int(upper + down))
        (pen.ellipse if generator.random() < 0.5 else pen.rectangle)(box, fill=tint)
    noise = generator.integers(-6, 7, size=(height, width, 1))
    return Image.fromarray(
        np.clip(np.asarray(canvas, dtype=np.int16) + noise, 0, 255).astype(np.uint8)
    )


def relight(image: Image.Image, *, gain: float, offset: float) -> Image.Image:
    """Brightness changed as by another lamp: `gain * value + offset`, clipped."""
    pixels = np.asarray(image, dtype=np.float32) * gain + offset
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _scaled(polygon: Polygon, scale: int) -> Polygon:
    return [(x * scale, y * scale) for x, y in polygon]


def _draw_emblem(
    pen: ImageDraw.ImageDraw, appearance: Appearance, *, centre: Point, radius: float, scale: int
) -> None:
    x, y, r = centre[0] * scale, centre[1] * scale, radius * scale
    ink = INKS[appearance.ink]
    box = (x - r, y - r, x + r, y + r)
    match appearance.emblem:
        case "disc":
            pen.ellipse(box, fill=ink)
        case "ring":
            pen.ellipse(box, outline=ink, width=max(1, int(r * 0.42)))
        case "moon":
            pen.ellipse(box, fill=ink)
            bite = (x - 0.2 * r, y - 0.8 * r, x + 1.05 * r, y + 0.6 * r)
            pen.ellipse(bite, fill=COLOURS[appearance.colour])
        case "bars":
            for shift in (-0.75, 0.0, 0.75):
                pen.rectangle(
                    (x + (shift - 0.2) * r, y - r, x + (shift + 0.2) * r, y + r), fill=ink
                )
        case _:
            outline = _emblem_outline(appearance.emblem)
            pen.polygon([(x + u * r, y + v * r) for u, v in outline], fill=ink)


def _emblem_outline(emblem: str) -> Polygon:
    """Outline in units of the emblem's radius."""
    match emblem:
        case "star":
            return [
                (math.sin(step * math.pi / 5) * size, -math.cos(step * math.pi / 5) * size)
                for step in range(10)
                for size in ((1.1,) if step % 2 == 0 else (0.45,))
            ]
        case "cross":
            arm = 0.33
            corners = [(-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm)]
            return corners + [(-u, -v) for u, v in corners]
        case "diamond":
            return [(0, -1.1), (0.75, 0), (0, 1.1), (-0.75, 0)]
        case "triangle":
            return [(0, -1), (1, 0.85), (-1, 0.85)]
        case "heart":
            return [
                (0, 1),
                (-1, -0.1),
                (-0.9, -0.7),
                (-0.45, -0.95),
                (0, -0.5),
                (0.45, -0.95),
                (0.9, -0.7),
                (1, -0.1),
            ]
    raise ValueError(f"no emblem is called {emblem!r}; known are those of appearance.EMBLEMS")
