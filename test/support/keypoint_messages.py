"""What messages of keypoints say, in a form that two chains' results can be compared in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from s3k_ros.msg import Keypoint3DArray, MultiViewKeypoints
from s3k_ros.ros.conversions import nanoseconds


def by_stamp(messages: Iterable[Any]) -> dict[int, Any]:
    """Messages by their stamps, ns."""
    return {nanoseconds(m.header.stamp): m for m in messages}


def content(message: Keypoint3DArray) -> list[tuple]:
    """All that a message says of its keypoints, but for their age at publication."""
    return [
        (
            k.name, k.status, k.views_used, k.position.x, k.position.y, k.position.z,
            *k.covariance, k.confidence, k.reprojection_error,
        )
        for k in message.keypoints
    ]  # fmt: skip


def frames(message: MultiViewKeypoints) -> list[tuple]:
    """Which images a set was made of."""
    return [
        (v.status, nanoseconds(v.header.stamp) if v.status == v.OK else 0) for v in message.views
    ]
