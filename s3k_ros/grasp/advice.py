"""What each result code means on a cell, and what to do about it: for pages, commands and docs."""

from __future__ import annotations

import dataclasses

from s3k_ros.grasp.codes import GraspCode


@dataclasses.dataclass(frozen=True)
class Advice:
    """The usual cause of a code, and the first things to try. Both may name parameters."""

    cause: str
    remedy: str


ADVICE: dict[GraspCode, Advice] = {
    GraspCode.SUCCESS: Advice(
        "It did what was asked for.",
        "After a grasp look at `holding` too: UNKNOWN means that jaws and wrench disagree, "
        "`grasp.min_load_n` decides between them.",
    ),
    GraspCode.UNKNOWN_KEYPOINT: Advice(
        "The running model has no keypoint of that name, or another model runs than you think.",
        "Take a name from the message, or load the model that has it (service `load_model`, "
        "argument `model:=`).",
    ),
    GraspCode.INVALID_GOAL: Advice(
        "A field is missing, not finite, out of its range, in an unknown frame, or the object_id "
        "is not the running model's.",
        "The message names the field, its value and what is allowed. A frame must be known to TF.",
    ),
    GraspCode.BUSY: Advice(
        "Another task runs, perhaps of a client that went away without cancelling.",
        "Wait, cancel the other one, or set `grasp.second_goal: preempt`.",
    ),
    GraspCode.NO_KEYPOINTS: Advice(
        "No sets arrive, or fewer than two cameras see the keypoint well.",
        "`/diagnostics` says which input is missing; `<camera>/keypoint_image` shows what each "
        "camera sees. Turn the object, or move what hides it.",
    ),
    GraspCode.STALE: Advice(
        "Perception has stopped or fallen behind.",
        "Look at perception's rate and latency in `/diagnostics`; `grasp.keypoint_max_age_s` is "
        "the limit.",
    ),
    GraspCode.LOW_CONFIDENCE: Advice(
        "The network doubts: bad light, blur, an object unlike those it was trained on.",
        "Improve light and exposure, train with images of this cell, or lower min_confidence "
        "in the goal, knowing that gross errors then pass.",
    ),
    GraspCode.TOO_UNCERTAIN: Advice(
        "The views contradict each other, or the 95 % region of the position is wider than the "
        "jaws' opening leaves.",
        "Check the calibration first: it is the usual reason of contradictions. Then more or "
        "better placed cameras, a wider opening_width, a smaller `grasp.uncertainty_margin_m`.",
    ),
    GraspCode.LOST: Advice(
        "The keypoint was out of sight for too long while the arm moved, or the object kept "
        "moving.",
        "The arm itself may hide it: another approach or another place of the object. "
        "`grasp.lost_timeout_s` and `grasp.max_corrections` are the limits.",
    ),
    GraspCode.UNREACHABLE: Advice(
        "No posture within the joint limits reaches the pose, or the straight way in or up leaves "
        "them.",
        "Move the object towards the middle of the workspace, shorten approach_distance or "
        "lift_height, leave toward_keypoint empty so that the yaw is free.",
    ),
    GraspCode.IN_COLLISION: Advice(
        "Every way that was found meets the table, the scene, the arm itself or what it holds.",
        "The message names the pair. Compare `grasp.table_height_m` and the scene file with the "
        "cell; look at grasp_plan_markers.",
    ),
    GraspCode.OUTSIDE_WORKSPACE: Advice(
        "The pose, the way in or the way up leaves the workspace's box.",
        "Move the object, or set `grasp.workspace_low_m` and `workspace_high_m` to your cell.",
    ),
    GraspCode.ARM_UNAVAILABLE: Advice(
        "The arm's action server is not there, or went away.",
        "Is the driver (or `sawyer_gateway`) running, on this ROS_DOMAIN_ID, and is `arm_action` "
        "its name? Its type must be FollowJointTrajectory.",
    ),
    GraspCode.ARM_ABORTED: Advice(
        "The arm's controller rejected or aborted a trajectory.",
        "The message has its reason. A path tolerance hints at a load, a collision or too high "
        "a `robot.speed_scale`; without any reason look at the robot's own screen.",
    ),
    GraspCode.GRIPPER_UNAVAILABLE: Advice(
        "The gripper's action server is not there, or went away.",
        "Is its driver running, is `gripper_action` its name, and `robot.gripper_action_type` "
        "its type?",
    ),
    GraspCode.GRIPPER_FAILED: Advice(
        "The jaws neither arrived nor stalled in time, or opened only in part.",
        "Is the gripper activated? Is it blocked? `grasp.gripper_timeout_s` is the limit.",
    ),
    GraspCode.MISSED: Advice(
        "The jaws closed on nothing: the keypoint was wrong, or the object moved.",
        "Compare the grasp's pose with the object in the log. A constant offset is calibration "
        "(`grasp.grasp_depth_m` for the depth); scatter is perception.",
    ),
    GraspCode.SLIPPED: Advice(
        "It was gripped and then lost during lift or verify.",
        "More grip_force, a lower `robot.speed_scale`, another keypoint; soft toys slip out of a "
        "harder grip, so try less too.",
    ),
    GraspCode.ROBOT_NOT_READY: Advice(
        "No fresh joint states, or the arm does not stand still at the start.",
        "Is `joint_states` the right topic, with all of `robot.arm_joints`? Is something else "
        "moving the arm?",
    ),
    GraspCode.EMERGENCY_STOP: Advice(
        "The topic emergency_stop said true.",
        "Make the cell safe, then publish false; a new goal is needed.",
    ),
    GraspCode.CONTACT_FORCE: Advice(
        "The force at the wrist changed by more than the limit: the hand met something.",
        "Look at the phase: on the way in it is the object or the table (position, "
        "`grasp.table_height_m`), in approach something that the scene file lacks. "
        "contact_force_limit in the goal raises the limit.",
    ),
    GraspCode.WATCHDOG: Advice(
        "A motion or the planning took longer than allowed, or the clock leapt.",
        "A machine that is overloaded, a controller that scales speeds down, or a paused "
        "simulation. `grasp.motion_margin_s` and `planning_timeout_s` are the limits.",
    ),
    GraspCode.ROBOT_DISABLED: Advice(
        "The robot's state is silent, or says: not connected, disabled, stopped or in error.",
        "The message has the robot's reason. Release the stop, then call `/robot/reset` and "
        "`/robot/enable`.",
    ),
    GraspCode.ROBOT_COLLISION: Advice(
        "The robot's own collision detection has tripped.",
        "Look what it touched, free it by hand, call `/robot/reset`. Without any contact: the "
        "tool's mass and centre in the robot's settings.",
    ),
    GraspCode.NO_WRENCH: Advice(
        "The force sensor is silent, stuck, or sends what is not finite.",
        "Is its driver running and `wrench` its topic? `grasp.wrench_max_age_s` is the limit; "
        "a cell without a sensor says so with `grasp.require_wrench: false`.",
    ),
    GraspCode.TOO_FAST: Advice(
        "The hand or a joint moved faster than allowed: something else moves the arm, or the "
        "controller overshoots.",
        "Nothing else may command the arm meanwhile; lower `robot.speed_scale`. "
        "`grasp.hand_speed_limit_m_s` and `grasp.joint_speed_margin` are the limits.",
    ),
    GraspCode.CANCELED: Advice(
        "The client cancelled it; the arm stands still.", "Nothing, if it was you."
    ),
    GraspCode.PREEMPTED: Advice(
        "Another goal came, and `grasp.second_goal` is preempt.",
        "Nothing, or set it to reject.",
    ),
    GraspCode.NOTHING_HELD: Advice(
        "There is nothing between the jaws to place.", "Grasp first, and look at `holding`."
    ),
    GraspCode.DROPPED: Advice(
        "It fell from the jaws on its way.",
        "As for SLIPPED; the log shows when the width changed. Do not assume where it lies.",
    ),
    GraspCode.NOT_RELEASED: Advice(
        "The jaws did not open.",
        "As for GRIPPER_FAILED. The hand was not drawn back: what it holds may be stuck.",
    ),
    GraspCode.INTERNAL: Advice(
        "A fault in the server itself; arm and jaws were told to stop.",
        "Report it, with the goal's log.",
    ),
}
