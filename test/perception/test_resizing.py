from __future__ import annotations

import cv2
import numpy as np
import pytest

from s3k_ros.perception.resizing import resize


def picture(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, columns, 3), np.uint8)


# Views and crops of the shipped models, odd ratios, and what OpenCV does itself.
@pytest.mark.parametrize(
    ("rows", "columns", "size"),
    [
        (960, 1280, (128, 128)), (960, 960, (256, 256)), (480, 640, (128, 128)),
        (480, 480, (256, 256)), (384, 384, (120, 120)), (97, 131, (96, 128)), (90, 80, (90, 60)),
        (960, 1280, (120, 160)), (60, 80, (128, 128)), (1080, 1920, (128, 128)),
    ],
)  # fmt: skip
def test_result_is_opencv_s(rows: int, columns: int, size: tuple[int, int]) -> None:
    image = picture(rows, columns)
    how = cv2.INTER_LINEAR if rows < size[0] else cv2.INTER_AREA
    expected = cv2.resize(image, size[::-1], interpolation=how)
    found = resize(image, size)
    assert found.dtype == np.uint8
    # A mean half-way between two levels may be rounded either way.
    differences = np.abs(found.astype(int) - expected)
    assert differences.max() <= 1
    assert (differences > 0).mean() < 0.005


def test_part_of_an_image_is_resized_like_a_copy_of_it() -> None:
    image = picture(480, 640)
    part = image[10:460, 33:483]
    assert np.array_equal(resize(part, (128, 128)), resize(part.copy(), (128, 128)))
