"""Rigs of cameras that look at a workspace from random directions."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.camera import Camera
from s3k_ros.geometry.se3 import Transform

Array = NDArray[np.float64]

# The paper's scale: one pixel of an image of this width is this large in the workspace's middle.
SCALE_WIDTH_PX = 128
_TRIES = 2000


@dataclasses.dataclass(frozen=True)
class RandomRig:
    """How the cameras of a sample are drawn: directions on the upper hemisphere, spread evenly.

    Attributes:
        width, height: image size, px.
        count: number of cameras, named cam_0, cam_1, ...
        pixel_m: size in the workspace's middle of a pixel of an image 128 px wide, at the mean
            distance; wider images show the same view.
        distance_m: range of a camera's distance from the workspace's middle.
        elevation_rad: range of its elevation over the table.
        separation_rad: least angle between two cameras' directions: it keeps triangulation well
            conditioned.
        aim_m: standard deviation of the point looked at, along each axis.
        centre_m: middle of the workspace, base frame.

    Raises:
        ConfigurationError: a value out of range, or more cameras than fit.
    """

    width: int = 128
    height: int = 128
    count: int = 4
    pixel_m: float = 0.0028
    distance_m: tuple[float, float] = (0.95, 1.15)
    elevation_rad: tuple[float, float] = (0.45, 1.25)
    separation_rad: float = 0.6
    aim_m: float = 0.005
    centre_m: tuple[float, float, float] = (0.0, 0.0, 0.05)

    def __post_init__(self) -> None:
        for name, low, high in (("width", 8, 4096), ("height", 8, 4096), ("count", 2, 16)):
            if not low <= getattr(self, name) <= high:
                raise ConfigurationError(
                    f"{name} = {getattr(self, name)} must be within {low}..{high}"
                )
        if not 1e-5 <= self.pixel_m <= 0.1:
            raise ConfigurationError(f"pixel_m = {self.pixel_m} must be within 1e-5..0.1 m")
        if not 0.2 <= self.distance_m[0] <= self.distance_m[1] <= 5:
            raise ConfigurationError(f"distance_m = {self.distance_m} must rise within 0.2..5 m")
        if not 0 < self.elevation_rad[0] <= self.elevation_rad[1] < 1.5:
            raise ConfigurationError(
                f"elevation_rad = {self.elevation_rad} must rise within 0..1.5"
            )
        if not 0 <= self.separation_rad <= 2:
            raise ConfigurationError(f"separation_rad = {self.separation_rad} must be within 0..2")
        self._directions(np.random.default_rng(0))

    @property
    def names(self) -> tuple[str, ...]:
        """The cameras' names."""
        return tuple(f"cam_{i}" for i in range(self.count))

    @property
    def focal_px(self) -> float:
        """Focal length of every camera, px."""
        return float(np.mean(self.distance_m)) / self.pixel_m * self.width / SCALE_WIDTH_PX

    def draw(self, rng: np.random.Generator) -> tuple[Camera, ...]:
        """Cameras without distortion, principal point in the image's middle, in the base frame."""
        centre, f = np.array(self.centre_m), self.focal_px
        # Pixel centres lie at integers, so the image's middle is half a pixel short of half.
        matrix = np.array(
            [[f, 0, (self.width - 1) / 2], [0, f, (self.height - 1) / 2], [0, 0, 1.0]]
        )
        directions = self._directions(rng)
        eyes = centre + rng.uniform(*self.distance_m, (self.count, 1)) * directions
        poses = _look_at(eyes, centre + rng.normal(0.0, self.aim_m, (self.count, 3)))
        return tuple(
            Camera(
                name=name,
                width=self.width,
                height=self.height,
                matrix=matrix,
                distortion_model="plumb_bob",
                distortion=np.zeros(5),
                base_from_camera=pose,
            )
            for name, pose in zip(self.names, poses, strict=True)
        )

    def _directions(self, rng: np.random.Generator) -> Array:
        """Unit vectors (count, 3) towards the cameras, uniform on the zone allowed."""
        low, high = np.sin(self.elevation_rad)
        nearest = np.cos(self.separation_rad)
        others = ~np.eye(self.count, dtype=bool)
        found = np.empty((self.count, 3))
        for _ in range(_TRIES):
            up = rng.uniform(low, high, self.count)
            azimuth = rng.uniform(-np.pi, np.pi, self.count)
            flat = np.sqrt(1 - up * up)
            found[:, 0] = flat * np.cos(azimuth)
            found[:, 1] = flat * np.sin(azimuth)
            found[:, 2] = up
            if (found @ found.T)[others].max() <= nearest:
                return found
        raise ConfigurationError(
            f"count = {self.count} cameras do not fit into elevations {self.elevation_rad} rad"
            f" with separation_rad = {self.separation_rad}"
        )


def _look_at(eyes: Array, targets: Array) -> list[Transform]:
    """`geometry.camera.look_at` for many eyes (N, 3) and targets (N, 3), m: it is called often."""
    forward = targets - eyes
    forward /= np.sqrt((forward * forward).sum(axis=1, keepdims=True))
    x, y, z = forward.T
    flat = np.hypot(x, y)
    right = [y / flat, -x / flat, np.zeros_like(x)]
    down = [x * z / flat, y * z / flat, -flat]
    rotations = np.array([right, down, [x, y, z]]).transpose(2, 1, 0)
    return [Transform(rotation, eye) for rotation, eye in zip(rotations, eyes, strict=True)]
