"""The box of a board game, 19.9 x 1.7 x 10.5 cm, with three of its corners as keypoints.

The size is that of the paper's box. Cover, back and the four sides all differ, and each corner has
colours and marks of its own, so that no view confuses one corner with another.
"""

from __future__ import annotations

import cv2
import numpy as np

from s3k_ros.simulation.generators import parts, textures
from s3k_ros.simulation.generators.textures import BLACK, WHITE, Image
from s3k_ros.simulation.mesh import MeshObject

SIZE_M = (0.199, 0.017, 0.105)
KEYPOINTS = ("corner_a", "corner_b", "corner_c")
TITLE = "SALT & SAIL"
# A millimetre on the box is this many texels: finer than a full-resolution camera sees it.
_PX_PER_MM = 5
_W, _D, _H = (round(1000 * s * _PX_PER_MM) for s in SIZE_M)

_NIGHT, _SEA, _FOAM = (24, 38, 84), (16, 110, 122), (196, 230, 226)
_SUN, _DUSK, _ROCK, _RED = (250, 196, 70), (236, 120, 70), (92, 66, 52), (190, 34, 40)
_PAPER, _INK, _GREEN = (236, 222, 190), (58, 44, 36), (64, 112, 58)


def make_box() -> MeshObject:
    """The game box, standing on a long edge: cover towards -y, its title upright.

    Keypoints: corners of the cover, seen from the front: `corner_a` upper left, `corner_b` upper
    right, `corner_c` lower right. The box has no free parameters: every call gives the same object.
    """
    rng = np.random.default_rng(19917105)
    images = {
        "front": _cover(rng),
        "back": _back(rng),
        "top": _spine(rng, _NIGHT, WHITE, _SUN),
        "bottom": _underside(rng),
        "left": _end(rng, _DUSK, BLACK, "2-4"),
        "right": _end(rng, _ROCK, _SUN, "8+"),
    }
    vertices, faces, uv, texture = parts.join(parts.cuboid(SIZE_M, images))
    x, y, z = (s / 2 for s in SIZE_M)
    corners = np.array([[-x, -y, z], [x, -y, z], [x, -y, -z]])
    return MeshObject(
        name="box",
        vertices=vertices,
        faces=faces,
        uv=uv,
        texture=texture,
        keypoints=dict(zip(KEYPOINTS, corners, strict=True)),
    )


def _cover(rng: np.random.Generator) -> Image:
    """A ship that sails home to a lighthouse at dusk, under the title."""
    image = np.concatenate([
        textures.gradient(_W, int(0.62 * _H), _NIGHT, _DUSK),
        textures.gradient(_W, _H - int(0.62 * _H), _SEA, (8, 52, 74)),
    ])  # fmt: skip
    horizon = int(0.62 * _H)
    glow = np.hypot(*np.ogrid[-0.45 * _H : 0.55 * _H : 1, -0.16 * _W : 0.84 * _W : 1][::-1])
    image = textures.blend(image, _SUN, 0.9 * np.exp(-glow[:_H, :_W] / 110) * _above(horizon))
    cv2.circle(image, (int(0.16 * _W), int(0.45 * _H)), 52, _SUN, -1, cv2.LINE_AA)
    _clouds(image, rng)
    _waves(image, rng, horizon)
    _ship(image, (int(0.33 * _W), int(0.72 * _H)), 1.15)
    _lighthouse(image, (int(0.80 * _W), horizon))
    _title(image)
    textures.badge(image, "8+", (int(0.055 * _W), int(0.895 * _H)), 38, _GREEN)
    textures.write(
        image, "A GAME OF WIND AND TRADE", (int(0.13 * _W), int(0.90 * _H), 360, 26), _FOAM
    )
    _frame(image)
    return textures.grain(image, rng, 0.10)


def _above(horizon: int) -> np.ndarray:
    return (np.arange(_H) < horizon)[:, None].astype(float)


def _clouds(image: Image, rng: np.random.Generator) -> None:
    for _ in range(9):
        x, y = int(rng.uniform(0.02, 0.62) * _W), int(rng.uniform(0.36, 0.58) * _H)
        axes = (int(rng.uniform(30, 95)), int(rng.uniform(4, 9)))
        cv2.ellipse(image, (x, y), axes, 0, 0, 360, (244, 170, 130), -1, cv2.LINE_AA)


