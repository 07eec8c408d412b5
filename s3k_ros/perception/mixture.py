"""What views of which some are wrong say of a point: a mixture model of a view's error.

What a view says of a keypoint is, with its calibrated confidence c, where the keypoint is, up to
the error covariance S. Otherwise it is a near miss (another corner, the same paw a little further)
or anywhere. So the likelihood of a point x has three parts a view,

    c N(z - pi(x); S) + (1 - c) (m N(z - pi(x); L) + (1 - m) / area)

and the views that disagree lose their weight by themselves.

Shapes: C views, K keypoints, N points, one a column of the mixture.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from s3k_ros.geometry import _native
from s3k_ros.geometry.camera import CameraStack
from s3k_ros.geometry.triangulation import inverse_2x2

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# Part of the image width: a near miss lies about this far away, 12 px of 640 (3 cm at 1 m), half as
# far again as an error has to be to be called gross.
_NEAR_MISS = 0.01875
# Of the wrong views, this part are near misses; about as many on the box and on the plush fox.
_NEAR_SHARE = 0.5
# Part of the image width: side of the square in which a lost keypoint lies, about an object crop.
_SPAN = 0.5
# Gauss-Newton ends when no point moves further.
STEP_TOLERANCE_M = 1e-7
# Nothing is as sure as that; also keeps logarithms finite.
_LEAST_DOUBT = 5e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Mixture:
    """What C views say of K keypoints, with the constants of the mixture.

    Attributes:
        pixels: (C, K, 2) px; zero where there is nothing.
        seen: (C, K) whether there is something.
        precisions: (C, K, 2, 2) inverses of the error covariances, px^-2.
        loose: (C, 1) inverse variance of a near miss, px^-2.
        log_right, log_near, log_lost: (C, K) logarithms of what multiplies the three exponentials.
        spans: (C, 1) px, side of the square in which a lost keypoint lies.
    """

    pixels: Array
    seen: BoolArray
    precisions: Array
    loose: Array
    log_right: Array
    log_near: Array
    log_lost: Array
    spans: Array

    @classmethod
    def of(
        cls, pixels: Array, covariances: Array, confidences: Array, usable: BoolArray, widths: Array
    ) -> Mixture:
        """From pixels (C, K, 2), covariances (C, K, 2, 2), confidences (C, K), widths (C,) px."""
        precisions, valid = inverse_2x2(covariances)
        seen = usable & valid & np.isfinite(pixels).all(axis=-1)
        a, b, d = precisions[..., 0, 0], precisions[..., 0, 1], precisions[..., 1, 1]
        determinant = np.where(seen, a * d - b * b, 1.0)
        right = np.clip(np.where(seen, confidences, 0.5), _LEAST_DOUBT, 1.0 - _LEAST_DOUBT)
        loose = 1.0 / (_NEAR_MISS * widths[:, np.newaxis]) ** 2
        spans = _SPAN * widths[:, np.newaxis]
        wrong = np.log1p(-right)
        return cls(
            pixels=np.where(seen[..., np.newaxis], pixels, 0.0),
            seen=seen,
            precisions=np.where(seen[..., np.newaxis, np.newaxis], precisions, 0.0),
            loose=loose,
            log_right=np.log(right) + 0.5 * np.log(determinant) - np.log(2 * np.pi),
            log_near=wrong + np.log(_NEAR_SHARE * loose / (2 * np.pi)),
            log_lost=wrong + np.log((1.0 - _NEAR_SHARE) / spans**2),
            spans=spans,
        )

    def at(self, keypoints: NDArray[np.int_]) -> Mixture:
        """The columns (N,) of keypoints, as often as they are named."""
        return dataclasses.replace(
            self,
            pixels=self.pixels[:, keypoints],
            seen=self.seen[:, keypoints],
            precisions=self.precisions[:, keypoints],
            log_right=self.log_right[:, keypoints],
            log_near=self.log_near[:, keypoints],
            log_lost=self.log_lost[:, keypoints],
        )

    def widened(self, factor: float) -> Mixture:
        """With error covariances that are larger by a factor."""
        return dataclasses.replace(
            self,
            precisions=self.precisions / factor,
            log_right=self.log_right - np.log(factor),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """N points, one a column of a `Mixture`, and what the views say there.

    Attributes:
        points: (N, 3) m, base frame.
        gain: (N,) log-likelihood, above that of views that are all lost.
        right, near: (C, N) probabilities that each view is right, or a near miss; zero where it
            shows nothing or has the point behind it.
        residuals: (C, N, 2) px, measured minus projected.
        information: (N, 3, 3) m^-2. gradient: (N, 3) m^-1.
        span: (N,) m, side of the square in which a lost keypoint lies, at the point's distance;
            NaN where no view has the point before it.
    """

    points: Array
    gain: Array
    right: Array
    near: Array
    residuals: Array
    information: Array
    gradient: Array
    span: Array

    @property
    def damped(self) -> Array:
        """The information (N, 3, 3) with a prior as wide as what the views show."""
        span = np.where(np.isfinite(self.span), self.span, 1.0)
        return np.asarray(self.information + np.eye(3) / span[:, np.newaxis, np.newaxis] ** 2)


def fit_at(stack: CameraStack, points: Array, mixture: Mixture) -> Fit:
    """The likelihood of points (N, 3), one a column of the mixture, and its derivatives."""
    return refine(stack, points, mixture, rounds=0)


def refine(stack: CameraStack, points: Array, mixture: Mixture, rounds: int) -> Fit:
    """Gauss-Newton from points (N, 3) with the mixture's weights (expectation maximisation).

    Every round makes the points more likely; it ends when all of them have arrived.
    """
    views, count = mixture.seen.shape
    fit = Fit(
        points=np.array(points, order="C"),  # moved in place
        gain=np.empty(count),
        right=np.empty((views, count)),
        near=np.empty((views, count)),
        residuals=np.empty((views, count, 2)),
        information=np.empty((count, 3, 3)),
        gradient=np.empty((count, 3)),
        span=np.empty(count),
    )
    _native.fit_mixture(
        stack.packed,
        fit.points,
        mixture.pixels,
        mixture.seen,
        mixture.precisions,
        mixture.loose,
        mixture.log_right,
        mixture.log_near,
        mixture.log_lost,
        mixture.spans,
        rounds,
        STEP_TOLERANCE_M,
        fit.gain,
        fit.right,
        fit.near,
        fit.residuals,
        fit.information,
        fit.gradient,
        fit.span,
    )
    return fit
