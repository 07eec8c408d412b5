"""Shoes: an endless category with three keypoints that mean the same on every one.

`front` is the foremost point where the upper meets the sole, `tongue` the middle of the tongue's
free end, `heel` the middle of the collar's rim at the back. Shoes of the families "train" and
"test" differ in every measure, hue, material and emblem (`shoe_shape`, `shoe_look`).
"""

from __future__ import annotations

import numpy as np

from s3k_ros.simulation.generators import parts, shoe_look
from s3k_ros.simulation.generators.shoe_form import Array, ShoeForm, build_form
from s3k_ros.simulation.generators.shoe_shape import FAMILIES, ShoeShape, check, draw_shape
from s3k_ros.simulation.mesh import MeshObject

KEYPOINTS = ("front", "tongue", "heel")


def make_shoe(seed: int, family: str = "train") -> MeshObject:
    """The shoe of a seed; the same seed and family, the same shoe. It stands, its toe towards +x.

    Args:
        seed: not negative. Six seeds in a row are of six styles, left and right shoes in turn.
        family: "train" or "test".

    Raises:
        ConfigurationError: an unknown family or a negative seed.
    """
    shape = shoe_shape(seed, family)
    form = build_form(shape)
    rng = np.random.default_rng([seed, FAMILIES.index(family), 12])
    vertices, faces, uv, texture = parts.join(_surfaces(shape, form, rng, family))
    keypoints = np.stack([form.keypoints[name] for name in KEYPOINTS])
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    middle, scale = (low + high) / 2, shape.length_m / (high[0] - low[0])
    side = np.array([1.0, 1.0 if shape.left else -1.0, 1.0])
    vertices, keypoints = (scale * (p - middle) * side for p in (vertices, keypoints))
    return MeshObject(
        name=f"shoe_{family}_{seed}",
        vertices=vertices,
        faces=faces if shape.left else faces[:, ::-1],
        uv=uv,
        texture=texture,
        keypoints=dict(zip(KEYPOINTS, keypoints, strict=True)),
    )


def shoe_shape(seed: int, family: str = "train") -> ShoeShape:
    """The measures behind `make_shoe`; raises as it does."""
    check(seed, family)
    return draw_shape(np.random.default_rng([seed, FAMILIES.index(family), 11]), seed, family)


def shoe_length(mesh: MeshObject) -> float:
    """Length from heel to toe, m, of a shoe that stands as `make_shoe` gives it."""
    return float(mesh.size[0])


def _surfaces(
    shape: ShoeShape, form: ShoeForm, rng: np.random.Generator, family: str
) -> list[parts.Part]:
    images = shoe_look.paint(shape, form, rng, family)
    front, back = form.tongue
    built = [
        parts.grid(form.wall, images.wall),
        parts.grid(form.lining, images.lining),
        parts.grid(form.sole_side, images.sole_side),
        parts.grid(form.sole_bottom, images.sole_bottom),
        parts.grid(front, images.tongue, _label_uv(front, shape.left)),
        parts.grid(back, images.lining),
    ]
    return built + [parts.grid(lace, images.lace) for lace in form.laces]


def _label_uv(face: Array, left: bool) -> Array:
    """Place in the tongue's image, so that its label reads on a mirrored shoe too."""
    rows, columns = face.shape[:2]
    u, v = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
    return np.stack([u if left else 1 - u, v], axis=-1)
