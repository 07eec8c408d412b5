"""Measures of a shoe: what a style, a family and a seed leave open is drawn from bands.

Every range is cut into bands that belong to the families in turn, so that no measure of a shoe of
one family is ever that of a shoe of the other, and both still span the same styles.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from s3k_ros.errors import ConfigurationError

FAMILIES = ("train", "test")
STYLES = ("runner", "court", "high_top", "derby", "skate", "boot")
LENGTH_M = (0.25, 0.30)
BANDS = 8  # of a range; every second one belongs to a family
_BAND_SHARE = 0.9  # of a band that is used: what is left keeps families apart

# Name: (least, most). Lengths are shares of the shoe's length, heights are above the ground or,
# where said, above the sole; angles in degrees.
_COMMON: dict[str, tuple[float, float]] = {
    "ball": (0.92, 1.06),  # breadth at the ball against a usual last
    "heel": (0.92, 1.08),  # breadth of the heel against a usual last
    "bend": (-0.012, 0.016),  # of the toe towards the other foot, beyond a usual last's
    "pointed": (0.0, 0.35),  # 0: a round toe
    "spring": (0.02, 0.055),  # height of the tip's lower edge
    "heel_sole": (0.095, 0.125),
    "fore_sole": (0.06, 0.08),
    "flare": (0.004, 0.014),  # how far the sole stands out
    "toe_box": (2.0, 2.5),  # 2: an ellipse; more: squarer
    "throat_x": (0.63, 0.69),  # where the lacing ends in front
    "mouth_x": (0.42, 0.47),  # where the opening for the foot begins in front
    "throat_z": (0.165, 0.19),  # heights of the rim, above the sole
    "mouth_z": (0.27, 0.31),
    "ankle_z": (0.17, 0.2),
    "heel_z": (0.215, 0.255),
    "gap": (0.045, 0.062),  # half the width of the lacing at its top
    "tongue_rise": (0.06, 0.1),  # above the rim
    "tongue_angle": (42.0, 65.0),  # of its free end, from level
    "tongue_thick": (0.01, 0.018),
    "lace": (0.01, 0.015),  # half the width of a lace
}
_STYLE: dict[str, dict[str, tuple[float, float]]] = {
    "runner": {"heel_sole": (0.12, 0.15), "fore_sole": (0.075, 0.095), "spring": (0.04, 0.075)},
    "court": {"heel_sole": (0.085, 0.1), "fore_sole": (0.075, 0.09), "spring": (0.01, 0.03)},
    "high_top": {
        "heel_sole": (0.085, 0.1), "fore_sole": (0.07, 0.085), "mouth_z": (0.42, 0.47),
        "ankle_z": (0.38, 0.41), "heel_z": (0.4, 0.44), "mouth_x": (0.38, 0.42),
        "throat_x": (0.64, 0.69), "tongue_angle": (62.0, 80.0),
    },
    "derby": {
        "pointed": (0.4, 0.9), "heel_sole": (0.11, 0.13), "fore_sole": (0.04, 0.055),
        "ball": (0.88, 0.98), "throat_x": (0.6, 0.64), "mouth_x": (0.43, 0.46),
        "tongue_rise": (0.05, 0.075), "tongue_thick": (0.006, 0.009), "lace": (0.006, 0.009),
        "toe_box": (1.9, 2.2),
    },
    "skate": {
        "heel_sole": (0.075, 0.09), "fore_sole": (0.07, 0.08), "spring": (0.01, 0.025),
        "tongue_thick": (0.02, 0.03), "tongue_rise": (0.08, 0.115), "lace": (0.014, 0.02),
        "ball": (1.0, 1.1), "toe_box": (2.1, 2.6),
    },
    "boot": {
        "heel_sole": (0.13, 0.155), "fore_sole": (0.065, 0.085), "mouth_z": (0.45, 0.52),
        "ankle_z": (0.45, 0.49), "heel_z": (0.46, 0.51), "mouth_x": (0.36, 0.4),
        "tongue_angle": (68.0, 82.0), "throat_x": (0.6, 0.66),
    },
}  # fmt: skip
HEELED = ("derby", "boot")  # styles whose sole has a separate heel
TALL = ("high_top", "boot")  # styles that go above the ankle


@dataclasses.dataclass(frozen=True)
class ShoeShape:
    """One shoe's measures; see the table above for the shares in ``share``.

    Attributes:
        style: one of `STYLES`.
        length_m: of the whole shoe.
        left: whether it is made for the left foot.
        lacing: "bars", "crossed" or "straps".
        rows: of laces, or straps.
        bow: whether the laces are tied.
        share: measures by name, as shares of the length, degrees or factors.
    """

    style: str
    length_m: float
    left: bool
    lacing: str
    rows: int
    bow: bool
    share: dict[str, float]

    def __getitem__(self, name: str) -> float:
        return self.share[name]


def draw_shape(rng: np.random.Generator, seed: int, family: str) -> ShoeShape:
    """The measures of a seed. Seeds in a row go through all styles and both feet.

    Raises:
        ConfigurationError: an unknown family or a negative seed.
    """
    check(seed, family)
    style = STYLES[seed % len(STYLES)]
    share = {
        name: draw_band(rng, least, most, family) for name, (least, most) in ranges(style).items()
    }
    straps = style in ("court", "skate") and rng.random() < 0.3
    lacing = "straps" if straps else ("crossed", "bars")[int(rng.integers(2))]
    rows = int(rng.integers(2, 4)) if straps else int(rng.integers(4, 6)) + 2 * (style in TALL)
    return ShoeShape(
        style=style,
        length_m=draw_band(rng, *LENGTH_M, family),
        left=bool((seed + seed // len(STYLES)) % 2 == 0),
        lacing=lacing,
        rows=rows,
        bow=bool(not straps and rng.random() < 0.7),
        share=share,
    )


def check(seed: int, family: str) -> None:
    """Refuses an unknown family or a negative seed with a ConfigurationError."""
    if family not in FAMILIES:
        raise ConfigurationError(f"family = {family!r} must be one of {FAMILIES}")
    if seed < 0:
        raise ConfigurationError(f"seed = {seed} must not be negative")


def ranges(style: str) -> dict[str, tuple[float, float]]:
    """Range of every measure of a style, over both families."""
    return _COMMON | _STYLE[style]


def draw_band(rng: np.random.Generator, least: float, most: float, family: str) -> float:
    """A number from one of the family's bands of a range."""
    band = 2 * int(rng.integers(BANDS // 2)) + FAMILIES.index(family)
    place = band + 0.5 + _BAND_SHARE * (rng.random() - 0.5)
    return float(least + (most - least) * place / BANDS)


def band_of(value: float, least: float, most: float) -> str | None:
    """The family to which a value of a range belongs, None between bands or outside."""
    place = (value - least) / (most - least) * BANDS
    if not 0 <= place < BANDS or abs(place % 1.0 - 0.5) > _BAND_SHARE / 2 + 1e-9:
        return None
    return FAMILIES[int(place) % 2]
