"""Textured surfaces and how several become one mesh with one texture."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from s3k_ros.simulation.generators.textures import Image

Array = NDArray[np.float64]
# Texels around each image of an atlas, copies of its border: coarser mipmaps do not mix neighbours.
MARGIN_PX = 8


@dataclasses.dataclass(frozen=True)
class Part:
    """A surface with its own image.

    Attributes:
        vertices: (V, 3) m.
        faces: (F, 3) indices, counter-clockwise seen from outside.
        uv: (V, 2) place in the image: u to the right, v up, 0..1 over the whole image.
    """

    vertices: Array
    faces: NDArray[np.int32]
    uv: Array
    image: Image


def grid(points: Array, image: Image, uv: Array | None = None) -> Part:
    """A surface over a grid of points.

    Args:
        points: (rows, columns, 3), seen from outside: row 0 at the bottom, column 0 at the left.
        image: stretched over the grid.
        uv: (rows, columns, 2) instead of an even spread.
    """
    rows, columns = points.shape[:2]
    if uv is None:
        v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
        uv = np.stack([u, v], axis=-1)
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    part = Part(points.reshape(-1, 3), faces, uv.reshape(-1, 2), image)
    return _without_slivers(part)


def _without_slivers(part: Part) -> Part:
    """The part without faces that have no area, as where a grid's row shrinks to a point."""
    corners = part.vertices[part.faces]
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    return dataclasses.replace(part, faces=part.faces[area > 1e-12])


def flipped(part: Part) -> Part:
    """The same surface seen from its other side."""
    return dataclasses.replace(part, faces=part.faces[:, ::-1].copy())


def join(parts: list[Part]) -> tuple[Array, NDArray[np.int32], NDArray[np.float32], Image]:
    """Vertices, faces, uv and texture of one mesh. An image that parts share is stored once."""
    images = list({id(part.image): part.image for part in parts}.values())
    texture, places = _atlas(images)
    height, width = texture.shape[:2]
    vertices, faces, uvs, start = [], [], [], 0
    for part in parts:
        which = next(i for i, image in enumerate(images) if image is part.image)
        x, y = places[which]
        rows, columns = part.image.shape[:2]
        # Texel centres: the image's own border stays inside its place.
        u = (x + 0.5 + part.uv[:, 0] * (columns - 1)) / width
        v = 1 - (y + 0.5 + (1 - part.uv[:, 1]) * (rows - 1)) / height
        vertices.append(part.vertices)
        faces.append(part.faces + start)
        uvs.append(np.stack([u, v], axis=1))
        start += len(part.vertices)
    uv = np.clip(np.concatenate(uvs), 0, 1).astype(np.float32)
    return np.concatenate(vertices), np.concatenate(faces).astype(np.int32), uv, texture


def _atlas(images: list[Image]) -> tuple[Image, list[tuple[int, int]]]:
    """All images in one, and the upper left texel of each."""
    padded = [np.pad(i, ((MARGIN_PX,) * 2, (MARGIN_PX,) * 2, (0, 0)), mode="edge") for i in images]
    sizes = [image.shape[:2] for image in padded]
    widest = max(columns for _, columns in sizes)
    layouts = [_shelves(sizes, int(widest * share)) for share in (1.0, 1.1, 1.2, 1.35, 1.5, 2.0)]
    places, (height, width) = min(layouts, key=lambda layout: layout[1][0] * layout[1][1])
    texture = np.zeros((height, width, 3), np.uint8)
    for (x, y), image in zip(places, padded, strict=True):
        texture[y : y + image.shape[0], x : x + image.shape[1]] = image
    return texture, [(x + MARGIN_PX, y + MARGIN_PX) for x, y in places]


