"""Bayer patterns: colours end where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from s3k_ros.cameras.pixels import choose_format, to_image
from s3k_ros.errors import ConfigurationError

BGR = (40, 120, 200)


def mosaic(pattern: str) -> np.ndarray:
    """A uniformly coloured scene under a colour filter; the pattern names the upper left 2 x 2."""
    value = dict(zip("BGR", BGR, strict=True))
    rows = {"RG": "RGGB", "GR": "GRBG", "GB": "GBRG", "BG": "BGGR"}[pattern]
    tile = np.array([[value[rows[0]], value[rows[1]]], [value[rows[2]], value[rows[3]]]], np.uint8)
    return np.tile(tile, (8, 8))


@pytest.mark.parametrize("pattern", ["RG", "GR", "GB", "BG"])
def test_bayer_gives_the_colour_of_the_scene(pattern: str) -> None:
    image = to_image(mosaic(pattern), f"Bayer{pattern}8")
    assert image.shape == (16, 16, 3)
    assert np.all(image[2:-2, 2:-2] == BGR)
    assert not image.flags.writeable


def test_rgb_is_swapped_and_mono_and_bgr_are_not_copied() -> None:
    rgb = np.full((4, 4, 3), BGR[::-1], np.uint8)
    assert np.all(to_image(rgb, "RGB8Packed") == BGR)
    mono = np.zeros((4, 4), np.uint8)
    assert to_image(mono, "Mono8") is mono


def test_the_first_usable_format_is_chosen_and_others_are_refused() -> None:
    assert choose_format("auto", ("Mono12", "Mono8", "BayerGB8"), "cam") == "BayerGB8"
    assert choose_format("Mono8", ("Mono8", "BayerGB8"), "cam") == "Mono8"
    with pytest.raises(ConfigurationError, match=r"camera cam: .*'Mono8' .*: BayerGB8$"):
        choose_format("Mono8", ("BayerGB8",), "cam")
    with pytest.raises(ConfigurationError, match="none of Mono12"):
        choose_format("auto", ("Mono12",), "cam")
