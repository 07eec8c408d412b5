"""What the labelled samples say about the object's shape: distances and handedness.

Consistency alone cannot see a shape that shrinks towards its centre, nor left and right swapped in
every view. Both show in the labelled samples: the range of each distance between two keypoints
(wide for a limb that bends), and the sense of rotation of three keypoints seen from above or of
four in space, where that sense is the same in every labelled sample. For a rigid object they also
give its mean shape, which is known better than any single sample: the mean of labelled samples laid
over each other (generalised Procrustes), whatever keypoints each of them lacks.
"""

from __future__ import annotations

import dataclasses
from itertools import combinations
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from s3k_ros.training.method.rigid import kabsch

Array = npt.NDArray[np.float64]
T = TypeVar("T", Tensor, Array)

# A sense of rotation counts when its smallest labelled value is this part of the median value.
_CLEAR = 0.25
_PROCRUSTES_ROUNDS = 20


@dataclasses.dataclass(frozen=True)
class ShapePrior:
    """Distances (K, K) in m and handedness of keypoints.

    Attributes:
        low, high: (K, K) labelled range of each distance, not finite where never labelled together.
        turns: rows (i, j, k, sign, margin): twice the area of the triangle seen from above.
        volumes: rows (i, j, k, l, sign, margin): six times the signed volume.
        tolerance: how far a distance may leave its range, m.
        mean: (K, 3) m, the rigid shape about its centroid; None where the labels do not give one
            (fewer than three keypoints, or one that no sample shows together with two others).
        flex: (K,) m, root mean square distance of the labelled keypoints from the fitted mean
            shape: label noise for a rigid object, more for one that bends. NaN without a mean.
    """

    low: Tensor
    high: Tensor
    turns: tuple[tuple[int, int, int, float, float], ...]
    volumes: tuple[tuple[int, int, int, int, float, float], ...]
    tolerance: float
    mean: Tensor | None
    flex: Tensor

    @classmethod
    def from_points(cls, points: Array, tolerance: float) -> ShapePrior:
        """Learns the prior from labelled keypoints (N, K, 3) m, NaN where unknown."""
        points = np.asarray(points, float)
        distances = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
        with np.errstate(all="ignore"):
            low = np.where(np.isfinite(distances), distances, np.inf).min(0)
            high = np.where(np.isfinite(distances), distances, -np.inf).max(0)
        count = points.shape[1]
        turns, volumes = [], []
        for triple in combinations(range(count), 3):
            clear = _clear_sign(_turn(*(points[:, i] for i in triple)))
            if clear:
                turns.append((*triple, *clear))
        for quad in combinations(range(count), 4):
            clear = _clear_sign(_volume(*(points[:, i] for i in quad)))
            if clear:
                volumes.append((*quad, *clear))
        mean, flex = _mean_shape(torch.from_numpy(points))
        return cls(
            torch.from_numpy(low).float(),
            torch.from_numpy(high).float(),
            tuple(turns),
            tuple(volumes),
            tolerance,
            mean,
            flex,
        )

    def distance_penalty(self, i: int, j: int, distance: Tensor) -> Tensor:
        """0 inside the labelled range, 1 at one tolerance outside, at most 4; any shape."""
        low, high = float(self.low[i, j]), float(self.high[i, j])
        if not (np.isfinite(low) and np.isfinite(high)):
            return torch.zeros_like(distance)
        outside = torch.relu(low - distance) + torch.relu(distance - high)
        return torch.clamp((outside / self.tolerance) ** 2, max=4.0)

    def penalty(self, points: Tensor) -> Tensor:
        """Sum (...) of the distance penalties of points (..., K, 3); NaN points are free."""
        total = points.new_zeros(points.shape[:-2])
        for i, j in combinations(range(points.shape[-2]), 2):
            distance = (points[..., i, :] - points[..., j, :]).norm(dim=-1)
            found = self.distance_penalty(i, j, distance)
            total = total + torch.where(torch.isfinite(distance), found, torch.zeros_like(found))
        return total

    def settle(self, points: Tensor, weight: Tensor, rounds: int = 20) -> Tensor:
        """Points (..., K, 3) moved until their distances lie in the labelled ranges.

        Of two points the one with the smaller weight (..., K) moves more; NaN points stay NaN.
        """
        count = points.shape[-2]
        low, high = self.low.to(points), self.high.to(points)
        share = weight[..., None, :] / (weight[..., None] + weight[..., None, :]).clamp(min=1e-9)
        apart = ~torch.eye(count, dtype=torch.bool, device=points.device)
        for _ in range(rounds):
            offset = points[..., :, None, :] - points[..., None, :, :]
            distance = offset.norm(dim=-1).clamp(min=1e-6)
            wanted = torch.minimum(torch.maximum(distance, low), high)
            move = share * (wanted - distance) / distance
            move = torch.where(torch.isfinite(move) & apart, move, torch.zeros_like(move))
            known = torch.where(torch.isfinite(offset), offset, torch.zeros_like(offset))
            points = points + 1.5 / count * (move[..., None] * known).sum(-2)
        return points

    def senses(self, points: T) -> list[tuple[tuple[int, ...], T]]:
        """The clear senses of rotation of points (..., K, 3): their keypoints, and a value (...).

        The value is about 2 where the sense is as labelled, 1 at the least that counts as such, and
        negative where it is reversed. Tensors and arrays alike.
        """
        found: list[tuple[tuple[int, ...], T]] = []
        for i, j, k, sign, margin in self.turns:
            value = _turn(*(points[..., n, :] for n in (i, j, k)))
            found.append(((i, j, k), sign * value / margin))
        for i, j, k, m, sign, margin in self.volumes:
            value = _volume(*(points[..., n, :] for n in (i, j, k, m)))
            found.append(((i, j, k, m), sign * value / margin))
        return found

    def handedness_penalty(self, points: Tensor) -> Tensor:
        """Mean hinge (...) over the clear senses of rotation of points (..., K, 3).

        0: all clearly as labelled; 1 or more: reversed. Terms with an unknown (NaN) point do not
        count.
        """
        terms = [1 - value for _, value in self.senses(points)]
        if not terms:
            return points.new_zeros(points.shape[:-2])
        stacked = torch.stack(terms, -1)
        known = torch.isfinite(stacked)
        hinge = torch.where(known, torch.clamp(stacked, 0.0, 3.0), torch.zeros_like(stacked))
        return hinge.sum(-1) / known.sum(-1).clamp(min=1)


