"""What a shoe is made of: panels, stitches, emblems and colours painted onto its surfaces.

The two families share no hue, no material and no emblem.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np

from s3k_ros.simulation.generators import textures
from s3k_ros.simulation.generators.shoe_form import COLUMNS, ShoeForm
from s3k_ros.simulation.generators.shoe_shape import FAMILIES, HEELED, TALL, ShoeShape
from s3k_ros.simulation.generators.textures import Array, Colour, Image

HUE_SLOTS = 24  # every second one belongs to a family
_WALL_PX = (1200, 336)  # width, height
_SOLE_PX = (1200, 64)
_TONGUE_PX = (160, 256)
_LACE_PX = (128, 32)
_SOFT = 0.004  # share of the length over which a panel's border fades
_STITCH = 0.011  # distance of a seam's stitches from the border


@dataclasses.dataclass(frozen=True)
class ShoeImages:
    """An image for each surface of `ShoeForm`, row 0 at the surface's last row."""

    wall: Image
    lining: Image
    sole_side: Image
    sole_bottom: Image
    tongue: Image
    lace: Image


@dataclasses.dataclass(frozen=True)
class _Surface:
    """The wall at every texel, in lengths: place, height above the sole, distance from the rim."""

    x: Array
    y: Array
    above: Array
    rim: Array
    rim_x: Array
    t: Array


Material = Callable[[np.random.Generator, _Surface], Array]
Emblem = Callable[[Array, Array], Array]


def paint(shape: ShoeShape, form: ShoeForm, rng: np.random.Generator, family: str) -> ShoeImages:
    """Images for all surfaces of a shoe; ``family`` is one of `FAMILIES`."""
    scheme = _scheme(shape, rng, family)
    tongue = textures.plain(*_TONGUE_PX, scheme["tongue"])
    label = (40, 22, 80, 42)
    cv2.rectangle(
        tongue, label[:2], (label[0] + label[2], label[1] + label[3]), scheme["accent"], -1
    )
    letters = ("RUVO", "KITE", "ALMA") if family == "train" else ("NORD", "ZEPH", "OXO")
    textures.write(
        tongue, letters[int(rng.integers(3))], (46, 27, 68, 32), scheme["sole"], bold=1.4
    )
    cv2.rectangle(tongue, (6, 4), (_TONGUE_PX[0] - 7, _TONGUE_PX[1]), scheme["trim"], 2)
    return ShoeImages(
        wall=_wall(shape, form, rng, family, scheme),
        lining=textures.grain(textures.plain(64, 64, scheme["lining"]), rng, 0.15),
        sole_side=_sole_side(shape, form, rng, family, scheme),
        sole_bottom=_tread(rng, scheme),
        tongue=textures.grain(tongue, rng, 0.12),
        lace=_lace(rng, scheme),
    )


def family_hues(family: str) -> tuple[float, ...]:
    """Middles of the hues, in turns, that shoes of a family may have."""
    return tuple(slot / HUE_SLOTS for slot in range(FAMILIES.index(family), HUE_SLOTS, 2))


