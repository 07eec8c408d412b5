"""Real nodes over DDS, on a ROS_DOMAIN_ID that no other session of tests uses."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

collect_ignore_glob = [] if importlib.util.find_spec("rclpy") else ["test_*.py"]

# Above 101 the ports of DDS collide with Linux' ephemeral ones; low ones are people's own. Every
# second one, so that a test has two.
_DOMAINS = range(70, 101, 2)


@contextlib.contextmanager
def _own_domain() -> Iterator[int]:
    """A free domain, locked against other tests on this machine; its successor is free too.

    The least recently used one: DDS lists a killed process for up to 20 s more.
    """
    for number in sorted(_DOMAINS, key=lambda number: (_last_used(number), random.random())):
        with _lock_file(number).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            try:
                yield number
            finally:
                os.utime(_lock_file(number))
            return
    pytest.fail("no free ROS_DOMAIN_ID for the tests")


def _lock_file(number: int) -> Path:
    return Path(tempfile.gettempdir()) / f"s3k_ros_test_domain_{number}.lock"


def _last_used(number: int) -> float:
    path = _lock_file(number)
    return path.stat().st_mtime if path.exists() else 0.0


@pytest.fixture
def domain() -> Iterator[int]:
    """A domain for one test."""
    with _own_domain() as number:
        yield number


@pytest.fixture(scope="module")
def module_domain() -> Iterator[int]:
    """A domain for the tests of one module."""
    with _own_domain() as number:
        yield number


@pytest.fixture(scope="module")
def robot(module_domain: int) -> Iterator[Any]:
    """A perfect robot behind real ROS interfaces, on the module's domain."""
    from support.fake_robot import FakeRobot

    fake = FakeRobot(module_domain)
    yield fake
    fake.close()


# Only a machine with much else to do takes more than a few seconds for anything here.
PATIENCE_S = 120.0


class NodeProcess:
    """A node's process and what it printed."""

    def __init__(
        self, command: list[str], log: Path, domain: int, environment: Mapping[str, str]
    ) -> None:
        # Goal logs too belong into the test's folder.
        own = {"ROS_DOMAIN_ID": str(domain), "ROS_HOME": str(log.parent)}
        environment = {**os.environ, **own, **environment}
        self._log, self.folder = log, log.parent
        self._process = subprocess.Popen(
            command, stdout=log.open("w"), stderr=subprocess.STDOUT, env=environment
        )

    @property
    def output(self) -> str:
        return self._log.read_text()

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    def wait_until_ready(self, timeout_s: float = PATIENCE_S) -> None:
        """Waits until the node spins."""
        end = time.monotonic() + timeout_s
        while "ready" not in self.output:
            if self.returncode is not None or time.monotonic() > end:
                pytest.fail(f"{self._process.args} is not ready: {self.output}")
            time.sleep(0.05)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """The exit code, once the process ends by itself."""
        return self._process.wait(timeout_s)

    def stop(self, number: int = signal.SIGINT, timeout_s: float = PATIENCE_S) -> int:
        """Ends the process by a signal; the exit code."""
        if self._process.poll() is None:
            self._process.send_signal(number)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                pytest.fail(f"{self._process.args} did not end on signal {number}: {self.output}")
        return self._process.returncode


@pytest.fixture(scope="module")
def start_node(
    module_domain: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., NodeProcess]]:
    """Starts ``start_node("triangulator", {...}, "/namespace")``; ends it after the module."""
    from ament_index_python.packages import get_package_prefix

    folder = tmp_path_factory.mktemp("nodes")
    binaries = Path(get_package_prefix("s3k_ros")) / "lib" / "s3k_ros"
    started: list[NodeProcess] = []

    def start(
        name: str,
        params: dict[str, Any] | None = None,
        namespace: str = "",
        arguments: Sequence[str] = (),
        domain: int | None = None,
        program: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> NodeProcess:
        """``program``: a command that runs the node in place of its executable."""
        command = [*(program or [str(binaries / name)]), "--ros-args"]
        for key, value in (params or {}).items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            command += ["-p", f"{key}:={text}"]
        if namespace:
            command += ["-r", f"__ns:={namespace}"]
        log = folder / f"{len(started)}_{name}.log"
        process = NodeProcess(
            [*command, *arguments], log, domain or module_domain, environment or {}
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop()


class Ros:
    """The test's own node, spun by hand."""

    def __init__(self, domain: int) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.context = rclpy.Context()
        rclpy.init(context=self.context, args=[], domain_id=domain)
        self.node = rclpy.create_node("test", context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)

    def spin(self, duration_s: float) -> None:
        end = time.monotonic() + duration_s
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)

    def spin_until(
        self, done: Callable[[], Any], timeout_s: float = PATIENCE_S, what: str = ""
    ) -> Any:
        """Spins until ``done()`` is true; fails the test when that takes longer."""
        end = time.monotonic() + timeout_s
        while not (result := done()):
            if time.monotonic() > end:
                pytest.fail(f"{what or 'nothing'} within {timeout_s} s")
            self._executor.spin_once(timeout_sec=0.02)
        return result

    def collect(self, kind: type, topic: str, qos: Any = 10) -> list[Any]:
        """A list that grows by every message of a topic."""
        messages: list[Any] = []
        self.node.create_subscription(kind, topic, messages.append, qos)
        return messages

    def call(self, kind: type, name: str, request: Any, timeout_s: float = PATIENCE_S) -> Any:
        """The answer of a service."""
        client = self.node.create_client(kind, name)
        self.spin_until(client.service_is_ready, timeout_s, f"service {name}")
        future = client.call_async(request)
        self.spin_until(future.done, timeout_s, f"answer of {name}")
        self.node.destroy_client(client)
        return future.result()

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture(scope="module")
def ros(module_domain: int) -> Iterator[Ros]:
    """One node for all tests of a module."""
    helper = Ros(module_domain)
    yield helper
    helper.close()
