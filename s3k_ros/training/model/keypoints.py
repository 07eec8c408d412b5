"""What the names of keypoints tell."""

from __future__ import annotations


def mirror_names(keypoints: list[str]) -> list[int]:
    """Index of each keypoint's mirror image: left_x and right_x change places."""
    result = []
    for index, name in enumerate(keypoints):
        for side, other in (("left", "right"), ("right", "left")):
            partner = name.replace(side, other)
            if side in name and partner in keypoints:
                index = keypoints.index(partner)
                break
        result.append(index)
    return result
