"""A plush fox that deforms: a tetrahedral elastic body (MuJoCo flex) under a textured skin.

The stuffing is a finite-element lattice cut from a union of ellipsoids; contact and friction act on
its tetrahedra, so a grip holds by squeezing. A fine skin, embedded in the tetrahedra by barycentric
weights, is what the cameras see. Poses of the limbs are poses of the *rest shape*: the edges' rest
lengths are rewritten in place, so one compiled model serves every arrangement of the toy.

Fox frame: x towards the nose, y to the toy's own left, z up; origin on the ground below the body.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Point = tuple[float, float, float]

OBJECT_ID = "plush_fox"
KEYPOINTS = ("head", "left_front_paw", "right_front_paw", "body", "tail")
SKELETON = ((0, 3), (1, 3), (2, 3), (3, 4))

MASS_KG = 0.22
LATTICE_M = 0.03
MIN_HEIGHT_M = 0.0108
YOUNG_PA = 6.0e3
POISSON = 0.2


@dataclasses.dataclass(frozen=True)
class Part:
    """One ellipsoid of the toy, with its colour and the limb that carries it.

    Attributes:
        centre: (3,) m, fox frame.
        radii: (3,) m, along the part's own axes.
        yaw_rad: rotation of the part about z.
        fur: name of the fur texture.
        limb: name of the limb whose joint moves it.
        stuffed: False for trims (ears, nose) that carry no stuffing.
        firm: True for a part filled like a bean bag: it keeps its shape.
    """

    name: str
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    fur: str
    limb: str
    yaw_rad: float = 0.0
    stuffed: bool = True
    firm: bool = False

    def local(self, points: Array) -> Array:
        """Points (..., 3) in the part's frame, scaled so that its surface is the unit sphere."""
        return ((points - np.array(self.centre)) @ _yaw(self.yaw_rad)) / np.array(self.radii)

    def surface(self, unit: Array) -> Array:
        """Maps points of the unit sphere (..., 3) onto the part's surface, fox frame, m."""
        return (unit * np.array(self.radii)) @ _yaw(self.yaw_rad).T + np.array(self.centre)


@dataclasses.dataclass(frozen=True)
class Limb:
    """A joint about which the rest shape of a limb may be turned.

    Attributes:
        pivot: (3,) m, fox frame.
        yaw_rad, pitch_rad: half ranges of the random turn about z and y.
    """

    name: str
    pivot: tuple[float, float, float]
    yaw_rad: float
    pitch_rad: float


LIMBS = (
    Limb("trunk", (0.0, 0.0, 0.045), 0.0, 0.0),
    Limb("head", (0.065, 0.0, 0.06), 0.5, 0.25),
    Limb("left_front", (0.045, 0.035, 0.028), 0.45, 0.08),
    Limb("right_front", (0.045, -0.035, 0.028), 0.45, 0.08),
    Limb("left_hind", (-0.05, 0.035, 0.028), 0.35, 0.08),
    Limb("right_hind", (-0.05, -0.035, 0.028), 0.35, 0.08),
    Limb("tail", (-0.08, 0.0, 0.04), 0.8, 0.15),
)


def _mirrored(name: str, centre: Point, limb: str, **part: Any) -> list[Part]:
    """A part and its mirror image; `limb` is that of the left one."""
    x, y, z = centre
    yaw = part.pop("yaw_rad", 0.0)
    return [
        Part(f"left_{name}", (x, y, z), limb=limb, yaw_rad=yaw, **part),
        Part(f"right_{name}", (x, -y, z), limb=limb.replace("left", "right"), yaw_rad=-yaw, **part),
    ]


