"""``ros2 run s3k_ros demo``: grasps, judges, reports; exit code 0 when enough grasps hold."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

import rclpy
from ament_index_python.packages import get_package_share_path
from rclpy.experimental import EventsExecutor
from rclpy.signals import SignalHandlerOptions

from s3k_ros.demo import report as reporting
from s3k_ros.demo.client import DemoClient
from s3k_ros.demo.display import Display
from s3k_ros.demo.recorder import Recorder
from s3k_ros.demo.recording import Recording
from s3k_ros.demo.trial import Trial, draw_seeds
from s3k_ros.demo.verdict import PASSED
from s3k_ros.errors import ConfigurationError, S3kError
from s3k_ros.params.demo import DemoParameters
from s3k_ros.ros.node import EXIT_REFUSED, S3kNode


def main(args: list[str] | None = None) -> int:
    """Runs the demo.

    Returns:
        0 when enough grasps hold, 1 when not or when the run broke off, 2 on bad parameters.
    """
    # Python's own handling of Ctrl-C lets the client still write its report.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node = None
    try:
        node = S3kNode("demo")
        run = Run(node, node.declare(DemoParameters))
        node.refuse_unknown_parameters()
        return run.run()
    except ConfigurationError as error:
        print(f"demo: {error}", file=sys.stderr, flush=True)
        return EXIT_REFUSED
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


class Run:
    """One run of the demo: trials, then the report and the video."""

    def __init__(self, node: S3kNode, params: DemoParameters) -> None:
        self._params = params
        self._display = Display(lambda line: print(line, flush=True), params.trials)
        self._recorder = Recorder(node, params)
        # Four times lighter here than the default executor, which takes 0.16 of a core from the
        # trials. It does not serve signals, and need not: every wait ends within 0.1 s.
        executor = EventsExecutor()
        executor.add_node(node)
        self._client = DemoClient(node, executor, self._recorder, self._display, params)
        self._trials: list[Trial] = []
        self._recordings: list[Recording] = []
        self._started = datetime.datetime.now().astimezone().isoformat(timespec="seconds")

    def run(self) -> int:
        """Runs all trials and reports; also after Ctrl-C and when the cell goes away."""
        folder = Path(self._params.output_dir)
        for name in ("report.json", "report.html", "demo.mp4"):
            (folder / name).unlink(missing_ok=True)  # never leave an older run's verdict behind
        trouble = self._run_trials()
        report = self._write_report(folder, trouble)
        if not trouble:
            # Only now: plots and encoding would take the processor from the trials.
            trouble = self._write_pictures(folder, report)
            if trouble:
                report = self._write_report(folder, trouble)
        self._display.table(self._trials, report)
        names = ("report.json", "report.html", "demo.mp4")
        written = [str(folder / name) for name in names if (folder / name).is_file()]
        self._display.line("written: " + ", ".join(written))
        return 0 if report["verdict"] == PASSED else 1

    def _run_trials(self) -> str:
        """Runs the trials; returns what broke them off, empty when nothing did."""
        try:
            self._client.wait_for_nodes()
            for index, seed in enumerate(draw_seeds(self._params.seed, self._params.trials)):
                trial, recording = self._client.run_trial(index, seed)
                self._trials.append(trial)
                self._recordings.append(recording)
        except KeyboardInterrupt:
            return f"interrupted after {len(self._trials)} trials"
        except S3kError as error:
            return str(error)
        return ""

    def _write_report(self, folder: Path, trouble: str) -> dict:
        name = self._recorder.model
        file = get_package_share_path("s3k_ros") / "models" / f"{name}.onnx"
        report = reporting.build(
            self._params,
            self._trials,
            self._recordings,
            started=self._started,
            versions=reporting.versions(name, file),
            trouble=trouble,
        )
        reporting.write(report, folder / "report.json")
        return report

    def _write_pictures(self, folder: Path, report: dict) -> str:
        """Writes the page and the video; returns what went wrong, since that fails the demo."""
        # Imported late: matplotlib alone takes a second of processor time.
        from s3k_ros.demo.page import render
        from s3k_ros.demo.video import write_video

        cameras, parts = self._params.cameras, (self._trials, self._recordings)
        try:
            self._display.line("writing report.html")
            page = render(report, *parts, cameras)
            (folder / "report.html").write_text(page, encoding="utf-8")
            if self._params.video:
                self._display.line("writing demo.mp4")
                rate = self._params.video_rate_hz
                write_video(folder / "demo.mp4", *parts, cameras, self._params.keypoint, rate)
        except Exception as error:
            return f"the report could not be written: {type(error).__name__}: {error}"
        except KeyboardInterrupt:
            return "interrupted while writing the report"
        return ""


if __name__ == "__main__":
    sys.exit(main())
