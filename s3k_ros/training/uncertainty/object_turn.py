"""How far an object has turned about the vertical, from its keypoints."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_ROUNDS = 10


def turns(points: Array) -> Array:
    """(N,) rad, turn of each sample's keypoints (N, K, 3) against a common shape.

    The shape is the mean of the samples, turned onto each other (Procrustes, about the vertical
    alone). Keypoints that are NaN do not count. Zero where fewer than two are known: there is
    nothing to turn.
    """
    level = points[..., 0] + 1j * points[..., 1]
    known = np.isfinite(points).all(-1)
    shape = level[int(np.argmax(known.sum(1)))]
    angles = np.zeros(len(points))
    for _ in range(_ROUNDS):
        angles = np.array([_turn(shape, sample) for sample in level])
        shape = _mean_shape(level * np.exp(-1j * angles)[:, np.newaxis], shape)
    return angles


def rotations(angles: Array) -> Array:
    """(N, 3, 3) base-from-object rotations about the vertical for turns (N,)."""
    c, s = np.cos(angles), np.sin(angles)
    zero, one = np.zeros_like(c), np.ones_like(c)
    rows = np.array([[c, -s, zero], [s, c, zero], [zero, zero, one]])
    return np.asarray(rows.transpose(2, 0, 1))


def _turn(shape: npt.NDArray[np.complex128], sample: npt.NDArray[np.complex128]) -> float:
    both = np.isfinite(shape) & np.isfinite(sample)
    if both.sum() < 2:
        return 0.0
    a, b = shape[both] - shape[both].mean(), sample[both] - sample[both].mean()
    return float(np.angle((np.conj(a) * b).sum()))


def _mean_shape(
    level: npt.NDArray[np.complex128], shape: npt.NDArray[np.complex128]
) -> npt.NDArray[np.complex128]:
    """Mean of the samples after moving each onto the shape, so far as both are known."""
    known = np.isfinite(level) & np.isfinite(shape)
    count = np.maximum(known.sum(1, keepdims=True), 1)
    moved = level - np.where(known, level - shape, 0.0).sum(1, keepdims=True) / count
    finite = np.isfinite(moved)
    total, seen = np.where(finite, moved, 0.0).sum(0), finite.sum(0)
    return np.where(seen > 0, total / np.maximum(seen, 1), np.nan)