def _mean_shape(points: Tensor) -> tuple[Tensor | None, Tensor]:
    """Mean shape (K, 3) and flex (K,) of samples (N, K, 3), by generalised Procrustes."""
    known = torch.isfinite(points).all(-1)
    mean = points[int(known.sum(1).argmax())]
    aligned = points
    for _ in range(_PROCRUSTES_ROUNDS):
        common = known & torch.isfinite(mean).all(-1)
        usable = common.sum(1) >= 3
        pose = kabsch(points, mean.expand_as(points), common.to(points.dtype))
        aligned = pose.apply(points)
        aligned = torch.where(usable[:, None, None], aligned, torch.full_like(aligned, torch.nan))
        if not usable.any():
            break
        mean = aligned.nanmean(0)
        mean = mean - mean.nanmean(0)
    if not torch.isfinite(mean).all() or not torch.isfinite(aligned).any():
        return None, torch.full((points.shape[1],), torch.nan)
    flex = (aligned - mean).square().sum(-1).nanmean(0).sqrt()
    return mean.float(), flex.float()


def _turn(a, b, c):  # type: ignore[no-untyped-def]
    """Z part of (b - a) x (c - a), for arrays or tensors (..., 3)."""
    p, q = b - a, c - a
    return p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]


def _volume(a, b, c, d):  # type: ignore[no-untyped-def]
    """(b - a) x (c - a) . (d - a), for arrays or tensors (..., 3)."""
    p, q, r = b - a, c - a, d - a
    x = p[..., 1] * q[..., 2] - p[..., 2] * q[..., 1]
    y = p[..., 2] * q[..., 0] - p[..., 0] * q[..., 2]
    z = p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]
    return x * r[..., 0] + y * r[..., 1] + z * r[..., 2]


def _clear_sign(values: Array) -> tuple[float, float] | None:
    """(sign, margin) when all finite values share a sign by a clear margin, else None."""
    values = values[np.isfinite(values)]
    if len(values) < 3:  # two agree by chance
        return None
    smallest, median = float(np.abs(values).min()), float(np.median(np.abs(values)))
    same = bool((values > 0).all() or (values < 0).all())
    if not same or smallest < _CLEAR * median:
        return None
    return float(np.sign(values[0])), 0.5 * smallest
