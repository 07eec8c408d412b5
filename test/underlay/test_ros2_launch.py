"""`ros2 launch` for XML files and `ros2 run`, as far as the launch files of s3k_ros need them.

Passes unchanged against upstream's ros2launch, launch_xml and ros2run (see conftest.py).
"""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

# Prints what it was started with, then does as its first argument says.
CHILD = f"""#!{sys.executable}
import json, os, signal, sys, time
print("STARTED " + json.dumps({{"argv": sys.argv[1:], "env": dict(os.environ)}}), flush=True)
print("to stderr", file=sys.stderr, flush=True)
what = sys.argv[1] if len(sys.argv) > 1 else "end"
if what == "fail":
    sys.exit(3)
if what == "stubborn":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
if what == "later":
    time.sleep(2)
if what in ("wait", "stubborn"):
    try:
        print("READY", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("INTERRUPTED", flush=True)
"""

NODE = f"""#!{sys.executable}
import json
import rclpy
rclpy.init()
node = rclpy.create_node("own_name", automatically_declare_parameters_from_overrides=True)
values = {{name: p.value for name, p in node._parameters.items()}}
values = {{k: list(v) if hasattr(v, "tolist") else v for k, v in values.items()}}
print("STARTED " + json.dumps({{
    "name": node.get_fully_qualified_name(), "parameters": values,
    "image": node.resolve_topic_name("image")}}), flush=True)
"""