def _scheme(shape: ShoeShape, rng: np.random.Generator, family: str) -> dict[str, Colour]:
    """Colours by part. Leathers and shades without hue differ between families in brightness."""
    test = FAMILIES.index(family)
    hues = rng.permutation(family_hues(family))
    white = textures.hsv(0.1, 0.02, 0.96 - 0.08 * test)
    black = textures.hsv(0.6, 0.05, 0.11 + 0.07 * test)
    grey = textures.hsv(0.6, 0.04, 0.62 - 0.16 * test)
    brown = textures.hsv((2.0 - test) / HUE_SLOTS, 0.62, rng.uniform(0.32, 0.6))
    strong = textures.hsv(hues[0], rng.uniform(0.6, 0.9), rng.uniform(0.4, 0.85))
    pale = textures.hsv(hues[1], rng.uniform(0.12, 0.4), rng.uniform(0.75, 0.95))
    dark = textures.hsv(hues[2], rng.uniform(0.4, 0.8), rng.uniform(0.15, 0.35))
    accent = textures.hsv(hues[3], rng.uniform(0.7, 0.95), rng.uniform(0.65, 0.95))
    if shape.style in HEELED:
        body = (brown, black, dark, brown)[int(rng.integers(4))]
        panel = textures.mix(body, black, 0.35)
        sole = (black, textures.mix(brown, black, 0.5), white)[int(rng.integers(3))]
        laces = (black, textures.mix(brown, white, 0.4))[int(rng.integers(2))]
        lining, tongue = textures.mix(brown, white, 0.35), textures.mix(body, black, 0.15)
    else:
        body = (strong, white, black, pale, grey, strong, dark)[int(rng.integers(7))]
        panel = (strong, dark, white, grey, pale)[int(rng.integers(5))]
        if np.abs(np.subtract(body, panel)).sum() < 90:
            panel = textures.mix(strong, black, 0.3) if body != strong else white
        sole = (white, white, grey, black, pale)[int(rng.integers(5))]
        laces = (white, black, accent, white)[int(rng.integers(4))]
        lining = (grey, dark, pale, black)[int(rng.integers(4))]
        tongue = (body, panel)[int(rng.integers(2))]
    if np.abs(np.subtract(laces, tongue)).sum() < 110:
        laces = white if sum(tongue) < 380 else black
    return {
        "body": body, "panel": panel, "sole": sole, "lace": laces, "lining": lining,
        "tongue": tongue, "accent": accent, "trim": textures.mix(panel, black, 0.25),
        "thread": textures.mix(body, white if sum(body) < 400 else black, 0.45),
    }  # fmt: skip


def _surface(form: ShoeForm) -> _Surface:
    """The wall's coordinates at every texel; row 0 of an image is the rim."""
    rim = form.wall[-1]
    away = np.linalg.norm(form.wall - rim, axis=-1)
    above = form.wall[..., 2] - form.sole_top
    t = np.repeat(np.linspace(0, 1, len(form.wall))[:, None], COLUMNS + 1, axis=1)
    rim_x = np.repeat(rim[None, :, 0], len(form.wall), axis=0)
    grids = (form.wall[..., 0], form.wall[..., 1], above, away, rim_x, t)
    return _Surface(*(_stretch(g[::-1], *_WALL_PX) for g in grids))


def _stretch(values: Array, width: int, height: int) -> Array:
    """A grid's values at texels, the grid's first and last lines at the borders."""
    rows, columns = values.shape
    x = np.linspace(0, columns - 1, width, dtype=np.float32)
    y = np.linspace(0, rows - 1, height, dtype=np.float32)
    at = np.meshgrid(x, y)
    return cv2.remap(values.astype(np.float32), *at, cv2.INTER_LINEAR)


def _within(distance: Array) -> Array:
    """Share 0..1 of a panel by the distance inside its border, in lengths."""
    return np.clip(distance / _SOFT + 0.5, 0, 1)


def _stitches(distance: Array, along: Array, pitch: float = 0.012) -> Array:
    """A dashed line inside a panel's border."""
    line = np.clip(1.6 - np.abs(distance - _STITCH) / 0.0016, 0, 1)
    return line * (np.abs(along / pitch % 1.0 - 0.5) < 0.34)


