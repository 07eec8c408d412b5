"""The simulated gripper's action in both of its types, on an empty cell in this process."""

import pytest
from control_msgs.action import GripperCommand, ParallelGripperCommand
from rclpy.action import ActionClient
from sensor_msgs.msg import JointState

from s3k_ros.ros.sim_actions import GripperServer
from s3k_ros.simulation.cell import GRIPPER_JOINT, build_cell
from s3k_ros.simulation.simulator import Simulator

pytestmark = [pytest.mark.ros, pytest.mark.sim]

KINDS = {kind.__name__: kind for kind in (GripperCommand, ParallelGripperCommand)}
STATUS_SUCCEEDED, STATUS_ABORTED, STATUS_CANCELED = 4, 6, 5


class Gripper:
    """A server, the cell behind it, and a client, all on one node."""

    def __init__(self, ros, kind, name, allow_stalling=True):
        self.ros, self.kind = ros, KINDS[kind]
        self.simulator = Simulator(build_cell(), paced=False)
        self.server = GripperServer(ros.node, name, kind, self.simulator, allow_stalling)
        self.client = ActionClient(ros.node, self.kind, name)

    def goal(self, position):
        goal = self.kind.Goal()
        if self.kind is GripperCommand:
            goal.command.position, goal.command.max_effort = position, 30.0
        else:
            goal.command = JointState(name=[GRIPPER_JOINT], position=[position], effort=[30.0])
        return goal

    def turn(self, done):
        """Steps the physics and the server until something holds."""

        def look():
            self.simulator.step()
            self.server.poll()
            return done()

        self.ros.spin_until(look)

    def send(self, position):
        accepted = self.client.send_goal_async(self.goal(position))
        self.turn(accepted.done)
        return accepted.result()

    def finish(self, handle):
        result = handle.get_result_async()
        self.turn(result.done)
        return result.result()


@pytest.fixture(params=sorted(KINDS))
def gripper(ros, request):
    gripper = Gripper(ros, request.param, f"gripper_{request.param.lower()}")
    yield gripper
    gripper.server.destroy()


def position_of(result):
    return result.position if hasattr(result, "position") else result.state.position[0]


def test_either_type_reports_position_and_arrival(gripper):
    answer = gripper.finish(gripper.send(0.3))
    assert answer.status == STATUS_SUCCEEDED
    assert answer.result.reached_goal
    assert position_of(answer.result) == pytest.approx(0.3, abs=0.02)


def test_either_type_cancels(gripper):
    handle = gripper.send(0.7929)
    cancel = handle.cancel_goal_async()
    gripper.turn(cancel.done)
    answer = gripper.finish(handle)
    assert answer.status == STATUS_CANCELED
    assert position_of(answer.result) < 0.7


def test_a_newer_command_aborts_the_older(gripper):
    old = gripper.send(0.7929)
    new = gripper.send(0.1)
    assert gripper.finish(old).status == STATUS_ABORTED
    assert gripper.finish(new).status == STATUS_SUCCEEDED


@pytest.mark.parametrize(("allowed", "status"), [(True, STATUS_SUCCEEDED), (False, STATUS_ABORTED)])
def test_a_stall_succeeds_only_where_it_is_allowed(ros, allowed, status):
    gripper = Gripper(ros, "GripperCommand", f"stalling_{allowed}".lower(), allowed)
    # As if something stiff were between the fingers.
    model = gripper.simulator.cell.model
    for joint in (model.joint(i) for i in range(model.njnt)):
        if joint.name.endswith("driver_joint"):
            joint.range[1] = 0.4
    answer = gripper.finish(gripper.send(0.7929))
    assert (answer.status, answer.result.stalled) == (status, True)
    gripper.server.destroy()
