"""Distractors: boxes, books, tins and other things of the game box's size and kind of print.

A family is a set of hues and patterns that no other family has. Beside "train", "dev" and "test"
there are "epoch0", "epoch1" and so on: scenes that change with time, for studies of domain shift.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import cv2
import numpy as np

from s3k_ros.errors import ConfigurationError
from s3k_ros.simulation.generators import parts, textures
from s3k_ros.simulation.generators.patterns import PATTERNS, Palette
from s3k_ros.simulation.generators.textures import BLACK, WHITE, Array, Image
from s3k_ros.simulation.mesh import MeshObject

# The circle of hues in narrow slots: every fourth belongs to train, dev, test or the epochs.
HUE_SLOTS = 36
HUE_JITTER = 0.3  # of a slot, to either side of its middle: slots never touch
EPOCHS = 12
FAMILIES = ("train", "dev", "test", *(f"epoch{i}" for i in range(EPOCHS)))
_PX_PER_MM = 3
_SYLLABLES = ("ka", "lo", "mi", "ra", "ton", "ves", "dor", "qui", "ban", "zel", "pu", "gri", "os")
_CREAM = (238, 230, 208)


@dataclasses.dataclass(frozen=True)
class FamilyLook:
    """What the objects of a family may look like.

    Attributes:
        hues: middles of its hue slots, in turns, 0..1.
        patterns: names of its printed patterns.
        stream: number that keeps its random streams apart from other families'.
    """

    hues: tuple[float, ...]
    patterns: tuple[str, ...]
    stream: int


def family_look(family: str) -> FamilyLook:
    """The hues and patterns of a family: no two families share both.

    "train", "dev" and "test" share neither with each other, and epochs share no hue with them.

    Raises:
        ConfigurationError: an unknown family.
    """
    names = tuple(PATTERNS)
    kinds = {"train": names[:6], "dev": names[6:9], "test": names[9:]}
    if family in kinds:
        which = tuple(kinds).index(family)
        slots = range(which, HUE_SLOTS, 4)
        return FamilyLook(tuple(s / HUE_SLOTS for s in slots), kinds[family], which)
    match = re.fullmatch(r"epoch(\d{1,3})", family)
    if match is None or int(match[1]) >= EPOCHS:
        raise ConfigurationError(
            f"family = {family!r} must be 'train', 'dev', 'test' or 'epoch0'..'epoch{EPOCHS - 1}'"
        )
    epoch = int(match[1])
    # Three hues a third of the circle apart, and a quarter of the patterns.
    slots = (3 + 4 * (epoch % 3) + 12 * i for i in range(3))
    group = (epoch // 3 + epoch % 3) % 4
    return FamilyLook(tuple(s / HUE_SLOTS for s in slots), names[group::4], 3 + epoch)


def make_distractor(seed: int, family: str = "train") -> MeshObject:
    """The distractor of a seed; the same seed and family, the same object.

    Args:
        seed: not negative.
        family: see the module. Sizes are 5 to 24 cm, as of the game box.

    Raises:
        ConfigurationError: an unknown family or a negative seed.
    """
    look = family_look(family)
    if seed < 0:
        raise ConfigurationError(f"seed = {seed} must not be negative")
    rng = np.random.default_rng([seed, look.stream, 77])
    make = _KINDS[int(rng.choice(len(_KINDS), p=_SHARES))]
    vertices, faces, uv, texture = parts.join(make(rng, _Printer(rng, look)))
    middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    return MeshObject(f"distractor_{family}_{seed}", vertices - middle, faces, uv, texture, {})


class _Printer:
    """Draws one object's faces, all in one look.

    Attributes:
        palette: a strong colour first; hues of the family only, and shades without a hue.
    """

    def __init__(self, rng: np.random.Generator, look: FamilyLook) -> None:
        self._rng = rng
        jitter = rng.uniform(-HUE_JITTER, HUE_JITTER, 4) / HUE_SLOTS
        hues = rng.choice(look.hues, 4) + jitter
        neutral = (WHITE, BLACK, (128, 130, 134))[int(rng.integers(3))]
        self.palette: Palette = (
            textures.hsv(hues[0], rng.uniform(0.55, 0.95), rng.uniform(0.45, 0.95)),
            textures.hsv(hues[1], rng.uniform(0.3, 0.9), rng.uniform(0.35, 0.95)),
            textures.hsv(hues[0], rng.uniform(0.3, 0.8), rng.uniform(0.15, 0.45)),
            neutral,
            textures.hsv(hues[2], rng.uniform(0.5, 0.9), rng.uniform(0.6, 0.98)),
        )[: int(rng.integers(3, 6))]
        self._pattern = PATTERNS[str(rng.choice(look.patterns))]
        self._title = "".join(rng.choice(_SYLLABLES, int(rng.integers(2, 4)))).upper()
        self._font = int(rng.integers(4))

    def printed(self, width_m: float, height_m: float) -> Image:
        """The pattern alone."""
        size = (max(16, round(1000 * s * _PX_PER_MM)) for s in (width_m, height_m))
        return self._grain(self._pattern(self._rng, *size, self.palette))

    def cover(self, width_m: float, height_m: float) -> Image:
        """The pattern with a title on a band or plate, and a badge."""
        rng, image = self._rng, self.printed(width_m, height_m)
        height, width = image.shape[:2]
        ground, ink = (WHITE, BLACK) if rng.random() < 0.5 else (self.palette[2], WHITE)
        tall = int(rng.uniform(0.16, 0.3) * height)
        y = int(rng.uniform(0.02, 0.7) * height)
        x0, x1 = (0, width) if rng.random() < 0.5 else (int(0.08 * width), int(0.8 * width))
        if rng.random() < 0.75:
            cv2.rectangle(image, (x0, y), (x1, y + tall), ground, -1)
            textures.write(image, self._title, _inner(x0, y, x1 - x0, tall), ink, font=self._font)
        else:
            where = _inner(x0, y, x1 - x0, tall)
            textures.write(
                image, self._title, where, WHITE, font=self._font, outline=BLACK, bold=2.0
            )
        corner = (int(rng.choice([0.12, 0.88]) * width), int(rng.choice([0.12, 0.88]) * height))
        if rng.random() < 0.6:
            words = f"{rng.integers(2, 13)}+"
            textures.badge(image, words, corner, int(0.09 * min(width, height)), self.palette[2])
        return image

    def back(self, width_m: float, height_m: float) -> Image:
        """Small print, a picture and a barcode."""
        rng = self._rng
        width, height = (max(16, round(1000 * s * _PX_PER_MM)) for s in (width_m, height_m))
        image = textures.plain(width, height, WHITE if rng.random() < 0.5 else self.palette[1])
        picture = self.printed(0.4 * width_m, 0.5 * height_m)
        top, left = int(0.08 * height), int(rng.choice([0.06, 0.52]) * width)
        image[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        text_x = int(0.52 * width) if left < 0.3 * width else int(0.06 * width)
        size = (int(0.4 * width), int(0.5 * height))
        textures.paragraph(image, rng, (text_x, top, *size), BLACK, max(6, height // 26))
        bar = (int(0.6 * width), int(0.68 * height), int(0.32 * width), int(0.25 * height))
        textures.barcode(image, rng, bar)
        textures.write(
            image, self._title, (int(0.06 * width), int(0.7 * height), width // 2, height // 5),
            self.palette[2], font=self._font,
        )  # fmt: skip
        return self._grain(image)

    def label(self, width_m: float, height_m: float) -> Image:
        """A plain ground with the title, as on spines and sides."""
        width, height = (max(16, round(1000 * s * _PX_PER_MM)) for s in (width_m, height_m))
        image = textures.plain(width, height, self.palette[int(self._rng.integers(2))])
        upright = height > width
        flat = np.ascontiguousarray(np.rot90(image)) if upright else image
        where = _inner(flat.shape[1] // 8, 0, flat.shape[1] * 3 // 4, flat.shape[0])
        textures.write(flat, self._title, where, WHITE, font=self._font)
        return self._grain(np.ascontiguousarray(np.rot90(flat, -1)) if upright else flat)

    def pages(self, width_m: float, height_m: float) -> Image:
        """The cut edges of a book's pages."""
        width, height = (max(16, round(1000 * s * _PX_PER_MM)) for s in (width_m, height_m))
        image = textures.plain(width, height, _CREAM)
        lines = self._rng.uniform(0.8, 1.0, min(width, height))
        lines = lines[:, None] if height < width else lines[None, :]
        return np.clip(image * lines[..., None], 0, 255).astype(np.uint8)

    def _grain(self, image: Image) -> Image:
        return textures.grain(image, self._rng, 0.10)