def _waves(image: Image, rng: np.random.Generator, horizon: int) -> None:
    for y in range(horizon + 8, _H, 13):
        size = 6 + (y - horizon) // 9
        for x in range(-int(rng.integers(0, 40)), _W, 3 * size):
            if rng.random() < 0.7:
                colour = textures.mix(_SEA, _FOAM, rng.uniform(0.2, 0.8))
                cv2.ellipse(
                    image, (x, y), (size, size // 3 + 1), 0, 190, 350, colour, 2, cv2.LINE_AA
                )


def _ship(image: Image, at: tuple[int, int], scale: float) -> None:
    def shape(corners: list[tuple[float, float]], colour: textures.Colour) -> None:
        textures.fill(image, np.array(at) + scale * np.array(corners), colour)

    shape([(-100, -18), (112, -30), (84, 26), (-80, 26)], _ROCK)
    shape([(-100, -18), (112, -30), (108, -18), (-98, -6)], _RED)
    for x, height, width in ((-52, 150, 74), (28, 190, 92)):
        shape([(x - 3, -20), (x - 3, -height), (x + 3, -height), (x + 3, -20)], _INK)
        shape(
            [(x - 8, -height + 6), (x + width * 0.8, -height * 0.36), (x - 8, -height * 0.3)], WHITE
        )
        shape(
            [(x - 14, -height + 14), (x - width * 0.5, -height * 0.4), (x - 14, -height * 0.36)],
            _PAPER,
        )
        shape([(x + 3, -height), (x + 40, -height + 9), (x + 3, -height + 20)], _RED)


def _lighthouse(image: Image, at: tuple[int, int]) -> None:
    x, y = at
    cliff = [
        *((x - 150, y + 34), (x - 90, y - 30), (x - 30, y - 62), (x + 70, y - 50)),
        *((x + 130, y - 90), (_W, y - 110), (_W, _H), (x - 60, _H), (x - 110, y + 120)),
    ]
    textures.fill(image, cliff, _ROCK)
    textures.fill(
        image, [(x + 130, y - 90), (_W, y - 110), (_W, y - 84), (x + 120, y - 66)], _GREEN
    )
    textures.fill(
        image,
        [(x - 90, y - 30), (x - 30, y - 62), (x + 70, y - 50), (x - 40, y + 40)],
        (128, 94, 70),
    )
    light = image.copy()
    textures.fill(light, [(x + 4, y - 232), (_W, y - 300), (_W, y - 215)], (255, 240, 170))
    image[:] = cv2.addWeighted(light, 0.5, image, 0.5, 0)
    for i in range(5):
        low, high = 30 - 3 * i, 30 - 3 * (i + 1)
        corners = [(x - low, y - 50 - 34 * i), (x + low, y - 50 - 34 * i),
                   (x + high, y - 84 - 34 * i), (x - high, y - 84 - 34 * i)]  # fmt: skip
        textures.fill(image, corners, _RED if i % 2 == 0 else WHITE)
    cv2.rectangle(image, (x - 13, y - 244), (x + 13, y - 220), (255, 244, 180), -1)
    textures.fill(image, [(x - 20, y - 244), (x, y - 268), (x + 20, y - 244)], _INK)


def _title(image: Image) -> None:
    where = (int(0.115 * _W), int(0.075 * _H), int(0.60 * _W), int(0.24 * _H))
    textures.write(image, TITLE, where, _SUN, font=1, outline=(120, 20, 24), bold=2.2)


def _frame(image: Image) -> None:
    """What makes each corner of the cover its own."""
    cv2.rectangle(image, (0, 0), (int(0.09 * _W), int(0.12 * _H)), _RED, -1)
    textures.write(image, "N", (8, 4, 76, 54), WHITE, bold=1.8)
    textures.fill(image, [(_W, 0), (_W - 150, 0), (_W, 150)], WHITE)
    textures.fill(image, textures.star((_W - 42, 46), 34), _NIGHT)
    for i in range(4):
        x = _W - 30 - 42 * i
        cv2.circle(image, (x, _H - 52), 11, _SUN, -1, cv2.LINE_AA)
        textures.fill(image, [(x - 15, _H - 14), (x, _H - 50), (x + 15, _H - 14)], _SUN)


def _back(rng: np.random.Generator) -> Image:
    """What is in the box, and how it is played."""
    image = textures.plain(_W, _H, _PAPER)
    cv2.rectangle(image, (0, 0), (_W, int(0.15 * _H)), _SEA, -1)
    textures.write(image, TITLE, (40, 14, 420, 54), _PAPER, font=1, bold=1.6)
    textures.write(image, "THE HARBOUR IS YOURS", (560, 26, 380, 30), _SUN)
    textures.paragraph(image, rng, (40, 110, 330, 190), _INK, 13)
    textures.paragraph(image, rng, (40, 330, 250, 90), (110, 84, 64), 10)
    _board(image, rng, (420, 105, 330, 300))
    for i, colour in enumerate((_RED, _SUN, _SEA, _GREEN)):
        x, y = 800 + 90 * (i % 2), 130 + 120 * (i // 2)
        cv2.circle(image, (x + 30, y + 20), 17, colour, -1, cv2.LINE_AA)
        textures.fill(image, [(x, y + 82), (x + 30, y + 16), (x + 60, y + 82)], colour)
    textures.fill(image, [(0, _H), (0, _H - 120), (140, _H)], _RED)
    cv2.rectangle(image, (_W - 300, _H - 96), (_W, _H), _GREEN, -1)
    for i, words in enumerate(("2-4", "45'", "8+")):
        textures.badge(image, words, (_W - 245 + 95 * i, _H - 48), 36, _NIGHT)
    textures.paragraph(image, rng, (180, _H - 60, 460, 34), (150, 120, 96), 8)
    return textures.grain(image, rng, 0.10)


def _board(image: Image, rng: np.random.Generator, where: textures.Rectangle) -> None:
    """A picture of the game's board, of hexagons."""
    x0, y0, width, height = where
    cv2.rectangle(image, (x0, y0), (x0 + width, y0 + height), _NIGHT, -1)
    tiles = (_SUN, _GREEN, _ROCK, _SEA, _FOAM, _DUSK)
    angle = np.pi / 3 * np.arange(6) + np.pi / 6
    for row in range(6):
        for column in range(6):
            x = x0 + 34 + 52 * column + 26 * (row % 2)
            y = y0 + 28 + 46 * row
            if x < x0 + width - 26:
                corners = np.array([x, y]) + 27 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
                textures.fill(image, corners, tiles[int(rng.integers(len(tiles)))])


def _spine(
    rng: np.random.Generator, ground: textures.Colour, ink: textures.Colour, mark: textures.Colour
) -> Image:
    """The upper side: title to the left, a chequered band to the right."""
    image = textures.plain(_W, _D, ground)
    textures.write(image, TITLE, (110, 12, 430, _D - 24), ink, font=1, bold=1.5)
    textures.fill(image, textures.star((50, _D / 2), 30), mark)
    for i in range(14):
        x, y = _W - 20 - 24 * (i // 2 + 1), (i % 2) * _D // 2
        if (i + i // 2) % 2 == 0:
            cv2.rectangle(image, (x, y), (x + 24, y + _D // 2), mark, -1)
    cv2.rectangle(image, (_W - 20, 0), (_W, _D), WHITE, -1)
    return textures.grain(image, rng, 0.08)


def _underside(rng: np.random.Generator) -> Image:
    """The lower side: barcode, maker and small print."""
    image = textures.plain(_W, _D, _FOAM)
    textures.barcode(image, rng, (60, 4, 210, _D - 9))
    textures.paragraph(image, rng, (310, 14, 300, _D - 24), _INK, 9)
    cv2.rectangle(image, (700, 0), (_W, _D), _SEA, -1)
    textures.write(image, "TIDEMARK GAMES", (720, 20, 240, _D - 40), _PAPER)
    return textures.grain(image, rng, 0.08)


def _end(
    rng: np.random.Generator, ground: textures.Colour, ink: textures.Colour, words: str
) -> Image:
    """A short side: the title along it, and how many play or from what age."""
    image = textures.gradient(_H, _D, ground, textures.mix(ground, BLACK, 0.35))
    textures.write(image, TITLE, (110, 18, 240, _D - 36), ink, font=1)
    textures.badge(image, words, (_H - 60, _D // 2), 34, _NIGHT)
    cv2.rectangle(image, (0, 0), (70, _D), ink, -1)
    # Drawn along the side, which is upright on the box.
    return textures.grain(np.ascontiguousarray(np.rot90(image)), rng, 0.08)