def _wall(
    shape: ShoeShape, form: ShoeForm, rng: np.random.Generator, family: str,
    scheme: dict[str, Colour],
) -> Image:  # fmt: skip
    at = _surface(form)
    image = textures.plain(*_WALL_PX, scheme["body"])
    panels = _panels(shape, at, rng, scheme)
    for distance, colour in panels:
        image = textures.blend(image, colour, _within(distance))
    emblems = EMBLEMS[family]
    if shape.style != "derby" and (shape.style != "boot" or rng.random() < 0.4):
        share = emblems[str(rng.choice(sorted(emblems)))](*_emblem_place(shape, at))
        image = textures.blend(image, scheme["accent"], share)
    for distance, _ in panels:
        along = at.x + at.above + 0.7 * at.y
        image = textures.blend(image, scheme["thread"], 0.9 * _stitches(distance, along))
    if shape.style in ("high_top", "boot", "skate") and rng.random() < 0.6:
        spots = _eyelets(shape, at)
        image = textures.blend(image, (60, 60, 62), spots)
    materials = MATERIALS[family]
    fabric = materials[str(rng.choice(sorted(materials)))](rng, at)
    # Dirt and shade where the upper meets the sole, folds over the ball.
    shade = 0.72 + 0.28 * np.clip(at.above / 0.035, 0, 1)
    folds = np.sin((at.x - 0.55) * 150) * np.exp(-(((at.x - 0.64) / 0.05) ** 2)) * (at.above > 0.03)
    factor = fabric * shade * (1 + 0.04 * folds)
    return textures.grain(textures.scaled(image, factor), rng, 0.06)


def _panels(
    shape: ShoeShape, at: _Surface, rng: np.random.Generator, scheme: dict[str, Colour]
) -> list[tuple[Array, Colour]]:
    """Distance inside the border and colour of each panel, from the lowest up."""
    panel, trim, body = scheme["panel"], scheme["trim"], scheme["body"]
    lacing = at.rim_x > shape["mouth_x"] - 0.03
    counter = 0.15 + 0.06 * rng.random() - at.x - 0.35 * at.above
    collar = np.where(lacing, -1.0, 0.035 + 0.02 * rng.random() - at.rim)
    eyestay = np.where(lacing, 0.042 + 0.016 * rng.random() - at.rim, -1.0)
    toe_line = at.x - (0.80 + 0.05 * rng.random()) + 2.2 * at.y**2
    kinds: dict[str, list[tuple[Array, Colour]]] = {
        "runner": [
            (0.045 + 0.04 * rng.random() - at.above - 0.16 * np.abs(at.x - 0.9), panel),
            (np.minimum(0.11 - np.abs(at.x - 0.36 - 0.4 * at.above), at.rim - 0.05), trim),
            (counter, panel), (collar, trim), (eyestay, panel),
        ],
        "court": [
            (toe_line, scheme["sole"] if rng.random() < 0.5 else panel),
            (counter, panel), (eyestay, body), (collar, trim),
        ],
        "high_top": [
            (toe_line - 0.02, scheme["sole"]), (counter, trim), (eyestay, panel),
            (0.018 - np.abs(at.x - 0.2), trim), (collar, trim),
        ],
        "derby": [
            (toe_line - (0.05 * np.cos(25 * at.y) if rng.random() < 0.5 else 0.0), panel),
            (np.where(lacing, 0.1 - at.rim, 0.47 - at.x - 0.3 * at.above), body),
            (counter, panel), (0.6 * collar, trim),
        ],
        "skate": [
            (toe_line + 0.12, panel), (0.25 - np.abs(at.x - 0.38) - 0.8 * at.above, trim),
            (counter, panel), (eyestay, trim), (collar, panel),
        ],
        "boot": [
            (toe_line, panel), (np.where(lacing, 0.075 - at.rim, -1.0), panel),
            (counter, panel), (collar, trim), (0.022 - at.above, trim),
        ],
    }  # fmt: skip
    return kinds[shape.style]


def _emblem_place(shape: ShoeShape, at: _Surface) -> tuple[Array, Array]:
    """Coordinates -1..1 over the emblem, on both sides of the shoe; forward and up."""
    size, height = (0.085, 0.21) if shape.style in TALL else (0.1, 0.11)
    return (at.x - 0.36) / size, (at.above - height) / (0.62 * size)


def _eyelets(shape: ShoeShape, at: _Surface) -> Array:
    """Dark dots along the lacing."""
    span = shape["throat_x"] - shape["mouth_x"]
    place = (at.rim_x - shape["mouth_x"]) / span * shape.rows
    near = np.hypot((place % 1.0 - 0.5) * span / shape.rows, at.rim - 0.025)
    lacing = (at.rim_x > shape["mouth_x"]) & (at.rim_x < shape["throat_x"])
    return np.where(lacing, _within(0.006 - near), 0.0)


