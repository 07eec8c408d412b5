"""A toy boot, 14 cm long: one shoe of the generator's category, made small, with five keypoints.

Its shaft is narrow enough for a gripper's jaws at the heel.
"""

from __future__ import annotations

import numpy as np

from s3k_ros.simulation.generators.shoe import make_shoe
from s3k_ros.simulation.mesh import MeshObject

LENGTH_M = 0.14
KEYPOINTS = ("toe", "tongue", "heel", "inner_ankle", "outer_ankle")
# A boot, its toe towards +x, for the right foot.
_SEED, _FAMILY = 5, "train"
# The ankles: on the sides, this far from the heel towards the toe and above the ground, as shares
# of length and height.
_ANKLE = (0.22, 0.60)


def make_boot() -> MeshObject:
    """The toy boot, standing, its toe towards +x. Every call gives the same object.

    Keypoints: `toe` is the foremost point where upper and sole meet, `tongue` the middle of the
    tongue's free end, `heel` the middle of the rim at the back, and the ankles lie on the sides of
    the shaft, the inner one where the other boot of the pair would stand (+y).
    """
    shoe = make_shoe(_SEED, _FAMILY)
    scale = LENGTH_M / shoe.size[0]
    vertices = shoe.vertices * scale
    points = {name: point * scale for name, point in shoe.keypoints.items()}
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    ankle = low[[0, 2]] + np.array(_ANKLE) * (high - low)[[0, 2]]
    near = vertices[np.linalg.norm(vertices[:, [0, 2]] - ankle, axis=1) < 0.006]
    return MeshObject(
        name="toy_boot",
        vertices=vertices,
        faces=shoe.faces,
        uv=shoe.uv,
        texture=shoe.texture,
        keypoints={
            "toe": points["front"],
            "tongue": points["tongue"],
            "heel": points["heel"],
            "inner_ankle": near[np.argmax(near[:, 1])],
            "outer_ankle": near[np.argmin(near[:, 1])],
        },
    )
