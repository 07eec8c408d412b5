"""Lens distortion on the normalised image plane, as in OpenCV and sensor_msgs/CameraInfo.

Coefficients are k1, k2, p1, p2, k3, k4, k5, k6 ("rational_polynomial"); "plumb_bob" is the case
k4 = k5 = k6 = 0. Points are x / z, y / z in the optical frame. All functions broadcast: points
(..., 2) with coefficients (..., 8). The inverse of `distort` is in src/lanes.h.

Source: OpenCV, "Camera Calibration and 3D Reconstruction", detailed description.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def _radial(r2: Array, k: Array) -> tuple[Array, Array]:
    """The radial factor and its derivative by r^2."""
    k1, k2, k3, k4, k5, k6 = (k[..., i] for i in (0, 1, 4, 5, 6, 7))
    top = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    bottom = 1.0 + r2 * (k4 + r2 * (k5 + r2 * k6))
    top_slope = k1 + r2 * (2.0 * k2 + 3.0 * r2 * k3)
    bottom_slope = k4 + r2 * (2.0 * k5 + 3.0 * r2 * k6)
    factor = top / bottom
    return factor, (top_slope - factor * bottom_slope) / bottom


def distort(points: Array, coefficients: Array) -> tuple[Array, Array]:
    """Distorted points and the Jacobian of the distortion.

    Args:
        points: (..., 2) ideal points.
        coefficients: (..., 8).

    Returns:
        Distorted points (..., 2) and d distorted / d ideal (..., 2, 2).
    """
    x, y = points[..., 0], points[..., 1]
    p1, p2 = coefficients[..., 2], coefficients[..., 3]
    r2 = x * x + y * y
    factor, slope = _radial(r2, coefficients)
    cross = 2.0 * (x * y * slope + p1 * x + p2 * y)
    distorted = np.empty(np.broadcast_shapes(points.shape, (*coefficients.shape[:-1], 2)))
    distorted[..., 0] = x * factor + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x)
    distorted[..., 1] = y * factor + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y
    jacobian = np.empty((*distorted.shape, 2))
    jacobian[..., 0, 0] = factor + 2.0 * x * x * slope + 2.0 * p1 * y + 6.0 * p2 * x
    jacobian[..., 0, 1] = cross
    jacobian[..., 1, 0] = cross
    jacobian[..., 1, 1] = factor + 2.0 * y * y * slope + 6.0 * p1 * y + 2.0 * p2 * x
    return distorted, jacobian


def invertible_r2(coefficients: Array) -> float:
    """Squared radius up to which distorted radius grows with ideal radius, infinite when always.

    Beyond it the polynomial folds back, and a point far outside the field of view would appear
    inside the image.

    Args:
        coefficients: (8,).
    """
    return _invertible_r2(tuple(float(value) for value in coefficients))


@functools.lru_cache(maxsize=1024)  # a dataset has thousands of cameras with few lenses
def _invertible_r2(coefficients: tuple[float, ...]) -> float:
    k1, k2, _, _, k3, k4, k5, k6 = coefficients
    top = np.polynomial.Polynomial([1.0, k1, k2, k3])
    bottom = np.polynomial.Polynomial([1.0, k4, k5, k6])
    t = np.polynomial.Polynomial([0.0, 1.0])
    # d/dr (r top/bottom) = (top bottom + 2 t (top' bottom - top bottom')) / bottom^2, t = r^2
    slope = top * bottom + 2.0 * t * (top.deriv() * bottom - top * bottom.deriv())
    roots = np.concatenate([_positive_roots(slope), _positive_roots(bottom)])
    return float(roots.min()) if roots.size else float("inf")


def _positive_roots(polynomial: np.polynomial.Polynomial) -> Array:
    roots = np.asarray(polynomial.trim().roots())
    real = roots.real[np.abs(roots.imag) < 1e-9 * (1.0 + np.abs(roots.real))]
    positive: Array = np.asarray(real[real > 0], dtype=np.float64)
    return positive