class Launch:
    """Launch files in a folder of their own, next to the executables `child` and `node`."""

    def __init__(self, folder):
        self.folder = folder
        for name, text in (("child", CHILD), ("node", NODE)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    def write(self, body, name="main.launch.xml"):
        path = self.folder / name
        path.write_text(f"<launch>{body}</launch>")
        return path

    def start(self, body, *arguments):
        environment = {**os.environ, "ROS_LOG_DIR": str(self.folder / "log")}
        return subprocess.Popen(
            ["ros2", "launch", str(self.write(body)), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            # A process group of its own, as a terminal makes it: Ctrl-C signals the whole group.
            start_new_session=True,
        )

    def run(self, body, *arguments):
        """Exit code and output of a launch that ends by itself."""
        process = self.start(body, *arguments)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def started(self, body, *arguments):
        """What the processes of a launch report, in order of the names they were given."""
        code, output = self.run(body, *arguments)
        assert code == 0, output
        return reports(output)


def reports(output):
    lines = [line for line in output.splitlines() if "STARTED " in line]
    lines.sort(key=lambda line: line.split("]")[0])
    return [json.loads(line.split("STARTED ", 1)[1]) for line in lines]


@pytest.fixture
def launch(tmp_path):
    return Launch(tmp_path)


def child(more="", name="one", **attributes):
    given = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<node exec="$(dirname)/child" exec_name="{name}" output="screen"{given}>{more}</node>'


def read_until_all(process, *texts):
    """Reads output until each text has come."""
    missing = set(texts)
    for line in process.stdout:
        missing -= {text for text in missing if text in line}
        if not missing:
            return
    raise AssertionError(f"did not come: {missing}")


# --- what is started ---


def test_arguments_have_defaults_and_are_given_by_name(launch):
    body = '<arg name="who" default="world"/>' + child(args="end $(var who)")
    assert launch.started(body)[0]["argv"][:2] == ["end", "world"]
    assert launch.started(body, "who:=fox")[0]["argv"][:2] == ["end", "fox"]


def test_args_are_split_like_in_a_shell_but_not_inside_substitutions(launch):
    body = '<let name="two" value="a b"/>' + child(args="end 'one two' $(var two) x$(var two)")
    assert launch.started(body)[0]["argv"][:4] == ["end", "one two", "a b", "xa b"]


def test_a_missing_argument_is_named_and_nothing_starts(launch):
    code, output = launch.run('<arg name="rig"/>' + child())
    assert code == 1
    assert "rig" in output and "STARTED" not in output


def test_a_value_that_is_no_choice_is_refused(launch):
    body = '<arg name="mode"><choice value="a"/><choice value="b"/></arg>' + child()
    assert launch.run(body, "mode:=a")[0] == 0
    code, output = launch.run(body, "mode:=c")
    assert code == 1 and "STARTED" not in output


@pytest.mark.parametrize(
    ("condition", "starts"),
    [
        ('if="true"', True),
        ('if="1"', True),
        ('if="False"', False),
        ('unless="0"', True),
        ('unless="true"', False),
        ('if="$(not false)"', True),
        ('if="$(equals $(var mode) sim)"', True),
        ('if="$(and true $(not-equals $(var mode) sim))"', False),
        ('if="$(or false true)"', True),
        ("if=\"$(eval '$(var number) > 2')\"", True),
    ],
)
def test_conditions_decide_what_starts(launch, condition, starts):
    body = '<let name="mode" value="sim"/><let name="number" value="3"/>'
    body += f"<group {condition}>{child()}</group>"
    assert len(launch.started(body)) == int(starts)


def test_a_condition_that_is_neither_true_nor_false_is_an_error(launch):
    assert launch.run(child(**{"if": "maybe"}))[0] == 1


def test_a_group_keeps_its_changes_to_itself(launch):
    body = """<let name="x" value="outer"/><set_env name="PLACE" value="outer"/>
      <group><let name="x" value="inner"/><set_env name="PLACE" value="inner"/>
        <push_ros_namespace namespace="cell"/>"""
    body += child(args="end $(var x)", name="a") + "</group>"
    body += child(args="end $(var x)", name="b")
    body += '<group scoped="false"><let name="x" value="changed"/></group>'
    body += child(args="end $(var x)", name="c")
    inner, outer, last = launch.started(body)
    assert [r["argv"][1] for r in (inner, outer, last)] == ["inner", "outer", "changed"]
    assert [r["env"]["PLACE"] for r in (inner, outer, last)] == ["inner", "outer", "outer"]
    assert "__ns:=/cell" in inner["argv"]
    assert not any("__ns" in word for word in outer["argv"])


def test_an_included_file_gets_its_arguments(launch):
    launch.write(
        '<arg name="x"/><arg name="y" default="why"/>' + child(args="end $(var x) $(var y)"),
        "b.xml",
    )
    body = """<include file="$(dirname)/b.xml"><arg name="x" value="$(var who)"/></include>"""
    started = launch.started('<arg name="who" default="fox"/>' + body)
    assert started[0]["argv"][:3] == ["end", "fox", "why"]


def test_an_included_file_shares_its_arguments_unless_in_a_group(launch):
    launch.write('<arg name="x" default="theirs"/>', "b.xml")
    include = '<include file="$(dirname)/b.xml"/>'
    assert launch.started(include + child(args="end $(var x)"))[0]["argv"][1] == "theirs"
    code, output = launch.run(f"<group>{include}</group>" + child(args="end $(var x)"))
    assert code == 1 and "x" in output


def test_dirname_is_that_of_the_file_it_stands_in(launch):
    (launch.folder / "sub").mkdir()
    (launch.folder / "sub" / "b.xml").write_text(
        '<launch><node exec="$(dirname)/../child" exec_name="b" output="screen"'
        ' args="end $(dirname)"/></launch>'
    )
    body = child(args="end $(dirname)", name="a") + '<include file="$(dirname)/sub/b.xml"/>'
    outer, inner = launch.started(body)
    assert outer["argv"][1] == str(launch.folder)
    assert inner["argv"][1] == str(launch.folder / "sub")


def test_substitutions_of_packages_and_environment(launch):
    words = "$(find-pkg-share rclpy) $(find-pkg-prefix rclpy) $(env HOME) $(env NO_SUCH none)"
    share, prefix, home, none = launch.started(child(args=f"end {words}"))[0]["argv"][1:5]
    assert share == f"{prefix}/share/rclpy"
    assert (home, none) == (os.environ["HOME"], "none")


def test_environment_for_all_and_for_one(launch):
    body = '<set_env name="ALL" value="1"/>' + child('<env name="ONE" value="2"/>', "a")
    first, second = launch.started(body + child(name="b"))
    assert (first["env"]["ALL"], first["env"]["ONE"], second["env"]["ALL"]) == ("1", "2", "1")
    assert "ONE" not in second["env"]


def test_a_node_gets_name_namespace_parameters_and_remappings(launch):
    (launch.folder / "more.yaml").write_text(
        "/**:\n  ros__parameters:\n    from_file: 1.5\n    rate: 9\n"
    )
    body = """
      <push_ros_namespace namespace="cell"/>
      <node exec="$(dirname)/node" name="detector" namespace="vision" output="screen">
        <param from="$(dirname)/more.yaml"/>
        <param name="rate" value="5"/>
        <param name="factor" value="0.25"/>
        <param name="on" value="true"/>
        <param name="text" value="some words"/>
        <param name="digits" value="007" type="str"/>
        <param name="cameras" value="[left, right]"/>
        <param name="numbers" value="[1.0, 2.5]"/>
        <param name="camera.name" value="left"/>
        <remap from="image" to="image_raw"/>
      </node>"""
    started = launch.started(body)[0]
    assert started["name"] == "/cell/vision/detector"
    assert started["image"] == "/cell/vision/image_raw"
    expected = {
        "from_file": 1.5,
        "rate": 5,
        "factor": 0.25,
        "on": True,
        "text": "some words",
        "digits": "007",
        "cameras": ["left", "right"],
        "numbers": [1.0, 2.5],
        "camera.name": "left",
    }
    assert {key: started["parameters"][key] for key in expected} == expected


def test_a_node_without_name_keeps_its_own(launch):
    body = '<node exec="$(dirname)/node" output="screen"><param name="a" value="1"/></node>'
    started = launch.started(body)[0]
    assert started["name"] == "/own_name" and started["parameters"]["a"] == 1


@pytest.mark.parametrize(
    "body",
    [
        '<node exec="$(dirname)/child" outputs="screen"/>',
        '<nodes exec="$(dirname)/child"/>',
        '<node exec="$(dirname)/child"><parameter name="a" value="1"/></node>',
        '<node pkg="no_such_package" exec="x"/>',
        '<node pkg="rclpy" exec="no_such_executable"/>',
        '<node exec="$(dirname)/child" args="$(var nothing)"/>',
        '<node exec="$(dirname)/child" args="$(nonsense x)"/>',
        '<include file="$(dirname)/no_such_file.launch.xml"/>',
        "<group>",
    ],
)
def test_what_is_wrong_in_the_file_is_an_error(launch, body):
    code, output = launch.run(body)
    assert code == 1 and "STARTED" not in output, output


# --- output and ends ---


def test_output_carries_the_name_and_number_of_its_process(launch):
    output = launch.run(child(name="a") + child(name="b"))[1]
    assert "[a-1] STARTED" in output and "[b-2] STARTED" in output
    assert "[a-1] to stderr" in output


def test_output_to_the_log_alone_still_shows_errors(launch):
    output = launch.run('<node exec="$(dirname)/child" exec_name="a" output="log"/>')[1]
    assert "STARTED" not in output and "[a-1] to stderr" in output


def test_a_failed_process_is_reported_but_is_not_the_exit_code(launch):
    code, output = launch.run(child(args="fail"))
    assert code == 0
    assert "process has died" in output and "exit code 3" in output


def test_the_end_of_one_process_can_end_them_all(launch):
    started = time.monotonic()
    body = child(args="wait", name="a") + child(args="later", name="b", on_exit="shutdown")
    code, output = launch.run(body)
    assert code == 0 and "[a-1] INTERRUPTED" in output
    assert time.monotonic() - started < 7


def test_ctrl_c_stops_everything_within_seconds(launch):
    process = launch.start(child(args="wait", name="a") + child(args="wait", name="b"))
    read_until_all(process, "[a-1] READY", "[b-2] READY")
    started = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert output.count("INTERRUPTED") == 2
    assert time.monotonic() - started < 4


def test_a_process_that_ignores_sigint_is_terminated(launch):
    process = launch.start(child(args="stubborn"))
    read_until_all(process, "READY")
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert "SIGTERM" in output


def test_show_args_lists_arguments_and_starts_nothing(launch):
    body = '<arg name="rig" description="the rig file"/><arg name="ns" default="cell"/>'
    code, output = launch.run(body + child(), "--show-args")
    assert code == 0 and "STARTED" not in output
    for text in ("'rig':", "the rig file", "'ns':", "'cell'"):
        assert text in output


def test_a_launch_file_of_a_package_is_found_by_name(tmp_path):
    result = subprocess.run(
        ["ros2", "launch", "rclpy", "no_such_file.launch.xml"], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "no_such_file.launch.xml" in result.stdout + result.stderr


def test_ros2_run_names_what_it_does_not_find():
    result = subprocess.run(["ros2", "run", "rclpy", "nothing"], capture_output=True, text=True)
    assert result.returncode == 1 and result.stdout + result.stderr
