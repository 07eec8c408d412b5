"""A keypoint that one view shows, from its ray and its distances to the other keypoints.

Where a single view is right about a corner of a box, the corner lies on that view's ray, at the
known distances from the other corners. With two distances this is one fact more than the place
needs, so that a wrong ray shows.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from s3k_ros.geometry.camera import CameraStack
from s3k_ros.perception.mixture import Mixture, fit_at
from s3k_ros.perception.shape import Links

Array = NDArray[np.float64]

_LEAST_LINKS = 2
_STARTS = 4
_ROUNDS = 6
# A start meets its ray and one distance exactly, so the rest is further off than S says.
_START_WIDENING = 4.0
# Squared Mahalanobis distance of two points that are one: 99 % of chi-square with 3 degrees.
_SAME = 11.3


@dataclasses.dataclass(frozen=True, eq=False)
class Rescued:
    """The most likely point of one keypoint, as in `s3k_ros.perception.consensus.Consensus`.

    Attributes:
        point: (3,) m. covariance: (3, 3) m^2.
        odds: log-odds against other points and none. support: of the distances.
        right: (C,) probability that each view is right. residuals: (C, 2) px.
    """

    point: Array
    covariance: Array
    odds: float
    support: float
    right: Array
    residuals: Array


def rescue(stack: CameraStack, mixture: Mixture, links: Links) -> Rescued | None:
    """The most likely point of a keypoint, or None where too little is known.

    Args:
        stack: C cameras.
        mixture: what they say of this keypoint alone, one column.
        links: its distances to keypoints with a point.
    """
    starts = _starts(stack, mixture, links)
    if len(links) < _LEAST_LINKS or not len(starts):
        return None
    column = np.zeros(len(starts), int)
    wide = fit_at(stack, starts, mixture.at(column).widened(_START_WIDENING))
    best = np.argsort(-(wide.gain + links.gains(starts)))[:_STARTS]
    many = mixture.at(column[best])
    fit = fit_at(stack, starts[best], many)
    for _ in range(_ROUNDS):
        information, gradient = links.gradient(fit.points)
        gradient = gradient + fit.gradient
        step = np.linalg.solve(fit.damped + information, gradient[..., np.newaxis])[..., 0]
        fit = fit_at(stack, fit.points + step, many)
    covariances = np.linalg.inv(fit.damped + links.gradient(fit.points)[0])
    support = links.gains(fit.points)
    size = 0.5 * np.linalg.slogdet(2 * np.pi * covariances)[1] - 3.0 * np.log(fit.span)
    evidence = np.where(np.isfinite(size), fit.gain + support + size, -np.inf)
    first = int(evidence.argmax())
    apart = fit.points - fit.points[first]
    solved = np.linalg.solve(covariances + covariances[first], apart[..., np.newaxis])[..., 0]
    rivals = evidence[(apart * solved).sum(axis=-1) > _SAME]
    return Rescued(
        point=fit.points[first],
        covariance=np.asarray(covariances[first], np.float64),
        odds=float(evidence[first] - np.logaddexp.reduce(np.append(rivals, 0.0))),
        support=float(support[first]),
        right=fit.right[:, first],
        residuals=fit.residuals[:, first],
    )


def _starts(stack: CameraStack, mixture: Mixture, links: Links) -> Array:
    """Points (N, 3) on a view's ray at one of the distances."""
    views = np.flatnonzero(mixture.seen[:, 0])
    rays = stack.rays(mixture.pixels)[views]
    offset = stack.centres[views][:, np.newaxis] - links.points
    along = (offset * rays).sum(axis=-1)
    beyond = (offset * offset).sum(axis=-1) - links.distance**2
    # A ray that passes just outside is taken at its nearest point.
    half = np.sqrt(np.maximum(along**2 - beyond, 0.0))
    depth = np.stack([-along - half, -along + half])[..., np.newaxis]
    starts: Array = (stack.centres[views][:, np.newaxis] + depth * rays).reshape(-1, 3)
    return starts[np.isfinite(starts).all(axis=-1)]
