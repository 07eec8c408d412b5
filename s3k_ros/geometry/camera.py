"""Calibrated pinhole cameras with the lens models of sensor_msgs/CameraInfo.

The optical frame has x to the right, y down and z forward. Pixels are u, v with pixel centres at
integers, in the raw (distorted) image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry import _native, lens
from s3k_ros.geometry.se3 import Transform, read_only

Array = NDArray[np.float64]

DISTORTION_SIZES = {"plumb_bob": 5, "rational_polynomial": 8}

# Metres; nothing is seen nearer to the pinhole than this.
MIN_DEPTH_M = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Camera:
    """One calibrated camera.

    Attributes:
        name: name of the camera.
        width, height: image size in px.
        matrix: (3, 3) K of CameraInfo in px, without skew.
        distortion_model: "plumb_bob" or "rational_polynomial".
        distortion: (5,) k1 k2 p1 p2 k3, or (8,) with k4 k5 k6 as well.
        base_from_camera: pose of the optical frame in the base frame.

    Raises:
        ConfigurationError: a value of the wrong shape, not finite or out of range; the message
            names the camera.
    """

    name: str
    width: int
    height: int
    matrix: Array
    distortion_model: str
    distortion: Array
    base_from_camera: Transform
    _coefficients: Array = dataclasses.field(init=False, repr=False)
    _limit_r2: float = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        where = f"camera {self.name!r}"
        if self.width < 1 or self.height < 1:
            raise ConfigurationError(f"{where}: size {self.width} x {self.height} must be positive")
        size = DISTORTION_SIZES.get(self.distortion_model)
        if size is None:
            raise ConfigurationError(
                f"{where}: distortion_model {self.distortion_model!r} is not one of "
                f"{sorted(DISTORTION_SIZES)}"
            )
        matrix = read_only(self.matrix, (3, 3), f"{where}: matrix")
        distortion = read_only(self.distortion, (size,), f"{where}: distortion")
        _check_intrinsics(where, matrix)
        coefficients = np.zeros(8)
        coefficients[:size] = distortion
        coefficients.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "distortion", distortion)
        object.__setattr__(self, "_coefficients", coefficients)
        object.__setattr__(self, "_limit_r2", lens.invertible_r2(coefficients))

    @property
    def centre(self) -> Array:
        """(3,) the camera's centre in the base frame, metres."""
        return self.base_from_camera.translation

    def depth(self, points: ArrayLike) -> Array:
        """Distance along the optical axis (...), metres, of points (..., 3) in the base frame."""
        axis = self.base_from_camera.rotation[:, 2]
        depth: Array = (np.asarray(points, dtype=np.float64) - self.centre) @ axis
        return depth

    def project(self, points: ArrayLike) -> Array:
        """Pixels (..., 2) of points (..., 3) in the base frame, metres.

        NaN where the point is behind the camera or beyond the lens model's range; a pixel outside
        the image is returned as it is.
        """
        return self._project(points)[0]

    def projection_jacobian(self, points: ArrayLike) -> Array:
        """D pixel / d point, (..., 2, 3) in px/m, at points (..., 3) in the base frame."""
        return self._project(points)[1]

    def rays(self, pixels: ArrayLike) -> Array:
        """Unit directions (..., 3) in the base frame through pixels (..., 2).

        NaN where the pixel is not finite or the lens model cannot be inverted.
        """
        pixels = np.asarray(pixels, dtype=np.float64)
        rays = CameraStack([self]).rays(pixels.reshape(1, -1, 2))
        return rays.reshape(*pixels.shape[:-1], 3)

    def scaled(self, factor: float) -> Camera:
        """The camera of the image resized (by area) to ``factor`` times its size.

        The size is rounded to whole pixels and the intrinsics follow the rounded size.

        Raises:
            ConfigurationError: nothing would be left of the image.
        """
        width, height = round(self.width * factor), round(self.height * factor)
        if width < 1 or height < 1:
            raise ConfigurationError(f"camera {self.name!r}: scale {factor} leaves no image")
        scale = np.array([width / self.width, height / self.height, 1.0])
        matrix = self.matrix * scale[:, np.newaxis]
        matrix[:2, 2] += 0.5 * scale[:2] - 0.5  # u' = (u + 1/2) s - 1/2
        return dataclasses.replace(self, width=width, height=height, matrix=matrix)

    def _project(self, points: ArrayLike) -> tuple[Array, Array]:
        points = np.asarray(points, dtype=np.float64)
        pixels, jacobians, _ = CameraStack([self]).project(points.reshape(-1, 3))
        shape = points.shape[:-1]
        return pixels.reshape(*shape, 2), jacobians.reshape(*shape, 2, 3)


def _check_intrinsics(where: str, matrix: Array) -> None:
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise ConfigurationError(
            f"{where}: focal lengths {matrix[0, 0]}, {matrix[1, 1]} px must be positive; "
            "is the camera calibrated?"
        )
    expected = np.zeros((3, 3))
    expected[0, 0], expected[1, 1], expected[2, 2] = matrix[0, 0], matrix[1, 1], 1.0
    expected[:2, 2] = matrix[:2, 2]
    if not np.array_equal(matrix, expected):
        raise ConfigurationError(
            f"{where}: matrix = {matrix.tolist()} must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]"
        )


