"""``s3k study``: repeats a study of the paper and writes its report."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from s3k_ros.errors import ConfigurationError
from s3k_ros.results import command_line
from s3k_ros.training.studies import plan, store
from s3k_ros.training.studies.catalogue import STUDIES, study_named
from s3k_ros.training.studies.cluster import ray_tasks
from s3k_ros.training.studies.jobs import Executor, InProcess, Outcome, Status, carry_out
from s3k_ros.training.studies.records import number
from s3k_ros.training.studies.report import write_report
from s3k_ros.training.studies.scales import SCALES, scale_named

DOCS = Path("docs/studies")
EXIT_INCOMPLETE = 3
"""Some runs failed or are left for another time; the report says which."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``s3k study``."""
    parser.add_argument("name", choices=list(STUDIES), help="which study")
    parser.add_argument(
        "--scale", choices=list(SCALES), default="small", help="smoke claims nothing, small shows"
        " directions on two cores, paper carries the claims on a GPU",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("runs/studies"), help="folder of all runs")
    parser.add_argument(
        "--docs", type=Path, help=f"folder of the report ({DOCS}; smoke: below --out)"
    )
    parser.add_argument("--only", action="append", default=[], metavar="NAME=VALUE[,VALUE]",
                        help="only such runs, for instance seed=1; again to narrow")  # fmt: skip
    parser.add_argument("--minutes", type=float, help="end after this time; the next call goes on")
    parser.add_argument("--list", action="store_true", help="print the table and how it stands")
    parser.add_argument("--report", action="store_true", help="only write the report again")
    where = parser.add_argument_group("where it runs")
    where.add_argument("--address", help="of a Ray cluster, as ray://HOST:10001 or auto")
    where.add_argument("--jobs", type=int, help="runs at a time on this machine (one a core)")
    where.add_argument("--threads", type=int, default=1, help="threads of a run")
    where.add_argument("--gpus-per-run", type=float, help="part of a GPU (a quarter, if there is)")
    where.add_argument("--in-process", action="store_true", help="without Ray, one after the other")


def run(args: argparse.Namespace) -> int:
    """Does what is left of a study and writes its report.

    Returns:
        0; 1 when a target is missed; 3 when runs failed or are left.
    """
    _check(args)
    study, scale = study_named(args.name), scale_named(args.scale)
    runs = plan.table_of(study, scale, args.only)
    if args.list:
        for record in plan.records_of(runs, args.out):
            print(f"{record.key}  {record.status:10}  {record.name}  {record.message}".rstrip())
        return 0
    outcomes = None
    if not args.report:
        args.out.mkdir(parents=True, exist_ok=True)
        jobs = plan.jobs_of(runs, args.out.resolve(), plan.real_works(), args.threads)
        deadline = None if args.minutes is None else time.time() + 60 * args.minutes
        with _executor(args) as executor, _Progress(study.name) as progress:
            outcomes = carry_out(jobs, executor, deadline, progress.tell)
    every = plan.records_of(study.runs(scale), args.out.resolve(), outcomes)
    docs = args.docs or (args.out / "docs" if scale.name == "smoke" else DOCS)
    result = write_report(study, scale, every, docs, command_line())
    for check in result.figures["checks"]:
        print(f"{check['verdict']:31} {check['name']}: {check['evidence']}")
    left = [record for record in every if record.status != Status.FINISHED]
    for record in left:
        print(f"{record.status}: {record.name}: {record.message} ({args.out}/runs/{record.key})")
    for target in result.targets:
        found = "met" if target.passed else "MISSED"
        value, limit = number(target.measured, 2), number(target.limit, 2)
        print(f"{found}: {target.name}: {value} {target.unit} (limit {limit})")
    print(f"wrote {docs}/{study.name}.md")
    return EXIT_INCOMPLETE if left else result.exit_code


def _check(args: argparse.Namespace) -> None:
    for name, low in (("jobs", 1), ("threads", 1), ("minutes", 0), ("gpus_per_run", 0)):
        value = getattr(args, name)
        if value is not None and value < low:
            raise ConfigurationError(f"--{name.replace('_', '-')} = {value} must be at least {low}")


@contextlib.contextmanager
def _executor(args: argparse.Namespace) -> Iterator[Executor]:
    if args.in_process:
        yield InProcess()
        return
    with ray_tasks(args.address, args.jobs, args.gpus_per_run) as tasks:
        yield tasks


class _Progress:
    """A bar, and a line for each job that ends."""

    def __init__(self, name: str) -> None:
        self._bar = tqdm(total=0, desc=name, unit="job", dynamic_ncols=True, disable=None)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def tell(self, outcome: Outcome, ended: int, total: int) -> None:
        """Shows an outcome."""
        self._bar.total = total
        self._bar.n = ended
        self._bar.refresh()
        text = f"{outcome.status}: {outcome.job.name} ({outcome.seconds:.0f} s)"
        tests = (store.read_result(outcome.job.folder) or {}).get("tests", {})
        for name, found in tests.items():
            if found["median_mm"] is not None:
                text += f"  {name} {found['median_mm']:.1f} mm"
        if outcome.message:
            text += f"  {outcome.message}"
        tqdm.write(text)
