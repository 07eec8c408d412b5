"""Ways with corners in joint space become trajectories: rounded, or with stops."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from s3k_ros.errors import UnsafeMotionError
from s3k_ros.grasp.arm.kinematics import JointLimits
from s3k_ros.grasp.arm.trajectory import JointTrajectory, joint_move, path_move

Array = NDArray[np.float64]

# Widths of the filter that rounds corners, rad along the way: wide ones are fast but stray further.
_ROUNDINGS_RAD = (0.3, 0.15, 0.07)
_SPACING_RAD = 0.04


def timed(corners: Array, limits: JointLimits, step: float) -> list[JointTrajectory]:
    """Trajectories from rest to rest near a way of corners (T, n) rad, the fastest first.

    Rounded ones leave the way a little at its corners, so whoever runs one checks it as it is; the
    one that stops at every corner keeps to the way exactly and is always among them.

    Args:
        corners: (T, n) rad, T >= 2, different from their neighbours.
        limits: limits of the joints, which all keep: velocity, acceleration and jerk.
        step: s between points.

    Raises:
        UnsafeMotionError: corners beyond the position limits.
    """
    found = [_with_stops(corners, limits, step)]
    if len(corners) > 2:
        found += _rounded(corners, limits, step)
    return sorted(found, key=lambda trajectory: trajectory.duration)


def _with_stops(corners: Array, limits: JointLimits, step: float) -> JointTrajectory:
    whole: JointTrajectory | None = None
    for first, second in itertools.pairwise(corners):
        move = joint_move(first, second, limits, step, straight=True)
        whole = move if whole is None else whole.then(move)
    if whole is None:
        raise UnsafeMotionError("a way needs two postures")
    return whole


def _rounded(corners: Array, limits: JointLimits, step: float) -> Iterator[JointTrajectory]:
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    count = max(8, int(np.ceil(lengths[-1] / _SPACING_RAD)) + 1)
    along = np.linspace(0.0, lengths[-1], count)
    even = np.stack([np.interp(along, lengths, joint) for joint in corners.T], axis=1)
    for width in _ROUNDINGS_RAD:
        sigma = width / (along[1] - along[0])
        yield path_move(_smoothed(even, sigma), np.inf, limits, step, float(lengths[-1]))


def _smoothed(path: Array, sigma: float) -> Array:
    """Filtered along the way; turned about its ends to continue it, so that these stay put."""
    pad = min(len(path) - 1, int(np.ceil(4 * sigma)))
    before = 2 * path[0] - path[pad:0:-1]
    after = 2 * path[-1] - path[-2 : -pad - 2 : -1]
    whole = gaussian_filter1d(np.concatenate([before, path, after]), sigma, axis=0)
    smooth: Array = whole[pad : pad + len(path)].copy()
    smooth[0], smooth[-1] = path[0], path[-1]
    return smooth
