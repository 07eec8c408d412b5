"""What the stand-in of `ros2 launch` does better than upstream, for scripts and CI.

Not a contract: upstream leaves its processes behind when it is terminated.
"""

import os
import signal
import subprocess
import sys
import time

import pytest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_launch_alone_stops_every_process(tmp_path, number):
    script = tmp_path / "child"
    lines = ["import os, time", "print('PID', os.getpid(), flush=True)", "time.sleep(60)"]
    script.write_text("\n".join([f"#!{sys.executable}", *lines, ""]))
    script.chmod(0o755)
    file = tmp_path / "main.launch.xml"
    file.write_text('<launch><node exec="$(dirname)/child" output="screen"/></launch>')
    process = subprocess.Popen(["ros2", "launch", file], stdout=subprocess.PIPE, text=True)
    pid = next(int(line.split()[-1]) for line in process.stdout if "PID" in line)
    started = time.monotonic()
    process.send_signal(number)
    process.communicate(timeout=20)
    assert time.monotonic() - started < 4
    assert not process_exists(pid)


def process_exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
