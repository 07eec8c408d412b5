"""What a keypoint model file says about itself.

The JSON of `ModelDescription` is stored in the ONNX file under the metadata key `METADATA_KEY`.
Training writes it, `s3k_ros.perception.model_file` reads it; both use these classes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from s3k_ros.errors import ConfigurationError
from s3k_ros.perception.metadata import (
    Matrix,
    Section,
    as_matrix,
    as_number,
    as_pair,
    as_text,
    require,
)

METADATA_KEY = "s3k"
FORMAT = 1

CONFIDENCE_FEATURES = ("log_peak_mass", "log_spread", "log_margin")
"""Features of a heatmap that the confidence may weigh, see `s3k_ros.perception.decoding`:
log of the mass in the window around the peak; log of whole-map spread over sigma; log of the mass
around the peak over the mass around the second one."""

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class StageDescription:
    """One stage: the coarse one on the whole view, or the crop stage on the object.

    Attributes:
        input_size: height, width of the network's input, px.
        stride: input pixels per heatmap cell.
        sigma_px: width of the Gaussian target, heatmap cells.
        crop_fraction: side of the square crop over the width of the full image; None for the
            coarse stage, which sees the whole image.
    """

    input_size: tuple[int, int]
    stride: int
    sigma_px: float
    crop_fraction: float | None = None

    def __post_init__(self) -> None:
        height, width = self.input_size
        require(self.stride >= 1, "stride", self.stride, "at least 1")
        fits = min(height, width) >= 8 and height % self.stride == 0 and width % self.stride == 0
        require(fits, "input_size", self.input_size, "at least 8 and a multiple of the stride")
        require(self.sigma_px > 0, "sigma_px", self.sigma_px, "positive")
        if self.crop_fraction is not None:
            in_range = 0.02 <= self.crop_fraction <= 1.0
            require(in_range, "crop_fraction", self.crop_fraction, "0.02 to 1")

    @property
    def grid_size(self) -> tuple[int, int]:
        """Height, width of the heatmaps, cells."""
        return self.input_size[0] // self.stride, self.input_size[1] // self.stride


@dataclasses.dataclass(frozen=True)
class WeightDescription:
    """Detection weight w = 1 / (1 + (s / (alpha sigma))^beta)."""

    alpha: float = 2.0
    beta: float = 4.0

    def __post_init__(self) -> None:
        require(self.alpha > 0, "weights.alpha", self.alpha, "positive")
        require(self.beta > 0, "weights.beta", self.beta, "positive")


@dataclasses.dataclass(frozen=True)
class ConfidenceDescription:
    """P(no gross error) = 1 / (1 + exp(-(bias + sum of weight x feature)))."""

    bias: float
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        for name in self.weights:
            require(
                name in CONFIDENCE_FEATURES,
                "uncertainty.confidence.weights",
                name,
                "one of " + ", ".join(CONFIDENCE_FEATURES),
            )


@dataclasses.dataclass(frozen=True)
class SpaceConfidence:
    """P(no gross error) of a point in space from the views that take part in it.

    A point of n views is as good as its second surest view: one view fits any point on its ray, and
    a second one that is wrong may meet that ray by chance. Each further view would have to do the
    same. So P = 1 / (1 + exp(-(bias + second_view x log-odds of the second surest view's confidence
    + further_view x (n - 2) + support x that of the known distances))), times the probability that
    no other point explains the views better (`s3k_ros.perception.consensus` for both). The defaults
    serve until the calibration: what fits the box and the plush fox on their development scenes,
    with odds that are three times more cautious.
    """

    bias: float = 0.6
    second_view: float = 0.5
    further_view: float = 2.4
    support: float = 0.0

    def __post_init__(self) -> None:
        for name in ("second_view", "further_view", "support"):
            value = getattr(self, name)
            require(value >= 0, f"uncertainty.space_confidence.{name}", value, "not negative")

    def log_odds(self, second: Array, views: Array, support: Array) -> Array:
        """(...) of log-odds of second surest views, numbers of views and supports of distances."""
        further = self.further_view * (views - 2)
        return np.asarray(self.bias + self.second_view * second + further + self.support * support)


@dataclasses.dataclass(frozen=True)
class UncertaintyDescription:
    """Constants of the calibrated uncertainty, K keypoints.

    The error covariance of a 2D keypoint is A_k + b_k max(Cov - sigma^2 I, 0), px^2 of an image
    ``reference_width`` px wide; for other widths it scales with the square of the width.

    Attributes:
        pixel_variance: K symmetric positive definite 2 x 2 matrices A_k, px^2.
        reference_width: width of the images that A_k belongs to, px.
        spread_gain: K factors b_k.
        common_mode: K symmetric 3 x 3 matrices, m^2: the error that all views share, in a scene of
            average difficulty.
        confidence: the logistic of the confidence.
        provisional: True when the constants were not fitted on held-out data.
        common_reference: K traces, m^2, of the covariances that the geometry gives on average;
            none: the common mode is the same in every scene.
        common_growth: power of the geometry's trace over this reference that the common mode grows
            with: what is hard for the views is hard for all of them.
        space_confidence: the logistic of the confidence in space.
    """

    pixel_variance: tuple[Matrix, ...]
    reference_width: int
    spread_gain: tuple[float, ...]
    common_mode: tuple[Matrix, ...]
    confidence: ConfidenceDescription
    provisional: bool
    common_reference: tuple[float, ...] = ()
    common_growth: float = 0.0
    space_confidence: SpaceConfidence = dataclasses.field(default_factory=SpaceConfidence)

    def __post_init__(self) -> None:
        require(self.reference_width >= 1, "reference_width", self.reference_width, "positive")
        _check_matrices("pixel_variance", self.pixel_variance, 2, definite=True)
        _check_matrices("common_mode", self.common_mode, 3, definite=False)
        for gain in self.spread_gain:
            require(gain >= 0, "spread_gain", gain, "not negative")
        for trace in self.common_reference:
            require(trace > 0, "common_reference", trace, "positive")
        fits = len(self.common_reference) in (0, len(self.common_mode))
        require(fits, "common_reference", list(self.common_reference), "none or one a keypoint")
        in_range = 0.0 <= self.common_growth <= 3.0
        require(in_range, "common_growth", self.common_growth, "0 to 3")


@dataclasses.dataclass(frozen=True)
class DistanceDescription:
    """A distance between two keypoints that hardly changes.

    Attributes:
        keypoints: their indices.
        distance_m: usual distance, m.
        spread_m: its standard deviation, m.
    """

    keypoints: tuple[int, int]
    distance_m: float
    spread_m: float

    def __post_init__(self) -> None:
        require(self.keypoints[0] != self.keypoints[1], "shape", self.keypoints, "two keypoints")
        require(self.distance_m > 0, "shape.distance_m", self.distance_m, "positive")
        require(self.spread_m > 0, "shape.spread_m", self.spread_m, "positive")


@dataclasses.dataclass(frozen=True)
class ModelDescription:
    """Everything the detector must know about a model besides its weights.

    Attributes:
        object_id: name of the object, for instance "plush_fox".
        keypoints: K names, in the order of the heatmaps.
        skeleton: pairs of keypoint indices to be drawn as lines.
        coarse: the stage that sees the whole view.
        crop: the stage that sees the object's crop; None when the coarse stage gives the
            positions.
        window_px: half width of the decoding window, heatmap cells.
        weights: the detection weight's constants.
        uncertainty: the calibrated constants.
        training: command, seed, commit, data and figures of the training; anything JSON can hold.
        shape: distances between keypoints that hardly change; none where they are not known.

    Raises:
        ConfigurationError: values that contradict each other or are out of range.
    """

    object_id: str
    keypoints: tuple[str, ...]
    skeleton: tuple[tuple[int, int], ...]
    coarse: StageDescription
    crop: StageDescription | None
    window_px: int
    weights: WeightDescription
    uncertainty: UncertaintyDescription
    training: Mapping[str, Any]
    shape: tuple[DistanceDescription, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.keypoints)
        require(bool(self.object_id), "object_id", self.object_id, "not empty")
        unique = count >= 1 and len(set(self.keypoints)) == count and all(self.keypoints)
        require(unique, "keypoints", list(self.keypoints), "at least one name, all different")
        for pair in self.skeleton:
            fits = all(0 <= i < count for i in pair)
            require(fits, "skeleton", list(pair), f"pairs of indices below {count}")
        for distance in self.shape:
            fits = all(0 <= i < count for i in distance.keypoints)
            require(fits, "shape.keypoints", list(distance.keypoints), f"indices below {count}")
        require(self.coarse.crop_fraction is None, "stages.coarse", "crop_fraction", "absent")
        given = self.crop is None or self.crop.crop_fraction is not None
        require(given, "stages.crop.crop_fraction", None, "given")
        require(self.window_px >= 1, "window_px", self.window_px, "at least 1")
        for name in ("pixel_variance", "spread_gain", "common_mode"):
            found = len(getattr(self.uncertainty, name))
            require(found == count, f"uncertainty.{name}", f"{found} entries", f"{count} entries")

    @property
    def last(self) -> StageDescription:
        """The stage that gives the positions: the crop stage if there is one."""
        return self.crop or self.coarse

    @property
    def stages(self) -> dict[str, StageDescription]:
        """The stages by name, in the order in which they run."""
        crop = {} if self.crop is None else {"crop": self.crop}
        return {"coarse": self.coarse, **crop}

    @property
    def sigma_px(self) -> float:
        """Width of the last stage's Gaussian target, heatmap cells."""
        return self.last.sigma_px

    def to_json(self) -> str:
        """The JSON text of the model file's metadata."""
        stages = {name: dataclasses.asdict(stage) for name, stage in self.stages.items()}
        del stages["coarse"]["crop_fraction"]
        values = {
            "format": FORMAT,
            "object_id": self.object_id,
            "keypoints": self.keypoints,
            "skeleton": self.skeleton,
            "sigma_px": self.sigma_px,
            "stages": stages,
            "weights": dataclasses.asdict(self.weights),
            "window_px": self.window_px,
            "uncertainty": _uncertainty_to_json(self.uncertainty),
            "training": dict(self.training),
            "shape": [dataclasses.asdict(distance) for distance in self.shape],
        }
        return json.dumps(values, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads the metadata of a model file.

        Raises:
            ConfigurationError: no JSON, a key that is missing, unknown or of the wrong type, or
                values that contradict each other; the message names the key.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ConfigurationError(f"the metadata {METADATA_KEY!r} is no JSON: {error}") from None
        root = Section("", values)
        version = root.number("format", int)
        require(version == FORMAT, "format", version, f"{FORMAT}, the only one known")
        stages = root.section("stages")
        weights = root.section("weights")
        description = cls(
            object_id=root.text("object_id"),
            keypoints=tuple(as_text("keypoints", name) for name in root.items("keypoints")),
            skeleton=tuple(as_pair("skeleton", pair) for pair in root.items("skeleton")),
            coarse=_stage(stages.section("coarse"), crop=False),
            crop=_stage(stages.section("crop"), crop=True) if "crop" in stages.values else None,
            window_px=root.number("window_px", int),
            weights=WeightDescription(weights.number("alpha"), weights.number("beta")),
            uncertainty=_uncertainty(root.section("uncertainty")),
            training=root.section("training").values,
            # Files of the first releases have none.
            shape=tuple(_distance(d) for d in root.items("shape", optional=True)),
        )
        sigma = root.number("sigma_px")
        require(sigma == description.sigma_px, "sigma_px", sigma, "that of the last stage")
        for section in (root, stages, weights):
            section.refuse_unknown()
        return description


def _distance(values: Any) -> DistanceDescription:
    section = Section("shape.", values)
    found = DistanceDescription(
        keypoints=as_pair("shape.keypoints", section.items("keypoints")),
        distance_m=section.number("distance_m"),
        spread_m=section.number("spread_m"),
    )
    section.refuse_unknown()
    return found


def _uncertainty_to_json(uncertainty: UncertaintyDescription) -> dict[str, Any]:
    confidence = uncertainty.confidence
    return {
        "pixel_variance": uncertainty.pixel_variance,
        "reference_width": uncertainty.reference_width,
        "spread_gain": uncertainty.spread_gain,
        "common_mode": uncertainty.common_mode,
        "confidence": {"bias": confidence.bias, "weights": dict(confidence.weights)},
        "provisional": uncertainty.provisional,
        "common_reference": uncertainty.common_reference,
        "common_growth": uncertainty.common_growth,
        "space_confidence": dataclasses.asdict(uncertainty.space_confidence),
    }


def _uncertainty(section: Section) -> UncertaintyDescription:
    confidence = section.section("confidence")
    weights = confidence.section("weights")
    result = UncertaintyDescription(
        pixel_variance=tuple(
            as_matrix("pixel_variance", rows) for rows in section.items("pixel_variance")
        ),
        reference_width=section.number("reference_width", int),
        spread_gain=tuple(as_number("spread_gain", gain) for gain in section.items("spread_gain")),
        common_mode=tuple(as_matrix("common_mode", rows) for rows in section.items("common_mode")),
        confidence=ConfidenceDescription(
            confidence.number("bias"), {name: weights.number(name) for name in weights.values}
        ),
        provisional=section.flag("provisional"),
        # Files of the first releases have none of these.
        common_reference=tuple(
            as_number("common_reference", trace)
            for trace in section.items("common_reference", optional=True)
        ),
        common_growth=section.number("common_growth") if section.has("common_growth") else 0.0,
        space_confidence=_space_confidence(section),
    )
    section.refuse_unknown()
    confidence.refuse_unknown()
    return result


def _space_confidence(section: Section) -> SpaceConfidence:
    if not section.has("space_confidence"):
        return SpaceConfidence()
    space = section.section("space_confidence")
    names = [field.name for field in dataclasses.fields(SpaceConfidence)]
    found = SpaceConfidence(**{name: space.number(name) for name in names})
    space.refuse_unknown()
    return found


def _stage(section: Section, *, crop: bool) -> StageDescription:
    stage = StageDescription(
        input_size=as_pair(section.path + "input_size", section.items("input_size")),
        stride=section.number("stride", int),
        sigma_px=section.number("sigma_px"),
        crop_fraction=section.number("crop_fraction") if crop else None,
    )
    section.refuse_unknown()
    return stage


def _check_matrices(key: str, matrices: tuple[Matrix, ...], size: int, *, definite: bool) -> None:
    kind = "positive definite" if definite else "positive semidefinite"
    for matrix in matrices:
        regular = len(matrix) == size and all(len(row) == size for row in matrix)
        array = np.array(matrix, dtype=np.float64) if regular else np.zeros((size, size))
        good = regular and bool(np.isfinite(array).all()) and np.allclose(array, array.T)
        if good:
            lowest = float(np.linalg.eigvalsh(array)[0])
            scale = float(np.abs(array).max())
            good = lowest > 0 if definite else lowest >= -1e-9 * scale
        require(bool(good), f"uncertainty.{key}", matrix, f"symmetric {size} x {size}, {kind}")