def _inner(x: int, y: int, width: int, height: int) -> textures.Rectangle:
    return x + width // 12, y + height // 8, width * 5 // 6, height * 3 // 4


def _box(rng: np.random.Generator, printer: _Printer) -> list[parts.Part]:
    return _cuboid(rng, printer, rng.uniform([0.14, 0.012, 0.08], [0.23, 0.05, 0.14]), False)


def _book(rng: np.random.Generator, printer: _Printer) -> list[parts.Part]:
    return _cuboid(rng, printer, rng.uniform([0.11, 0.012, 0.15], [0.16, 0.035, 0.22]), True)


def _cuboid(
    rng: np.random.Generator, printer: _Printer, size: Array, book: bool
) -> list[parts.Part]:
    """A box or book that stands, or lies with its cover up."""
    x, y, z = size
    edge = printer.pages if book else printer.label
    images = {
        "front": printer.cover(x, z),
        "back": printer.back(x, z),
        "left": printer.label(y, z),
        "right": edge(y, z),
        "top": edge(x, y),
        "bottom": edge(x, y),
    }
    built = parts.cuboid((x, y, z), images)
    return built if rng.random() < 0.4 else [_laid(part) for part in built]


def _laid(part: parts.Part) -> parts.Part:
    """Turned about x: what faced -y faces up."""
    x, y, z = part.vertices.T
    return dataclasses.replace(part, vertices=np.stack([x, z, -y], axis=1))


