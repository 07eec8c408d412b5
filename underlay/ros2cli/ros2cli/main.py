"""Command line of `ros2`: launch and run."""

import argparse
import os

from .launch_file import describe_arguments, read_processes
from .packages import find_executable, find_launch_file
from .supervisor import Supervisor, say


def main(arguments=None):
    """Runs the command line and returns the exit code."""
    parser = argparse.ArgumentParser(prog="ros2", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    launch = commands.add_parser("launch", help="run an XML launch file")
    launch.add_argument("-s", "--show-args", "--show-arguments", action="store_true")
    launch.add_argument("package_name", help="package, or path of a launch file")
    launch.add_argument("rest", nargs="*", metavar="file or name:=value")
    run = commands.add_parser("run", help="run an executable of a package")
    run.add_argument("package_name")
    run.add_argument("executable_name")
    run.add_argument("argv", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    try:
        return _launch(options) if options.command == "launch" else _run(options)
    except (LookupError, OSError, ValueError) as error:
        text = error.args[0] if isinstance(error, KeyError) else str(error)
        say("ERROR", "launch" if options.command == "launch" else "ros2run", text)
        return 1


def _launch(options):
    if os.path.isfile(options.package_name):
        path, given = options.package_name, options.rest
    elif options.rest:
        path, given = find_launch_file(options.package_name, options.rest[0]), options.rest[1:]
    else:
        raise ValueError("name a package and a launch file, or the path of a launch file")
    if options.show_args:
        print(describe_arguments(path))
        return 0
    return Supervisor(read_processes(path, _parse_arguments(given))).run()


def _parse_arguments(given):
    arguments = {}
    for argument in given:
        name, separator, value = argument.partition(":=")
        if not (name and separator and value):
            raise ValueError(
                f"malformed launch argument '{argument}', expected format '<name>:=<value>'"
            )
        arguments[name] = value
    return arguments


def _run(options):
    path = find_executable(options.package_name, options.executable_name)
    # The executable takes our place: signals and its exit code need no passing on.
    os.execv(path, [path, *options.argv])
