"""Trial: scripted grasps of the fox's right front paw from ground truth, in MuJoCo alone.

Shows that contact and friction hold the deformable toy, and what the physics costs.

    python benchmarks/grasp_from_truth.py --trials 20
"""

from __future__ import annotations

import argparse
import time

import mujoco
import numpy as np

from s3k_ros.simulation import cell, scene

PAW, BODY = 2, 3
GRIP = 2.1  # force on the fingers' tendon: 20 N at each pad
LIFT_M = 0.15
HELD_M = 0.10  # the paw must rise by this much and stay there


def top_down(simulated, target, across, start):
    """Joints (7,) with the gripper down at a target, jaws closing along `across` (xy unit)."""
    model, data = simulated.model, simulated.make_data()
    data.qpos[simulated.arm_qpos] = start
    y = np.array([*across, 0.0])
    goal = np.stack([np.cross(y, [0.0, 0.0, -1.0]), y, [0.0, 0.0, -1.0]], axis=1)
    jacobian = np.zeros((6, model.nv))
    for _ in range(300):
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        pose = data.site_xmat[simulated.tcp_site].reshape(3, 3)
        turn = 0.5 * np.cross(pose.T, goal.T).sum(axis=0)
        error = np.concatenate([target - data.site_xpos[simulated.tcp_site], turn])
        mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], simulated.tcp_site)
        arm = jacobian[:, simulated.arm_dof]
        step = arm.T @ np.linalg.solve(arm @ arm.T + 1e-4 * np.eye(6), error)
        data.qpos[simulated.arm_qpos] += np.clip(step, -0.2, 0.2)
    return data.qpos[simulated.arm_qpos].copy(), float(np.linalg.norm(error))


def move(simulated, data, start, goal, seconds):
    """Follows a smooth joint motion."""
    steps = int(seconds / 0.01)
    for i in range(steps):
        s = (i + 1) / steps
        s = s * s * (3 - 2 * s)
        simulated.command_arm(data, start + s * (goal - start), np.zeros(7))
        mujoco.mj_step(simulated.model, data, round(0.01 / simulated.model.opt.timestep))
    return goal


def trial(full, bare, toys, seed):
    """One grasp; returns (paw's rise in m, offset of the jaws' centre from the paw in m)."""
    model, data = full.model, full.make_data()
    toys.randomise(model, data, seed)
    mujoco.mj_step(model, data, int(scene.SETTLE_S / model.opt.timestep))
    paw, body = toys.keypoints(data)[[PAW, BODY]]
    line = (paw - body)[:2] / np.linalg.norm((paw - body)[:2])
    across = np.array([-line[1], line[0]])
    home = np.array(cell.HOME_JOINTS_RAD)
    target = np.array([*paw[:2], max(paw[2], cell.TABLE_HEIGHT_M + 0.018)])
    best = min(
        (top_down(bare, target + np.array([0, 0, 0.12]), sign * across, home) for sign in (1, -1)),
        key=lambda found: np.abs(found[0] - home).max() + 100 * (found[1] > 1e-3),
    )
    above = best[0]
    y = np.sign(_closing(bare, above) @ across) * across
    down = top_down(bare, target, y, above)[0]
    up = top_down(bare, target + np.array([0, 0, LIFT_M]), y, down)[0]
    at = move(full, data, home, above, 2.5)
    at = move(full, data, at, down, 1.5)
    full.command_gripper(data, 0.8, GRIP)
    move(full, data, at, at, 1.0)
    at = move(full, data, at, up, 1.5)
    move(full, data, at, at, 1.0)
    after = toys.keypoints(data)[PAW]
    return after[2] - paw[2], float(np.linalg.norm(after - data.site_xpos[full.tcp_site]))


def _closing(bare, joints):
    data = bare.make_data()
    data.qpos[bare.arm_qpos] = joints
    mujoco.mj_kinematics(bare.model, data)
    return data.site_xmat[bare.tcp_site].reshape(3, 3)[:2, 1]


def main() -> None:
    """Runs the trials and prints one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    toys = scene.ToyScene(cell.TABLE_HEIGHT_M, "test")
    full, bare = cell.build_cell([toys]), cell.build_cell()
    held = 0
    for seed in range(args.seed, args.seed + args.trials):
        cpu = time.process_time()
        rise, offset = trial(full, bare, toys, seed)
        cpu = time.process_time() - cpu
        held += rise > HELD_M
        figures = f"rise {rise * 1e3:6.1f} mm, paw to TCP {offset * 1e3:5.1f} mm, {cpu:.1f} s CPU"
        print(f"seed {seed}: {figures}", flush=True)
    print(f"held {held} of {args.trials}; a trial simulates about 8.7 s")


if __name__ == "__main__":
    main()
