"""Starts processes, shows their output with their names before it, and stops them all."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time

# As upstream's defaults: how long a process has after SIGINT, and then after SIGTERM.
SIGTERM_TIMEOUT_S = 5.0
SIGKILL_TIMEOUT_S = 5.0


def say(level, who, text):
    """One line of our own, as upstream writes them."""
    _write(sys.stdout if level == "INFO" else sys.stderr, f"[{level}] [{who}]: {text}\n")


def _write(stream, text):
    # Whoever reads our output may be gone; the processes must be stopped all the same.
    with contextlib.suppress(BrokenPipeError, ValueError):
        stream.write(text)
        stream.flush()


class Child:
    """A running process."""

    def __init__(self, spec, number, events):
        self.name = f"{spec.name}-{number}"
        self.spec = spec
        # A session of its own: a terminal's Ctrl-C reaches it once, through us.
        self.process = subprocess.Popen(
            spec.command,
            env=spec.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        say("INFO", self.name, f"process started with pid [{self.process.pid}]")
        shown = spec.output in ("screen", "both")
        self._readers = [
            threading.Thread(target=self._copy, args=arguments, daemon=True)
            for arguments in (
                (self.process.stdout, sys.stdout if shown else None),
                (self.process.stderr, sys.stderr),
            )
        ]
        for reader in self._readers:
            reader.start()
        threading.Thread(target=self._wait, args=(events,), daemon=True).start()

    def _copy(self, source, target):
        for line in source:
            if target is not None:
                text = line.decode(errors="replace").rstrip("\n")
                _write(target, f"[{self.name}] {text}\n")

    def _wait(self, events):
        self.process.wait()
        for reader in self._readers:
            reader.join(timeout=1.0)  # a grandchild may hold the pipe open
        events.put(self)

    def send(self, number):
        if self.process.poll() is None:
            say("INFO", self.name, f"sending signal '{signal.Signals(number).name}' to process")
            self.process.send_signal(number)

    def kill_group(self):
        """Ends what is left of the process and of those that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def report_end(self, stopping):
        pid, code = self.process.pid, self.process.returncode
        if code == 0 or (stopping and code in (-signal.SIGINT, -signal.SIGTERM)):
            say("INFO", self.name, f"process has finished cleanly [pid {pid}]")
        else:
            command = " ".join(self.spec.command)
            died = f"process has died [pid {pid}, exit code {code}, cmd '{command}']."
            say("ERROR", self.name, died)


class Supervisor:
    """Runs processes until all have ended, one that shuts down ends, or a signal comes."""

    def __init__(self, specs):
        self._specs = specs
        self._events = queue.Queue()
        self._children = []
        self._stop_reason = None

    def run(self):
        """Returns the exit code: as upstream 0, whatever the processes returned."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, frame: self._events.put(signal.Signals(number)))
        try:
            for number, spec in enumerate(self._specs, start=1):
                self._children.append(Child(spec, number, self._events))
            while self._running() and self._stop_reason is None:
                self._handle(self._events.get())
        finally:
            self._stop()
        return 0

    def _running(self):
        return [child for child in self._children if child.process.poll() is None]

    def _handle(self, event):
        if isinstance(event, signal.Signals):
            if self._stop_reason is None:
                say("WARNING", "launch", f"user interrupted with {event.name}")
            self._stop_reason = event.name
            return
        event.report_end(self._stop_reason is not None)
        event.kill_group()
        if event.spec.shuts_down and self._stop_reason is None:
            self._stop_reason = f"{event.name} ended"

    def _stop(self):
        for number, grace_s in (
            (signal.SIGINT, SIGTERM_TIMEOUT_S),
            (signal.SIGTERM, SIGKILL_TIMEOUT_S),
        ):
            for child in self._running():
                child.send(number)
            self._drain(grace_s)
        for child in self._running():
            say("ERROR", child.name, "did not end after SIGTERM: killing it")
            child.kill_group()
        self._drain(1.0)

    def _drain(self, seconds):
        """Handles events until nothing runs and nothing is left to report, or time is up."""
        deadline = time.monotonic() + seconds
        reason, self._stop_reason = self._stop_reason, self._stop_reason or "stopping"
        while True:
            try:
                left = deadline - time.monotonic()
                self._handle(self._events.get(timeout=max(0.0, left) if self._running() else 0.2))
            except queue.Empty:
                break
        self._stop_reason = reason