class CameraStack:
    """The cameras of a rig as stacked arrays, for batches over cameras and points.

    Args:
        cameras: C cameras.

    Attributes:
        centres: (C, 3) base frame, metres.
        packed: (C, 25) all of each camera, as `Camera` of src/loops.h.
    """

    def __init__(self, cameras: Sequence[Camera]) -> None:
        self.centres: Array = np.array([camera.centre for camera in cameras])
        matrices = np.array([camera.matrix for camera in cameras])
        self._base_from_camera: Array = np.array(
            [camera.base_from_camera.rotation for camera in cameras]
        )
        self._camera_from_base: Array = self._base_from_camera.transpose(0, 2, 1)
        self._focal: Array = matrices[:, np.newaxis, (0, 1), (0, 1)]
        self._principal: Array = matrices[:, np.newaxis, :2, 2]
        self._coefficients: Array = np.array([[camera._coefficients] for camera in cameras])
        self._limit_r2: Array = np.array([[camera._limit_r2] for camera in cameras])
        self._ideal = not self._coefficients.any()
        count = len(cameras)
        self.packed: Array = np.concatenate(
            [
                self._base_from_camera.reshape(count, 9),
                self.centres.reshape(count, 3),
                self._focal.reshape(count, 2),
                self._principal.reshape(count, 2),
                self._coefficients.reshape(count, 8),
                self._limit_r2.reshape(count, 1),
            ],
            axis=1,
        )

    def __len__(self) -> int:
        """Number of cameras."""
        return len(self.centres)

    def depth(self, points: Array) -> Array:
        """Depth (C, K) of points (K, 3) in every camera, metres."""
        depth: Array = np.einsum(
            "cki,ci->ck", points - self.centres[:, np.newaxis], self._camera_from_base[:, 2]
        )
        return depth

    def project(self, points: Array) -> tuple[Array, Array, Array]:
        """Pixels, Jacobians and depths of points (K, 3) in the base frame in every camera.

        Returns:
            Pixels (C, K, 2), d pixel / d point (C, K, 2, 3) and depth (C, K). Pixels and Jacobians
            are NaN where the point is behind the camera or beyond the lens model's range.
        """
        local = (points - self.centres[:, np.newaxis]) @ self._base_from_camera
        depth = local[..., 2]
        seen = depth > MIN_DEPTH_M
        inverse = np.divide(1.0, depth, out=np.full_like(depth, np.nan), where=seen)
        ideal = local[..., :2] * inverse[..., np.newaxis]
        # d ideal / d point = (e_i - ideal_i e_z) / depth, rotated into the base frame
        axes = self._camera_from_base[:, np.newaxis]
        slopes = axes[..., :2, :] - ideal[..., np.newaxis] * axes[..., 2:, :]
        slopes *= inverse[..., np.newaxis, np.newaxis]
        if not self._ideal:
            ideal, bend = self._distort(ideal)
            slopes = bend @ slopes
        pixels = ideal * self._focal + self._principal
        return pixels, slopes * self._focal[..., np.newaxis], depth

    def rays(self, pixels: Array) -> Array:
        """Unit directions (C, K, 3) in the base frame through pixels (C, K, 2); NaN if none."""
        rays = np.empty((*pixels.shape[:-1], 3))
        _native.rays(self.packed, pixels, rays)
        return rays

    def _distort(self, ideal: Array) -> tuple[Array, Array]:
        beyond = (ideal * ideal).sum(axis=-1) > self._limit_r2
        if beyond.any():
            ideal = np.where(beyond[..., np.newaxis], np.nan, ideal)
        return lens.distort(ideal, self._coefficients)


def look_at(eye: ArrayLike, target: ArrayLike, up: ArrayLike = (0.0, 0.0, 1.0)) -> Transform:
    """``base_from_camera`` of a camera at ``eye`` that looks at ``target``.

    Args:
        eye: (3,) the camera's centre, base frame, metres.
        target: (3,) the point on the optical axis, base frame, metres.
        up: (3,) direction that shall point up in the image.

    Raises:
        ConfigurationError: eye and target coincide, or ``up`` lies along the optical axis.
    """
    eye = read_only(eye, (3,), "eye")
    forward = read_only(target, (3,), "target") - eye
    right = np.cross(forward, read_only(up, (3,), "up"))
    norms = np.linalg.norm(forward), np.linalg.norm(right)
    if norms[0] < 1e-9 or norms[1] < 1e-9:
        raise ConfigurationError(
            f"look_at: target must differ from eye = {eye.tolist()} and up must not be parallel "
            "to the line between them"
        )
    forward, right = forward / norms[0], right / norms[1]
    return Transform(np.stack([right, np.cross(forward, right), forward], axis=1), eye)
