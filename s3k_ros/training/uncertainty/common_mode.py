"""The common-mode term: the part of the 3D error that all views share, from few held-out labels.

No residual between views shows an error that all of them make, so it takes labels that the network
did not learn from. They are few and noisy: ten labels, clicked to a pixel or two, fix a variance to
perhaps a third. What can be done about that is done here:

* Each held-out error has a variance that is known beforehand (`HeldOut.explained`): the geometry's,
  the clicks', and the distance between the network that was asked and the one that is shipped. Only
  the rest is common mode.
* All keypoints are estimated together. Their variances scatter about a scale of the whole object,
  so that each is drawn towards the others as far as its own labels leave it open.
* The result is the mean of the posterior, which is never zero and stays away from overconfidence
  where the labels say little.

The object stands on something and turns about the vertical, and an error fixed to the object turns
along: in the base frame the level axes are alike, and two numbers a keypoint are estimated.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from s3k_ros.errors import DataError

Array = npt.NDArray[np.float64]

LEVEL, VERTICAL = 0, 1
_AXES = ((0, 1), (2,))
_LOW_M, _HIGH_M, _STEPS = 1e-4, 3e-2, 96
"""The standard deviations looked at: from a tenth of a millimetre to where errors are gross."""
_SCATTER = 0.8
"""Scatter of the logarithms of the variances about the object's scale: factors of about 1.5 between
the standard deviations of two keypoints are common."""
_LEAST_ERRORS = 6
"""Fewer held-out errors than this, in all, say nothing."""


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Errors of N held-out labelled samples, K keypoints.

    Attributes:
        errors: (N, K, 3) m, base frame: found minus clicked; NaN where either is unknown.
        explained: (N, K, 3) m^2, their variances as far as they are not common mode.
        factors: (N, K) what the common mode is multiplied with in each sample, 1 on average.

    Raises:
        DataError: shapes that do not fit, or fewer than six known errors.
    """

    errors: Array
    explained: Array
    factors: Array

    def __post_init__(self) -> None:
        """Checks the shapes."""
        shape = self.errors.shape
        fits = len(shape) == 3 and shape[2] == 3 and self.explained.shape == shape
        if not fits or self.factors.shape != shape[:2]:
            raise DataError(
                f"errors {shape}, explained {self.explained.shape} and factors "
                f"{self.factors.shape} must be (N, K, 3), (N, K, 3) and (N, K)"
            )
        if self.known.sum() < _LEAST_ERRORS:
            raise DataError(
                f"{self.known.sum()} held-out errors, at least {_LEAST_ERRORS} are needed"
            )

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """(N, K) whether there is an error."""
        both = np.isfinite(self.errors) & np.isfinite(self.explained)
        return np.asarray(both.all(-1) & np.isfinite(self.factors))


def common_mode(held_out: HeldOut) -> Array:
    """(K, 3, 3) m^2, diagonal: level, level, vertical.

    The marginal likelihood of each variance on a grid; the logarithms of the variances are normal
    about the object's scale; the scale's own prior is flat in the variance, which errs to the safe
    side: coverage, not its logarithm, is to be right on average.
    """
    grid = np.exp(np.linspace(2 * np.log(_LOW_M), 2 * np.log(_HIGH_M), _STEPS))
    likelihood = _log_likelihood(held_out, grid)
    # prior[m, g]: density of grid value g where the object's scale is grid value m.
    steps = np.log(grid / grid[:, np.newaxis]) / _SCATTER
    prior = _normalised(-0.5 * steps**2)
    joint = prior[:, np.newaxis, np.newaxis] + likelihood
    evidence = _log_sum(joint).sum((1, 2))
    scale = np.exp(_normalised(evidence + np.log(grid)))
    given_scale = np.exp(_normalised(joint))
    posterior = np.einsum("m,mkag->kag", scale, given_scale)
    variance = posterior @ grid
    axes = variance[:, [LEVEL, LEVEL, VERTICAL]]
    return np.asarray(axes[:, :, np.newaxis] * np.eye(3))


def _log_likelihood(held_out: HeldOut, grid: Array) -> Array:
    """(K, 2, G) of the level and vertical errors of each keypoint, normal with the variances."""
    known = held_out.known
    found = np.zeros((known.shape[1], len(_AXES), len(grid)))
    for k in range(known.shape[1]):
        for axis, columns in enumerate(_AXES):
            squared = held_out.errors[known[:, k], k][:, columns].ravel() ** 2
            variance = held_out.explained[known[:, k], k][:, columns].ravel()
            factors = np.repeat(held_out.factors[known[:, k], k], len(columns))
            total = variance[:, np.newaxis] + factors[:, np.newaxis] * grid
            each = squared[:, np.newaxis] / total + np.log(total)
            found[k, axis] = -0.5 * each.sum(0)
    return found


def _log_sum(values: Array) -> Array:
    """Logarithm of the sum of exponentials over the last axis."""
    return np.asarray(np.logaddexp.reduce(values, axis=-1))


def _normalised(values: Array) -> Array:
    """Logarithms shifted so that their exponentials sum to 1 over the last axis."""
    return np.asarray(values - _log_sum(values)[..., np.newaxis])
