"""Draws what RViz would show of a running stack, beside the simulator's truth: a check by eye.

Only what the markers say is drawn: pose, scale and colour of each ellipsoid, names, skeleton. Truth
comes as crosses. Prints whether the truth lies inside of each ellipsoid. Usage, with a cell running
on the same ROS_DOMAIN_ID (ros2 launch s3k_ros cell.launch.xml sim:=true):

    .venv/bin/s3k-env python tools/marker_picture.py docs/images/visualisation.jpg
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import rclpy
from matplotlib import pyplot as plt
from sensor_msgs.msg import Image
from visualization_msgs.msg import Marker, MarkerArray

from s3k_ros.geometry.se3 import Transform
from s3k_ros.msg import Keypoint3DArray
from s3k_ros.params.nodes import CAMERAS
from s3k_ros.ros import qos
from s3k_ros.ros.conversions import image_from_message, nanoseconds

PATIENCE_S = 120.0
# Millimetres around each keypoint in its own picture.
CLOSE_MM = 15.0


def main() -> int:
    """Collects one set, draws it, returns the exit code."""
    parser = argparse.ArgumentParser(description="A picture of the markers beside the truth.")
    parser.add_argument("path")
    path = parser.parse_args().path
    rclpy.init()
    markers, truth, images = collect()
    ellipsoids = {m.id: m for m in markers.markers if m.ns == "uncertainty" and m.action == m.ADD}
    true = {
        k: np.array([p.position.x, p.position.y, p.position.z])
        for k, p in enumerate(truth.keypoints)
    }
    names = {k: truth.keypoints[k].name for k in true}
    for k, marker in ellipsoids.items():
        distance = np.linalg.norm(in_ellipsoid(marker, true[k]))
        where = "inside" if distance <= 1 else "outside"
        print(f"{names[k]}: truth {where} the ellipsoid, at {distance:.2f} of its radius")
    draw(markers, ellipsoids, true, names, images, path)
    return 0


def collect() -> tuple[MarkerArray, Keypoint3DArray, dict[str, np.ndarray]]:
    """The markers of a set with all keypoints, the truth of its time, and the overlays."""
    node = rclpy.create_node("marker_picture")
    markers: list[MarkerArray] = []
    truth: dict[int, Keypoint3DArray] = {}
    images: dict[str, np.ndarray] = {}
    node.create_subscription(MarkerArray, "keypoint_markers", markers.append, qos.keypoints())
    node.create_subscription(
        Keypoint3DArray, "sim/ground_truth",
        lambda m: truth.update({nanoseconds(m.header.stamp): m}), qos.keypoints(),
    )  # fmt: skip
    for name in CAMERAS:
        node.create_subscription(
            Image, f"{name}/keypoint_image",
            lambda m, name=name: images.update({name: image_from_message(m)}), qos.images(),
        )  # fmt: skip
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.1)
        full = [m for m in markers if all(x.action == Marker.ADD for x in m.markers)]
        if len(full) >= 3 and truth and len(images) == len(CAMERAS):
            stamp = nanoseconds(full[-1].markers[0].header.stamp)
            return full[-1], truth[min(truth, key=lambda t: abs(t - stamp))], images
    raise SystemExit(
        f"got {len(markers)} marker arrays, {len(truth)} truths and images of {sorted(images)}"
    )


def pose(marker: Marker) -> Transform:
    """The marker's pose in the base frame."""
    q, p = marker.pose.orientation, marker.pose.position
    return Transform.from_quaternion([q.x, q.y, q.z, q.w], [p.x, p.y, p.z])


def in_ellipsoid(marker: Marker, point: np.ndarray) -> np.ndarray:
    """The point in the ellipsoid's own axes; of length 1 on its surface."""
    at, s = pose(marker), marker.scale
    return (point - at.translation) @ at.rotation / (np.array([s.x, s.y, s.z]) / 2)


def surface(marker: Marker) -> np.ndarray:
    """(3, 24, 24) points of the ellipsoid's surface."""
    turn, rise = np.meshgrid(np.linspace(0, 2 * np.pi, 24), np.linspace(0, np.pi, 24))
    unit = np.stack([np.cos(turn) * np.sin(rise), np.sin(turn) * np.sin(rise), np.cos(rise)])
    at, s = pose(marker), marker.scale
    radii = np.array([s.x, s.y, s.z])[:, np.newaxis, np.newaxis] / 2
    return np.einsum("ij,jkl->ikl", at.rotation, unit * radii) + at.translation[:, None, None]


