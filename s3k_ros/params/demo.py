"""Parameters of the demo client."""

from __future__ import annotations

import dataclasses

from s3k_ros.params.base import Parameters, param


@dataclasses.dataclass(frozen=True)
class DemoParameters(Parameters):
    """What the demo grasps, how often, and what counts as a success."""

    seed: int = param(
        1, "Seed from which the seeds of all trials are drawn.", low=0, high=2**63 - 1
    )
    trials: int = param(5, "Number of grasps.", low=1, high=10_000)
    output_dir: str = param("out/demo", "Folder for the report and the video.", read_only=True)
    object_id: str = param("plush_fox", "Object to grasp, as the model names it.")
    keypoint: str = param("right_front_paw", "Keypoint to grasp at.")
    toward_keypoint: str = param("body", "Keypoint that sets the yaw of the grasp.")
    cameras: tuple[str, ...] = param(
        ("front_left", "front_right", "rear_left", "rear_right"), "Names of the cameras."
    )
    base_frame: str = param("base", "Frame of the keypoints and of the paths in the report.")
    tcp_frame: str = param("grasp_tcp", "Frame between the closed finger pads.")
    scene_topic: str = param(
        "scene/image_raw", "Image topic with a view of the whole cell for the video; may be absent."
    )
    required_success_rate: float = param(
        0.8, "Share of the grasps that must hold for exit code 0.", low=0.0, high=1.0
    )
    minimum_rise_m: float = param(
        0.04, "Rise of the true keypoint that counts as lifted.", unit="m", low=0.0, high=1.0
    )
    maximum_tcp_distance_m: float = param(
        0.05,
        "Largest distance of the true keypoint from the TCP that counts as held.",
        unit="m",
        low=0.0,
        high=1.0,
    )
    hold_time_s: float = param(
        1.0, "Time after the result over which the hold is watched.", unit="s", low=0.0, high=60.0
    )
    startup_timeout_s: float = param(
        120.0, "Wall time in which the nodes must appear.", unit="s", low=1.0, high=3600.0
    )
    perception_timeout_s: float = param(
        10.0,
        "Simulated time after a reset in which a keypoint must be seen; then the goal is sent all "
        "the same, and the server says what is wrong.",
        unit="s",
        low=0.1,
        high=600.0,
    )
    trial_timeout_s: float = param(
        60.0, "Simulated time for one grasp.", unit="s", low=1.0, high=3600.0
    )
    wall_timeout_s: float = param(
        150.0,
        "Wall time for one grasp: ends a trial whose simulated clock stands still.",
        unit="s",
        low=1.0,
        high=3600.0,
    )
    video: bool = param(True, "Whether to keep the images and write demo.mp4.")
    video_rate_hz: float = param(
        5.0, "Image sets kept for the video each second.", unit="Hz", low=0.1, high=60.0
    )