def _tin(rng: np.random.Generator, printer: _Printer) -> list[parts.Part]:
    radius, height = rng.uniform(0.03, 0.055), rng.uniform(0.06, 0.17)
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    outline = radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    rim = 0.96 * outline
    side = printer.cover(2 * np.pi * radius, height)
    lid = printer.printed(2 * radius, 2 * radius)
    metal = textures.plain(16, 16, (176, 178, 182))
    bead = np.array([[0.96, -0.5], [1, -0.49], [1.03, -0.47], [1, -0.45]])
    profile = np.concatenate([bead, [[1, 0.0]], (bead * [1, -1])[::-1]]) * [radius, height]
    top = parts.disc(rim, np.array([0, 0, 0.5 * height]), lid)
    bottom = parts.flipped(parts.disc(rim, np.array([0, 0, -0.5 * height]), metal))
    return [parts.revolve(profile, side), top, bottom]


def _bottle(rng: np.random.Generator, printer: _Printer) -> list[parts.Part]:
    radius, height = rng.uniform(0.028, 0.042), rng.uniform(0.15, 0.22)
    shoulder, neck = rng.uniform(0.55, 0.75), rng.uniform(0.3, 0.45)
    bend = np.linspace(0, np.pi, 8)
    curve = np.stack(
        [neck + (1 - neck) * (1 + np.cos(bend)) / 2, shoulder + 0.16 * bend / np.pi], axis=1
    )
    low = [[0, 0], [0.92, 0], [1, 0.02], [1, 0.2], [1, 0.4]]
    high = [[neck, 0.93], [1.25 * neck, 0.93], [1.25 * neck, 1], [0, 1]]
    profile = np.concatenate([low, curve, high]) * [radius, height]
    image = printer.cover(2 * np.pi * radius, height)
    image[: int(0.1 * len(image))] = printer.palette[2]
    return [parts.revolve(profile, image)]


def _ball(rng: np.random.Generator, printer: _Printer) -> list[parts.Part]:
    radius = rng.uniform(0.04, 0.06)
    angle = np.linspace(-np.pi / 2, np.pi / 2, 20)
    profile = np.stack([np.cos(angle), rng.uniform(0.7, 1.1) * np.sin(angle)], axis=1) * radius
    profile[[0, -1], 0] = 0.0
    return [parts.revolve(profile, printer.printed(2 * np.pi * radius, np.pi * radius))]


def _bowl(rng: np.random.Generator, printer: _Printer) -> list[parts.Part]:
    radius, height = rng.uniform(0.04, 0.075), rng.uniform(0.05, 0.09)
    flare, wall = rng.uniform(0.55, 0.95), 0.93
    low = [[0, 0], [flare, 0], [(1 + flare) / 2 + 0.03, 0.4], [1, 1]]
    high = [[wall, 1], [((1 + flare) / 2) * wall, 0.4], [flare * wall, 0.08], [0, 0.08]]
    inside = textures.plain(16, 16, textures.mix(printer.palette[1], WHITE, 0.5))
    outer, inner = (np.array(p) * [radius, height] for p in (low, [[1, 1], *high]))
    side = printer.printed(2 * np.pi * radius, radius + height)
    return [parts.revolve(outer, side), parts.revolve(inner, inside)]


def _block(rng: np.random.Generator, printer: _Printer) -> list[parts.Part]:
    """A prism: a star, a cross, a wedge or a polygon."""
    radius, height = rng.uniform(0.045, 0.075), rng.uniform(0.025, 0.07)
    kind = int(rng.integers(4))
    corners = int(rng.integers(5, 8))
    if kind == 0:
        outline = textures.star((0, 0), radius, corners, rng.uniform(0.5, 0.75))
    elif kind == 1:
        arm = rng.uniform(0.3, 0.45)
        quarter = np.array([[1, -arm], [1, arm], [arm, arm]])
        turns = [np.array([[c, -s], [s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
        outline = radius * np.concatenate([quarter @ turn.T for turn in turns])
    else:
        count = 3 if kind == 2 else corners
        angle = 2 * np.pi * np.arange(count) / count
        stretch = [1.0, rng.uniform(0.55, 1.0)]
        outline = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1) * stretch
    around = np.linalg.norm(np.diff(outline, axis=0, append=outline[:1]), axis=1).sum()
    side = printer.printed(around, height)
    lid = printer.cover(2 * radius, 2 * radius)
    return parts.prism(outline, height, side, lid, textures.plain(16, 16, printer.palette[0]))


_Kind = Callable[[np.random.Generator, _Printer], list[parts.Part]]
_KINDS: tuple[_Kind, ...] = (_box, _book, _tin, _bottle, _ball, _bowl, _block)
# Half are boxes and books, as the game box is one.
_SHARES = (0.38, 0.17, 0.1, 0.1, 0.05, 0.08, 0.12)