def _sole_side(
    shape: ShoeShape, form: ShoeForm, rng: np.random.Generator, family: str,
    scheme: dict[str, Colour],
) -> Image:  # fmt: skip
    width, height = _SOLE_PX
    image = textures.plain(width, height, scheme["sole"])
    x = _stretch(form.wall[:1, :, 0].repeat(2, axis=0), width, height)
    v = np.linspace(1, 0, height)[:, None].repeat(width, axis=1)
    dark = textures.mix(scheme["sole"], textures.BLACK, 0.7)
    image = textures.blend(image, dark, (v < 0.16) * 1.0)  # outsole
    if shape.style in HEELED:
        image = textures.blend(
            image, scheme["thread"], (np.abs(v - 0.93) < 0.05) * (x * 90 % 1 < 0.6)
        )
    elif family == "train":
        colour = scheme["accent" if rng.random() < 0.5 else "panel"]
        level, thick = rng.uniform(0.45, 0.75), rng.uniform(0.04, 0.09)
        image = textures.blend(image, colour, (np.abs(v - level) < thick) * 1.0)
        if shape.style == "runner":
            image = textures.blend(image, dark, 0.5 * ((x * 60 % 1 < 0.2) & (v < 0.4)))
    else:
        level = rng.uniform(0.35, 0.6) + 0.12 * np.sin(2 * np.pi * x * rng.uniform(2, 5))
        image = textures.blend(
            image, scheme["accent"], 0.8 * ((v < level) & (v > 0.16) & (x < 0.45))
        )
        image = textures.blend(image, dark, 0.5 * ((x * 35 % 1 < 0.35) & (v > 0.8)))
    return textures.grain(image, rng, 0.08)