def _shelves(
    sizes: list[tuple[int, int]], width: int
) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Places (x, y) of images (rows, columns) on shelves, tallest first; and the size needed."""
    places: list[tuple[int, int]] = [(0, 0)] * len(sizes)
    x = y = shelf = used = 0
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i][0]):
        rows, columns = sizes[i]
        if x + columns > width:
            x, y, shelf = 0, y + shelf, 0
        places[i] = (x, y)
        x, shelf = x + columns, max(shelf, rows)
        used = max(used, x)
    return places, (y + shelf, used)


# Name: (right, up) seen from outside, so that right x up points outward.
CUBOID_FACES: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "front": ((1, 0, 0), (0, 0, 1)),
    "back": ((-1, 0, 0), (0, 0, 1)),
    "right": ((0, 1, 0), (0, 0, 1)),
    "left": ((0, -1, 0), (0, 0, 1)),
    "top": ((1, 0, 0), (0, 1, 0)),
    "bottom": ((1, 0, 0), (0, -1, 0)),
}


def cuboid(size_m: tuple[float, float, float], images: dict[str, Image]) -> list[Part]:
    """Six flat faces about the origin: front towards -y, right towards +x, top towards +z.

    Faces are divided so that light, which renderers compute at vertices, varies over them.
    """
    half = np.array(size_m) / 2
    parts = []
    for name, (right, up) in CUBOID_FACES.items():
        outward = np.cross(right, up)
        spans = [2 * np.abs(np.array(axis) @ half) for axis in (right, up)]
        columns, rows = (2 + int(span / 0.03) for span in spans)
        across = np.linspace(-1, 1, columns)[None, :, None] * np.array(right) * half
        upward = np.linspace(-1, 1, rows)[:, None, None] * np.array(up) * half
        parts.append(grid(outward * half + across + upward, images[name]))
    return parts


def revolve(profile: Array, image: Image, columns: int = 32) -> Part:
    """A surface of revolution about z; the image goes once around it.

    Args:
        profile: (rows, 2) radius and height, m, from the bottom up; a radius of 0 closes an end.
        image: spread evenly over the rows' arc length and the turn.
        columns: points around.
    """
    angle = np.linspace(0, 2 * np.pi, columns + 1)
    radius, height = profile[:, :1], profile[:, 1:]
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle), height + 0 * angle], -1)
    length = np.concatenate([[0], np.linalg.norm(np.diff(profile, axis=0), axis=1).cumsum()])
    v, u = np.meshgrid(length / length[-1], angle / angle[-1], indexing="ij")
    return grid(points, image, np.stack([u, v], axis=-1))


def disc(outline: Array, centre: Array, image: Image) -> Part:
    """A flat lid that faces up: the outline (N, 2), anticlockwise, about a point that sees it all.

    Args:
        outline: m, in the plane z = `centre[2]`.
        centre: (3,) m.
        image: laid flat over the outline's bounding box.
    """
    ring = np.concatenate([outline, outline[:1]])
    flat = np.stack([ring, np.broadcast_to(centre[:2], ring.shape)])
    points = np.concatenate([flat, np.full((*flat.shape[:2], 1), centre[2])], axis=-1)
    low, span = outline.min(axis=0), np.ptp(outline, axis=0)
    return grid(points, image, (flat - low) / span)


def prism(outline: Array, height_m: float, side: Image, lid: Image, floor: Image) -> list[Part]:
    """An outline (N, 2), anticlockwise about the origin, m, raised to a height, about z = 0.

    Corners stay sharp. Every corner must be in sight of the origin.
    """
    ring = np.concatenate([outline, outline[:1]])
    length = np.concatenate([[0], np.linalg.norm(np.diff(ring, axis=0), axis=1).cumsum()])
    places = length / length[-1]
    parts = []
    for i in range(len(outline)):
        edge = np.linspace(ring[i], ring[i + 1], 4)
        low = np.concatenate([edge, np.full((4, 1), -height_m / 2)], axis=1)
        v, u = np.meshgrid([0.0, 0.5, 1.0], np.linspace(*places[i : i + 2], 4), indexing="ij")
        rows = low + np.array([0, 0, height_m]) * np.array([0.0, 0.5, 1.0])[:, None, None]
        parts.append(grid(rows, side, np.stack([u, v], axis=-1)))
    bottom = flipped(disc(outline, np.array([0, 0, -height_m / 2]), floor))
    return [*parts, disc(outline, np.array([0, 0, height_m / 2]), lid), bottom]
