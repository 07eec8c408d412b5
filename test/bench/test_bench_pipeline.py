"""`s3k bench pipeline`: its cameras, its figures, and a run of the parts on small pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from s3k_ros.bench import pipeline
from s3k_ros.cameras.pixels import to_image
from s3k_ros.errors import ConfigurationError

pytestmark = pytest.mark.ros
MODEL = str(Path(__file__).parents[2] / "models" / "box.onnx")


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    pipeline.add_arguments(parser)
    return parser.parse_args(words)


def test_sensor_s_pattern_becomes_the_picture_again() -> None:
    from s3k_ros.bench.ros_pipeline import mosaic

    picture = np.full((2, 16, 24, 3), (30, 90, 200), np.uint8)
    picture[1] = (200, 10, 60)
    for raw, image in zip(mosaic(picture), picture, strict=True):
        assert np.array_equal(to_image(raw, "BayerRG8"), image)


def test_cameras_show_one_scene_at_a_time() -> None:
    from s3k_ros.bench.ros_pipeline import PictureBus
    from s3k_ros.cameras.rig import DeviceRig
    from s3k_ros.params.cameras import CameraRigParameters, CameraSettings, TriggerParameters

    # Scene s in camera c has the grey 50 s + c.
    greys = np.add.outer(50 * np.arange(3), np.arange(2)).astype(np.uint8)
    pictures = np.broadcast_to(greys[:, :, np.newaxis, np.newaxis], (3, 2, 48, 64)).copy()
    parameters = CameraRigParameters(cameras=("left", "right"))
    bus = PictureBus(pictures, ["left", "right"])
    rig = DeviceRig(parameters, CameraSettings(), TriggerParameters(), bus)
    rig.open()
    rig.start()
    try:
        scenes = set()
        while len(scenes) < 3:
            frames = rig.next_set(10.0)
            assert frames is not None
            shown = {name: int(frame.image[0, 0, 0]) for name, frame in frames.frames.items()}
            if frames.complete:
                assert shown["right"] == shown["left"] + 1
                scenes.add(shown["left"] // 50)
    finally:
        rig.close()


def test_figures_are_of_what_was_heard() -> None:
    stages = {f"perception: model: {name}_ms": 2.0 for name in ("prepare", "coarse", "crop")}
    heard = {
        # set, latency ms, receipt s, good keypoints; the third set is lost
        "sets": [(7, 30.0, 10.0, 5), (8, 32.0, 10.1, 5), (10, 40.0, 10.3, 2)],
        "processor_s": {"perception": 0.12},
        "diagnostics": {
            **stages,
            "perception: model: decode_ms": 1.0,
            "perception: sets: latency_ms_median": 28.0,
        },
    }
    figures = pipeline._figures(heard)
    assert (figures["sets"], figures["lost_percent"]) == (3, 25.0)
    assert figures["rate_hz"] == pytest.approx(2 / 0.3)
    assert (figures["latency_ms_median"], figures["latency_ms_max"]) == (32.0, 40.0)
    assert figures["keypoints_a_set"] == 4.0
    assert figures["processor_ms_a_set"] == {"perception": pytest.approx(40.0)}
    assert figures["stages_ms_median"] == {
        "exposure to detector": pytest.approx(21.0),
        **dict.fromkeys(("prepare", "coarse", "crop"), 2.0),
        "decode": 1.0,
        "triangulate and deliver": pytest.approx(4.0),
    }


def test_keypoints_come_out_of_every_part() -> None:
    words = ("--model", MODEL, "--width", "320", "--rate", "5", "--rounds", "2")
    result = pipeline.run(arguments(*words, "--seconds", "1", "--settle", "0.2"))
    assert result.figures["memory"]["error_mm_median"] < 5.0
    assert set(result.figures["memory"]["stages_ms_median"]) == {
        "prepare", "coarse", "crop", "decode", "triangulate",
    }  # fmt: skip
    for part, nodes in (("fused", 2), ("separate", 4)):
        assert result.figures[part]["sets"] >= 1
        assert result.figures[part]["keypoints_a_set"] > 0.0
        assert len(result.figures[part]["processor_ms_a_set"]) == nodes
    assert [target.unit for target in result.targets] == ["ms", "Hz", "ms", "Hz"]


def test_what_cannot_be_measured_is_named(tmp_path: Path) -> None:
    from support.synthetic_model import write_model

    with pytest.raises(ConfigurationError, match="--seconds"):
        pipeline.run(arguments("--seconds", "0"))
    write_model(tmp_path / "bear.onnx", object_id="plush_bear")
    with pytest.raises(ConfigurationError, match="no scenes of 'plush_bear'"):
        pipeline.run(arguments("--model", str(tmp_path / "bear.onnx")))