PARTS: tuple[Part, ...] = (
    Part("body", (0.0, 0.0, 0.045), (0.088, 0.048, 0.043), "orange", "trunk"),
    Part("chest", (0.06, 0.0, 0.048), (0.034, 0.036, 0.034), "cream", "trunk"),
    Part("head", (0.112, 0.0, 0.078), (0.044, 0.048, 0.041), "orange", "head"),
    Part("muzzle", (0.150, 0.0, 0.066), (0.030, 0.021, 0.018), "cream", "head"),
    Part("nose", (0.180, 0.0, 0.070), (0.007, 0.008, 0.006), "black", "head", stuffed=False),
    *_mirrored(
        "eye", (0.146, 0.022, 0.090), "head", radii=(0.006,) * 3, fur="black", stuffed=False
    ),
    *_mirrored(
        "ear", (0.098, 0.031, 0.116), "head", radii=(0.010, 0.014, 0.026), fur="brown",
        stuffed=False,
    ),
    *_mirrored(
        "front_leg", (0.068, 0.077, 0.025), "left_front", radii=(0.056, 0.022, 0.022), fur="orange",
        yaw_rad=0.95,
    ),
    *_mirrored(
        "front_paw", (0.094, 0.113, 0.025), "left_front", radii=(0.030, 0.026, 0.024), fur="brown",
        yaw_rad=0.95, firm=True,
    ),
    *_mirrored(
        "hind_leg", (-0.070, 0.066, 0.026), "left_hind", radii=(0.046, 0.024, 0.024), fur="orange",
        yaw_rad=2.2,
    ),
    *_mirrored(
        "hind_paw", (-0.092, 0.098, 0.023), "left_hind", radii=(0.026, 0.022, 0.021), fur="cream",
        yaw_rad=2.2,
    ),
    Part("tail", (-0.135, 0.0, 0.040), (0.062, 0.028, 0.027), "orange", "tail"),
    Part("tail_tip", (-0.190, 0.0, 0.040), (0.032, 0.024, 0.023), "white", "tail"),
)  # fmt: skip

_KEYPOINT_PARTS = {
    "head": "head",
    "left_front_paw": "left_front_paw",
    "right_front_paw": "right_front_paw",
    "body": "body",
    "tail": "tail_tip",
}

FURS = {
    "orange": (205, 104, 36),
    "cream": (232, 214, 184),
    "white": (240, 236, 228),
    "brown": (66, 42, 32),
    "black": (18, 16, 16),
}


@dataclasses.dataclass(frozen=True)
class Skin:
    """The visible surface: UV spheres, one a part.

    Attributes:
        vertices: (V, 3) m, fox frame.
        texcoords: (V, 2) in the fur atlas.
        anchors: (V, 3) m, where each vertex is tied to the stuffing: itself, or
            the centre of a trim or a firm part, which moves as one.
        faces: (F, 3) indices.
    """

    vertices: Array
    texcoords: Array
    anchors: Array
    faces: NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Lattice:
    """The stuffing: nodes (N, 3) m in the fox frame, tetrahedra (T, 4)."""

    nodes: Array
    tets: NDArray[np.int64]

    def embed(self, points: Array, anchors: Array | None = None) -> tuple[NDArray[np.int64], Array]:
        """Barycentric embedding of points (P, 3): node indices (P, 4) and weights (P, 4).

        The tetrahedron is the one that holds the point's anchor (P, 3; the point itself when left
        out), or that it is least outside of. Weights extrapolate outside, so that a thin trim
        turns with the stuffing below it.
        """
        anchors = points if anchors is None else anchors
        corners = self.nodes[self.tets]
        inverse = np.linalg.inv((corners[:, 1:] - corners[:, :1]).transpose(0, 2, 1))
        best = _weights(inverse, corners[:, 0], anchors[:, None]).min(axis=-1).argmax(axis=1)
        return self.tets[best], _weights(inverse[best], corners[best, 0], points)


def _weights(inverse: Array, first: Array, points: Array) -> Array:
    local = np.einsum("...ij,...j->...i", inverse, points - first)
    return np.concatenate([1.0 - local.sum(-1, keepdims=True), local], axis=-1)