def draw(
    markers: MarkerArray,
    ellipsoids: dict[int, Marker],
    true: dict[int, np.ndarray],
    names: dict[int, str],
    images: dict[str, np.ndarray],
    path: str,
) -> None:
    """The scene, the four overlays, and each ellipsoid from above and from the side."""
    figure = plt.figure(figsize=(14, 8.4), layout="constrained", facecolor="#303030")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.7, 1])
    left, right = top.subfigures(1, 2, width_ratios=[1, 1.15])
    for part in (figure, top, bottom, left, right):
        part.set_facecolor("#303030")
    scene(left.add_subplot(projection="3d"), markers, ellipsoids, true)
    for axes, name in zip(right.subplots(2, 2).flat, CAMERAS, strict=True):
        height, width = images[name].shape[:2]
        middle = images[name][height // 4 : -height // 4, width // 4 : -width // 4, ::-1]
        axes.imshow(middle)
        axes.set_title(f"{name}/keypoint_image", color="w", fontsize=9)
        axes.axis("off")
    for row, (a, b) in zip(bottom.subplots(2, len(true)), ((0, 1), (0, 2)), strict=True):
        for axes, k in zip(row, true, strict=True):
            close_up(axes, ellipsoids.get(k), true[k], (a, b), names[k])
    figure.savefig(path, dpi=80)


def scene(axes: Any, markers: MarkerArray, ellipsoids: dict, true: dict) -> None:
    """The markers in space, and the truth."""
    axes.set_facecolor("#303030")
    for marker in markers.markers:
        colour = (marker.color.r, marker.color.g, marker.color.b)
        p = marker.pose.position
        if marker.ns == "uncertainty" and marker.action == Marker.ADD:
            axes.plot_surface(*surface(marker), color=colour, alpha=marker.color.a, linewidth=0)
        elif marker.ns == "name" and marker.action == Marker.ADD:
            axes.text(p.x, p.y, p.z, marker.text, color=colour, fontsize=9, ha="center")
        elif marker.ns == "skeleton":
            for start, end in zip(marker.points[::2], marker.points[1::2], strict=True):
                line = np.array([[q.x, q.y, q.z] for q in (start, end)]).T
                axes.plot(*line, color=colour, linewidth=1.5)
    for point in true.values():
        axes.plot(*point[:, np.newaxis], "x", color="w", markersize=5)
    middle = np.mean(list(true.values()), axis=0)
    for which, at in zip("xyz", middle, strict=True):
        getattr(axes, f"set_{which}lim")(at - 0.11, at + 0.11)
        axes.tick_params(which, colors="w", labelsize=7)
        getattr(axes, f"{which}axis").set_pane_color("#3c3c3c")
    axes.view_init(35, 30)
    axes.set_title("keypoint_markers; white crosses: truth", color="w", fontsize=10)


def close_up(axes: Any, marker: Marker | None, truth: np.ndarray, plane: tuple, name: str) -> None:
    """The ellipsoid's outline in one plane, mm from the truth."""
    labels = "xyz"
    axes.set_facecolor("#303030")
    if marker is not None:
        colour = (marker.color.r, marker.color.g, marker.color.b)
        shell = 1e3 * (surface(marker) - truth[:, None, None])
        axes.fill(*outline(shell[plane[0]], shell[plane[1]]), color=colour, alpha=0.6)
        at = 1e3 * (pose(marker).translation - truth)
        axes.plot(at[plane[0]], at[plane[1]], "o", color=colour, markersize=3)
    axes.plot(0, 0, "x", color="w", markersize=7)
    axes.set(xlim=(-CLOSE_MM, CLOSE_MM), ylim=(-CLOSE_MM, CLOSE_MM), aspect="equal")
    axes.set_title(f"{name}, {labels[plane[0]]}{labels[plane[1]]} in mm", color="w", fontsize=8)
    axes.tick_params(colors="w", labelsize=6)


def outline(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The outline of an ellipse from points that fill it."""
    from scipy.spatial import ConvexHull

    points = np.stack([x.ravel(), y.ravel()], axis=1)
    hull = points[ConvexHull(points).vertices]
    return hull[:, 0], hull[:, 1]


if __name__ == "__main__":
    raise SystemExit(main())