def _tread(rng: np.random.Generator, scheme: dict[str, Colour]) -> Image:
    """The sole from below; the image's rows run from the edge to the middle line."""
    image = textures.plain(600, 64, textures.mix(scheme["sole"], textures.BLACK, 0.72))
    pitch = int(rng.integers(10, 24))
    for x in range(0, 600, pitch):
        colour = textures.mix(scheme["sole"], textures.BLACK, 0.4)
        cv2.line(image, (x, 0), (x + int(rng.integers(4, 16)), 63), colour, max(2, pitch // 4))
    return textures.grain(image, rng, 0.1)


def _lace(rng: np.random.Generator, scheme: dict[str, Colour]) -> Image:
    image = textures.plain(*_LACE_PX, scheme["lace"])
    x, y = np.meshgrid(np.arange(_LACE_PX[0]), np.arange(_LACE_PX[1]))
    weave = ((x + y) % 6 < 2) | ((x - y) % 6 < 2)
    dark = textures.mix(scheme["lace"], textures.BLACK, 0.25)
    return textures.grain(textures.blend(image, dark, 0.6 * weave), rng, 0.06)


# --- materials: brightness at every texel ---------------------------------------------------------


def _canvas(rng: np.random.Generator, at: _Surface) -> Array:
    return 1 + 0.07 * np.sign(np.sin(700 * at.x) * np.sin(700 * at.above))


def _leather(rng: np.random.Generator, at: _Surface) -> Array:
    return 0.92 + 0.16 * textures.noise(rng, *_WALL_PX, 60)


def _net(rng: np.random.Generator, at: _Surface) -> Array:
    holes = np.sin(330 * at.x) * np.sin(330 * (at.above + 0.3 * np.abs(at.y)))
    return 1.04 - 0.3 * (holes > 0.55)


def _suede(rng: np.random.Generator, at: _Surface) -> Array:
    return 0.92 + 0.16 * textures.noise(rng, *_WALL_PX, 10)


def _knit(rng: np.random.Generator, at: _Surface) -> Array:
    bend = np.abs((at.x * 60) % 1.0 - 0.5)
    return 1.03 - 0.2 * (((at.above + 0.3 * np.abs(at.y)) * 75 + bend) % 1.0 < 0.3)


def _ripstop(rng: np.random.Generator, at: _Surface) -> Array:
    lines = (at.x * 45 % 1.0 < 0.1) | ((at.above + 0.3 * np.abs(at.y)) * 45 % 1.0 < 0.1)
    return 1.02 - 0.2 * lines


def _quilted(rng: np.random.Generator, at: _Surface) -> Array:
    rise = at.above + 0.3 * np.abs(at.y)
    a, b = (at.x + rise) * 16 % 1.0, (at.x - rise) * 16 % 1.0
    return 0.86 + 0.2 * np.sqrt(np.sin(np.pi * a) * np.sin(np.pi * b))


def _speckled(rng: np.random.Generator, at: _Surface) -> Array:
    spots = cv2.GaussianBlur(rng.random(at.x.shape), (0, 0), 2.0)
    return 1.02 - 0.35 * (spots > np.quantile(spots, 0.94))


MATERIALS: dict[str, dict[str, Material]] = {
    "train": {"canvas": _canvas, "leather": _leather, "net": _net, "suede": _suede},
    "test": {"knit": _knit, "ripstop": _ripstop, "quilted": _quilted, "speckled": _speckled},
}


# --- emblems: share 0..1 at places (forward, up), each -1..1 -------------------------------------


def _edge(distance: Array) -> Array:
    return np.clip(distance / 0.06 + 0.5, 0, 1)


def _three_bars(u: Array, v: Array) -> Array:
    lean = u + 0.5 * v
    bars = np.min([np.abs(lean - c) for c in (-0.6, 0.0, 0.6)], axis=0)
    return _edge(np.minimum(0.17 - bars, 1.0 - np.abs(v)))


def _sweep(u: Array, v: Array) -> Array:
    low = 0.9 * (u - 0.2) ** 2 - 0.8
    high = 0.35 * (u + 0.6) ** 2 - 0.35 + 0.25 * u
    return _edge(np.minimum(np.minimum(v - low, high - v + 0.35), 1.3 - np.abs(u)))


def _star(u: Array, v: Array) -> Array:
    angle = np.arctan2(v, u) - np.pi / 2
    fold = np.abs((angle * 5 / (2 * np.pi) + 0.5) % 1.0 - 0.5) * 2
    return _edge(0.95 * (1 - 0.55 * fold) - np.hypot(u, v))


def _chevrons(u: Array, v: Array) -> Array:
    lean = (u + 0.8 * np.abs(v)) % 0.7
    inside = np.minimum(1.2 - np.abs(u + 0.3), 1.0 - np.abs(v))
    return _edge(np.minimum(0.17 - np.abs(lean - 0.35), inside))


def _wave(u: Array, v: Array) -> Array:
    return _edge(np.minimum(0.3 - np.abs(v - 0.45 * np.sin(3.0 * u)), 1.4 - np.abs(u)))


def _ring(u: Array, v: Array) -> Array:
    return _edge(0.2 - np.abs(np.hypot(u, v) - 0.7))


def _zigzag(u: Array, v: Array) -> Array:
    tooth = 1.2 * np.abs((u * 0.9) % 1.0 - 0.5) * 2 - 0.6
    return _edge(np.minimum(0.24 - np.abs(v - tooth), 1.3 - np.abs(u)))


def _blocks(u: Array, v: Array) -> Array:
    boxes = [np.minimum(0.3 - np.abs(u - c), 0.75 - np.abs(v + 0.5 * c)) for c in (-0.55, 0.35)]
    return _edge(np.max(boxes, axis=0))


EMBLEMS: dict[str, dict[str, Emblem]] = {
    "train": {"three_bars": _three_bars, "sweep": _sweep, "star": _star, "chevrons": _chevrons},
    "test": {"wave": _wave, "ring": _ring, "zigzag": _zigzag, "blocks": _blocks},
}