@lru_cache(maxsize=1)
def lattice() -> Lattice:
    """Cuts the stuffing from the union of the stuffed parts and snaps its skin to their surface."""
    stuffed = [part for part in PARTS if part.stuffed]
    grid = _grid(stuffed)
    filled = _depth(stuffed, grid + LATTICE_M / 2) < 1.0
    nodes, tets = _tetrahedra(grid, filled[:-1, :-1, :-1])
    return Lattice(_snapped(stuffed, nodes, tets), tets)


@lru_cache(maxsize=1)
def skin(segments: int = 20, rings: int = 12) -> Skin:
    """The UV spheres of all parts; each fur has its own column of the atlas."""
    columns = {fur: i for i, fur in enumerate(FURS)}
    lon, lat = np.meshgrid(np.linspace(0, 2 * np.pi, segments + 1), np.linspace(-1, 1, rings + 1))
    lat = np.arcsin(lat)
    unit = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)
    v, t, n, f = [], [], [], []
    for part in PARTS:
        offset = sum(map(len, v))
        v.append(part.surface(unit.reshape(-1, 3)))
        tied = part.stuffed and not part.firm
        n.append(v[-1] if tied else np.tile(np.array(part.centre), (len(v[-1]), 1)))
        across = 0.05 + 0.9 * lon / (2 * np.pi)
        u = (columns[part.fur] + across) / len(columns)
        t.append(np.stack([u, 0.5 + lat / np.pi * 0.98], -1).reshape(-1, 2))
        i, j = np.meshgrid(np.arange(rings), np.arange(segments), indexing="ij")
        a = (i * (segments + 1) + j).ravel() + offset
        b, c, d = a + 1, a + segments + 2, a + segments + 1
        f += [np.stack([a, b, c], -1), np.stack([a, c, d], -1)]
    return Skin(np.concatenate(v), np.concatenate(t), np.concatenate(n), np.concatenate(f))


def keypoint_positions() -> Array:
    """Keypoints (K, 3) in the fox frame, m, rest shape without turns: centres of their parts."""
    centres = {part.name: part.centre for part in PARTS}
    return np.array([centres[_KEYPOINT_PARTS[name]] for name in KEYPOINTS])


def posed(turns: dict[str, tuple[float, float]]) -> Array:
    """Lattice nodes (N, 3) of the rest shape with the limbs turned by (yaw, pitch) rad each.

    Linear blend skinning: each node follows the limbs by `_limb_weights`, so that the lattice bends
    at the joints instead of shearing apart.
    """
    nodes = lattice().nodes
    out = nodes.copy()
    for limb, weight in zip(LIMBS, _limb_weights().T, strict=True):
        yaw, pitch = turns.get(limb.name, (0.0, 0.0))
        moved = (nodes - limb.pivot) @ _turn(yaw, pitch).T + limb.pivot
        out += weight[:, None] * (moved - nodes)
    return out


