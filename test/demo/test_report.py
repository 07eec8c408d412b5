"""report.json, the page, the video and the verdict from made-up recordings."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys

import imageio_ffmpeg
import numpy as np
import pytest
from support.made_up_trial import CAMERAS, make_recording

from s3k_ros.demo import report as reporting
from s3k_ros.demo.overlay import crop_around, draw_view
from s3k_ros.demo.page import planning_stamp, render
from s3k_ros.demo.recording import Recording, View
from s3k_ros.demo.verdict import main, verdict
from s3k_ros.demo.video import SIZE, repetitions, write_video
from s3k_ros.params.demo import DemoParameters

NAMED = {
    "trials": {"seed", "success", "code", "holding", "grasp_error_mm", "duration_s"},
    "keypoints": {"median_mm", "p95_mm", "valid_fraction"},
    "rates_hz": {"images", "keypoints", "joint_states"},
    "latency_ms": {"p50", "p99"},
}


def make_report(trials, recordings, trouble="", **changes):
    params = DemoParameters(trials=max(len(trials), 1), **changes)
    versions = reporting.versions("plush_fox", None)
    return reporting.build(
        params, trials, recordings, started="2026-01-01", versions=versions, trouble=trouble
    )


@pytest.fixture
def held(held_trial):
    return dataclasses.replace(held_trial, success=True)


@pytest.fixture
def finished(held, recording):
    return make_report([held], [recording])


def test_report_has_every_field_that_is_promised(finished):
    for trial in finished["trials"]:
        assert set(trial) >= NAMED["trials"]
    for figures in finished["keypoints"].values():
        assert set(figures) >= NAMED["keypoints"]
    assert set(finished["rates_hz"]) == NAMED["rates_hz"]
    assert set(finished["latency_ms"]) == NAMED["latency_ms"]
    assert {"complete_sets_fraction", "real_time_factor", "seed", "versions"} <= set(finished)
    assert {"python", "numpy", "mujoco", "onnxruntime", "rclpy"} <= set(finished["versions"])


def test_report_passes_at_the_required_rate_and_fails_below_it(held, recording):
    lost = dataclasses.replace(held, success=False)
    four, three = [held] * 4 + [lost], [held] * 3 + [lost] * 2
    assert make_report(four, [recording] * 5)["verdict"] == "passed"
    assert make_report(three, [recording] * 5)["verdict"] == "failed"


def test_trouble_fails_a_run_whose_grasps_all_held(held, recording):
    report = make_report([held], [recording], trouble="interrupted")
    assert report["verdict"] == "failed"
    assert report["reason"].startswith("interrupted")


def test_report_of_a_run_without_any_trial_can_be_written(tmp_path):
    path = tmp_path / "deep" / "report.json"
    reporting.write(make_report([], [], trouble="sim/reset did not appear"), path)
    assert json.loads(path.read_text())["success_rate"] == 0


def test_report_refuses_nan(tmp_path, finished):
    finished["real_time_factor"] = float("nan")
    with pytest.raises(ValueError):
        reporting.write(finished, tmp_path / "report.json")
    assert not (tmp_path / "report.json").exists()


def test_verdict_is_the_exit_code(tmp_path, finished, capsys):
    path = tmp_path / "report.json"
    reporting.write(finished, path)
    assert main([str(path)]) == 0
    reporting.write({**finished, "verdict": "failed"}, path)
    assert main([str(path)]) == 1
    assert "demo failed" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"verdict": "passed"', "null"])
def test_verdict_of_a_broken_report_is_failure(tmp_path, content):
    path = tmp_path / "report.json"
    path.write_text(content)
    assert not verdict(path)[0]


def test_verdict_of_a_missing_report_is_failure(tmp_path):
    passed, line = verdict(tmp_path / "report.json")
    assert not passed
    assert "did not reach its end" in line
    assert main([]) == 2


def test_verdict_needs_neither_ros_nor_any_library():
    code = (
        "import sys, s3k_ros.demo.verdict\n"
        "print([m for m in ('rclpy', 'numpy', 'cv2', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_page_refers_to_nothing_outside_itself(held, recording, finished):
    page = render(finished, [held], [recording], CAMERAS)
    for pattern in (r"<script", r"<link", r"@import", r"url\((?!#)", r"<iframe"):
        assert not re.search(pattern, page), pattern
    for source in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert source.startswith(("data:image/", "#")), source[:80]
    assert page.count("data:image/jpeg") == 8


def test_page_takes_its_colours_from_light_and_dark(held, recording, finished):
    page = render(finished, [held], [recording], CAMERAS)
    assert "prefers-color-scheme: dark" in page
    assert "currentColor" in page
    assert "#010203" not in page and "#040506" not in page


def test_page_escapes_what_a_server_says(held, recording, finished):
    held.message = "<script>alert(1)</script>"
    assert "<script" not in render(finished, [held], [recording], CAMERAS)


def test_page_is_written_for_a_trial_that_saw_nothing(held):
    recordings = [Recording()]
    page = render(make_report([held], recordings), [held], recordings, CAMERAS)
    assert "No images were kept" in page


def test_views_shown_are_the_last_before_the_arm_set_off(recording):
    stamp = planning_stamp(recording)
    assert stamp is not None
    assert 1.8 <= stamp <= 2.0


def test_views_shown_are_a_full_set():
    recording = make_recording()
    late = max(s for s in recording.frames if s <= 2.0)
    del recording.frames[late]["rear_left"]
    stamp = planning_stamp(recording)
    assert stamp is not None
    assert stamp < late


def test_video_shows_every_set_and_can_be_decoded(tmp_path, held):
    recording = make_recording()
    for stamp in sorted(recording.frames)[8:]:
        del recording.frames[stamp]
    path = tmp_path / "demo.mp4"
    count = write_video(path, [held], [recording], CAMERAS, "right_front_paw", 5.0)
    assert count >= len(recording.frames)
    reader = imageio_ffmpeg.read_frames(str(path))
    facts = next(reader)
    assert facts["source_size"] == SIZE
    assert facts["codec"] == "h264"
    assert sum(1 for _ in reader) == count


def test_video_keeps_its_pace_when_sets_are_lost():
    assert repetitions([1.0, 1.2, 1.4], 5.0) == [1, 1, 1]
    assert repetitions([1.0, 1.2, 2.0, 2.2], 5.0) == [1, 4, 1, 1]
    assert repetitions([3.0], 5.0) == [1]


def test_video_without_images_is_not_written(tmp_path, held):
    path = tmp_path / "demo.mp4"
    assert write_video(path, [held], [Recording()], CAMERAS, "right_front_paw", 5.0) == 0
    assert not path.exists()


def one_keypoint(pixel, covariance) -> View:
    return View(True, ("paw",), np.array([pixel]), np.array([covariance]), np.ones(1))


def test_drawn_keypoint_sits_at_its_pixel_when_a_crop_is_enlarged():
    image = np.zeros((400, 400, 3), np.uint8)
    draw_view(image, one_keypoint([60.0, 80.0], np.eye(2)), 10.0, (40.0, 60.0))
    rows, columns = np.nonzero(image.any(axis=2))
    # Pixel 60 of the full image covers columns 200 to 209 of the enlarged crop.
    assert columns.mean() == pytest.approx(204.5, abs=0.6)
    assert rows.mean() == pytest.approx(204.5, abs=0.6)


def test_drawn_ellipse_lies_along_the_larger_variance():
    image = np.zeros((400, 400, 3), np.uint8)
    draw_view(image, one_keypoint([200.0, 200.0], [[400.0, 0.0], [0.0, 25.0]]), 1.0)
    rows, columns = np.nonzero(image.any(axis=2))
    # 95 % of a 2D normal lies within 2.448 standard deviations: 49 px and 12 px here.
    # The line's own width and its smoothed edge add up to 7 px.
    assert np.ptp(columns) == pytest.approx(98, abs=7)
    assert np.ptp(rows) == pytest.approx(24.5, abs=7)


def test_a_keypoint_that_is_not_finite_is_not_drawn():
    image = np.zeros((40, 40, 3), np.uint8)
    draw_view(image, one_keypoint([np.nan, 3.0], np.eye(2)), 1.0)
    draw_view(image, one_keypoint([1e9, 3.0], np.eye(2)), 1.0)
    assert not image.any()


def test_crop_stays_inside_the_image():
    view = one_keypoint([638.0, 2.0], np.eye(2))
    left, top, width, height = crop_around(view, (640, 480), 4 / 3)
    assert left >= 0 and top >= 0 and left + width <= 640 and top + height <= 480