def random_turns(rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """A random arrangement of the limbs: (yaw, pitch) rad a limb, uniform in the limbs' ranges."""
    return {
        limb.name: (
            float(rng.uniform(-limb.yaw_rad, limb.yaw_rad)),
            float(rng.uniform(-limb.pitch_rad, limb.pitch_rad)),
        )
        for limb in LIMBS
    }


def _yaw(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _turn(yaw: float, pitch: float) -> Array:
    c, s = np.cos(pitch), np.sin(pitch)
    return _yaw(yaw) @ np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


@lru_cache(maxsize=1)
def _limb_weights(rounds: int = 6) -> Array:
    """Share of each limb in each node (N, L): its own part's limb, diffused over the lattice."""
    stuffing = lattice()
    stuffed = [part for part in PARTS if part.stuffed]
    nearest = np.argmin([np.linalg.norm(p.local(stuffing.nodes), axis=-1) for p in stuffed], axis=0)
    names = [limb.name for limb in LIMBS]
    weights = np.eye(len(LIMBS))[[names.index(stuffed[i].limb) for i in nearest]]
    touching = np.zeros((len(stuffing.nodes),) * 2)
    for i, j in np.ndindex(4, 4):
        touching[stuffing.tets[:, i], stuffing.tets[:, j]] = 1.0
    spread = touching / touching.sum(axis=1, keepdims=True)
    for _ in range(rounds):
        weights = spread @ weights
    return weights


def _depth(parts: list[Part], points: Array) -> Array:
    """Below 1 inside the union of parts, 1 on its surface."""
    return np.min([np.linalg.norm(part.local(points), axis=-1) for part in parts], axis=0)


def _grid(parts: list[Part]) -> Array:
    surface = np.array([np.array(p.centre) + s * max(p.radii) for p in parts for s in (-1, 1)])
    low, high = surface.min(0), surface.max(0)
    low[2] = 0.0
    half = np.ceil(max(high[1], -low[1]) / LATTICE_M) * LATTICE_M
    axes = [
        np.arange(low[0], high[0] + 2 * LATTICE_M, LATTICE_M),
        np.arange(-half, half + 1.5 * LATTICE_M, LATTICE_M),
        np.arange(low[2], high[2] + 2 * LATTICE_M, LATTICE_M),
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1)


# Five tetrahedra a cube, mirrored in every other cube so that neighbours share their diagonals.
_EVEN = ((0, 1, 3, 5), (0, 3, 2, 6), (0, 5, 4, 6), (3, 5, 6, 7), (0, 3, 5, 6))
_ODD = ((1, 0, 2, 4), (1, 2, 3, 7), (1, 4, 5, 7), (2, 4, 6, 7), (1, 2, 4, 7))


def _tetrahedra(grid: Array, filled: NDArray[np.bool_]) -> tuple[Array, NDArray[np.int64]]:
    index = -np.ones(grid.shape[:3], dtype=np.int64)
    nodes: list[Array] = []
    tets = []
    for cell in np.argwhere(filled):
        corners = []
        for step in np.ndindex(2, 2, 2):
            at = tuple(cell + step)
            if index[at] < 0:
                index[at] = len(nodes)
                nodes.append(grid[at])
            corners.append(index[at])
        for tet in _EVEN if cell.sum() % 2 == 0 else _ODD:
            tets.append([corners[i] for i in tet])
    points, elements = np.array(nodes), np.array(tets)
    edges = points[elements[:, 1:]] - points[elements[:, :1]]
    flip = np.linalg.det(edges) < 0
    elements[flip, :2] = elements[flip, 1::-1]
    return points, elements


def _snapped(parts: list[Part], nodes: Array, tets: NDArray[np.int64]) -> Array:
    """Pulls boundary nodes towards the parts' surface, as far as the cells stay well shaped.

    A sliver's stiffness per node mass would force a smaller time step on the whole scene.
    """
    faces = np.sort(tets[:, [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]].reshape(-1, 3), axis=1)
    unique, count = np.unique(faces, axis=0, return_counts=True)
    out = nodes.copy()
    for node in np.unique(unique[count == 1]):
        part = min(parts, key=lambda p: float(np.linalg.norm(p.local(nodes[node]))))
        unit = part.local(nodes[node])
        move = part.surface(unit / max(float(np.linalg.norm(unit)), 1e-9)) - nodes[node]
        mine = tets[(tets == node).any(axis=1)]
        for fraction in (0.8, 0.6, 0.4, 0.2):
            trial = out.copy()
            trial[node] = nodes[node] + fraction * move
            if _smallest_height(trial[mine]) > MIN_HEIGHT_M:
                out = trial
                break
    return out


def _smallest_height(corners: Array) -> float:
    """The smallest height of tetrahedra (T, 4, 3), m; negative where one is inverted."""
    volume = np.linalg.det(corners[:, 1:] - corners[:, :1]) / 6.0
    areas = [
        np.linalg.norm(
            np.cross(corners[:, b] - corners[:, a], corners[:, c] - corners[:, a]), axis=1
        )
        for a, b, c in ((0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3))
    ]
    return float((3.0 * volume / (0.5 * np.max(areas, axis=0))).min())
