"""Makes `.venv`: ROS 2 Jazzy from wheels, the underlay and this package, built and locked.

Run by every `make` target; does only what is missing and takes well under a second when nothing
is. Needs the standard library alone. Nothing that a sourced ROS put into the shell gets in.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
TRAIN_VENV = ROOT / ".venv-train"
WORKSPACE = VENV / "ws"
STAMPS = VENV / "stamps.json"
LOG = VENV / "setup.log"
LOCK = ROOT / "requirements" / "lock.txt"
BUILD_LOCK = ROOT / "requirements" / "build-lock.txt"
TORCH = ROOT / "requirements" / "torch.txt"
BENCH_LOCK = ROOT / "requirements" / "bench-lock.txt"
BUILD_FILES = ("CMakeLists.txt", "package.xml")
SUPPORTED = ((3, 11), (3, 12))

# Where the ROS wheels were built; their CMake exports still name these folders.
BUILD_HOST_PYTHON = "/opt/python/cp{0}{1}-cp{0}{1}"


class SetupError(Exception):
    """The set-up cannot go on; the message says what the user can do."""


def say(text: str) -> None:
    """Prints one line of progress at once."""
    print(f"[setup] {text}", flush=True)


# --- what Debian must provide -------------------------------------------------------------------


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _has_mesa() -> bool:
    return any(glob.glob(f"/usr/lib/{where}dri/*swrast*.so") for where in ("*/", ""))


def missing_debian_packages(python: str | None) -> list[str]:
    """Names of the Debian packages whose program, library or header is not on this machine.

    Args:
        python: the interpreter for `.venv`, None when none was found.
    """
    probes: list[tuple[str, Callable[[], bool]]] = [
        ("cmake", lambda: shutil.which("cmake") is not None),
        ("g++", lambda: shutil.which("g++") is not None),
        ("make", lambda: shutil.which("make") is not None),
        ("libegl1", lambda: _loads("libEGL.so.1")),
        ("libgl1", lambda: _loads("libGL.so.1")),
        ("libglib2.0-0", lambda: _loads("libgthread-2.0.so.0")),
        ("libgl1-mesa-dri", _has_mesa),
    ]
    missing = [package for package, is_there in probes if not is_there()]
    if python is None:
        return [*missing, "python3", "python3-venv", "python3-dev"]
    code = (
        "import os, sys, sysconfig, importlib.util as u;"
        "print(sys.version_info[0], sys.version_info[1], u.find_spec('ensurepip') is not None,"
        "os.path.exists(os.path.join(sysconfig.get_path('include'), 'Python.h')))"
    )
    major, minor, venv, header = _output([python, "-c", code]).split()
    if venv != "True":
        missing.append(f"python{major}.{minor}-venv")
    if header != "True":
        missing.append(f"python{major}.{minor}-dev")
    return missing


def find_python() -> str | None:
    """The first interpreter of a supported version; `S3K_PYTHON` names one explicitly."""
    chosen = os.environ.get("S3K_PYTHON")
    names = [f"python{major}.{minor}" for major, minor in SUPPORTED] + ["python3"]
    for name in [chosen] if chosen else names:
        # A pyenv shim can be on PATH and still refuse to run: ask the interpreter itself.
        for path in _all_on_path(name):
            with contextlib.suppress(OSError, subprocess.CalledProcessError, ValueError):
                code = "import sys; print(*sys.version_info[:2], sys.executable)"
                major, minor, executable = _output([path, "-c", code]).split(maxsplit=2)
                if (int(major), int(minor)) in SUPPORTED:
                    return executable
    if chosen:
        raise SetupError(f"S3K_PYTHON={chosen} is not a working Python 3.11 or 3.12")
    return None


def _all_on_path(name: str) -> Iterator[str]:
    if os.sep in name:
        yield name
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        candidate = os.path.join(folder, name)
        # `.venv` itself is what we are about to make.
        if os.access(candidate, os.X_OK) and not candidate.startswith(str(ROOT) + os.sep):
            yield candidate


def ensure_debian_packages() -> str:
    """Installs what is missing when root, and returns the interpreter for `.venv`.

    Raises:
        SetupError: something is missing and this user cannot install it.
    """
    python = find_python()
    missing = missing_debian_packages(python)
    if missing:
        install = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise SetupError(
                "these Debian packages are missing; install them and start again:\n"
                "  sudo apt-get update && sudo " + " ".join(install)
            )
        say(f"Debian packages: {' '.join(missing)}")
        environment = {**base_environment(), "DEBIAN_FRONTEND": "noninteractive"}
        run_logged(["apt-get", "update"], environment)
        run_logged(install, environment)
        python = find_python()
    if python is None:
        raise SetupError("Python 3.11 or 3.12 is needed; name one with S3K_PYTHON=/path/to/python")
    return python


# --- running things -----------------------------------------------------------------------------


def base_environment() -> dict[str, str]:
    """This shell's environment without anything of a sourced ROS or another Python set-up."""
    names = {"PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "RMW_IMPLEMENTATION"}
    prefixes = ("AMENT_", "CMAKE_PREFIX", "COLCON_", "ROS_", "_ROS_WHEELS")
    kept = {"ROS_DOMAIN_ID", "ROS_LOG_DIR", "ROS_AUTOMATIC_DISCOVERY_RANGE"}
    sourced = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    path = [
        folder
        for folder in os.environ.get("PATH", "").split(os.pathsep)
        if not any(prefix and folder.startswith(prefix + os.sep) for prefix in sourced)
    ]
    clean = {
        key: value
        for key, value in os.environ.items()
        if key in kept or not (key in names or key.startswith(prefixes))
    }
    return {**clean, "PATH": os.pathsep.join(path)}


def workspace_variables() -> dict[str, str]:
    """What a process needs to live in the built workspace, besides PATH.

    The wheels lay a whole ament prefix into `.venv`, and colcon installs into the same one: CMake
    would refuse exports that name `.venv` from a prefix beside it, inside the source folder.
    """
    site = VENV / "lib" / f"python{venv_version()}" / "site-packages"
    libraries = [VENV / "lib", *sorted(site.glob("ros_*.libs"))]
    return {
        "AMENT_PREFIX_PATH": str(VENV),
        "CMAKE_PREFIX_PATH": str(VENV),
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        "ROS_DISTRO": "jazzy",
        "ROS_VERSION": "2",
        "ROS_PYTHON_VERSION": "3",
        "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(VENV / "share/s3k_ros/config/fastdds.xml"),
        # The wheels would otherwise start every Python twice to set LD_LIBRARY_PATH.
        "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1",
        "PYTHONNOUSERSITE": "1",
        # The repository's s3k_ros/ must not hide the installed one, which holds the messages.
        "PYTHONSAFEPATH": "1",
        "VIRTUAL_ENV": str(VENV),
    }


def venv_version() -> str:
    """Version of `.venv`'s Python, such as "3.11"."""
    for line in (VENV / "pyvenv.cfg").read_text().splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "version":
            return ".".join(value.strip().split(".")[:2])
    raise SetupError(f"{VENV / 'pyvenv.cfg'} names no version: remove {VENV} and start again")


def _output(command: list[str]) -> str:
    return subprocess.run(
        command, env=base_environment(), check=True, capture_output=True, text=True
    ).stdout.strip()


def run_logged(
    command: list[str], environment: dict[str, str], progress: Callable[[str], None] | None = None
) -> None:
    """Runs a command with its output in the log.

    Args:
        command: program and arguments.
        environment: its whole environment.
        progress: called with each line of output.

    Raises:
        SetupError: the command failed; the message holds the end of its output.
    """
    LOG.parent.mkdir(exist_ok=True)
    tail: list[str] = []
    with (
        LOG.open("a") as log,
        subprocess.Popen(
            command,
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        log.write(f"$ {' '.join(command)}\n")
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            tail = [*tail[-40:], line.rstrip()]
            if progress:
                progress(line)
    if process.returncode:
        raise SetupError(
            "\n".join(tail) + f"\n`{' '.join(command)}` failed ({process.returncode}); log: {LOG}"
        )


# --- the steps ----------------------------------------------------------------------------------


def digest(paths: Iterable[Path], names_only: Iterable[Path] = ()) -> str:
    """Hash of files' names and contents, and of the names alone of others."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(f"{path.relative_to(ROOT)}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    for path in sorted(names_only):
        total.update(f"{path.relative_to(ROOT)}\0".encode())
    return total.hexdigest()


def underlay_digest() -> str:
    """Hash of all that makes a new build of the underlay necessary."""
    return _build_digest([ROOT / "underlay"])


def package_digest() -> str:
    """Hash of all that makes a new build of s3k_ros necessary; edits of Python do not."""
    folders = ("msg", "action", "srv", "src", "s3k_ros", "launch", "config", "models", "tools")
    return _build_digest(
        [ROOT / "CMakeLists.txt", ROOT / "package.xml", *(ROOT / name for name in folders)]
    )


def _build_digest(roots: list[Path]) -> str:
    contents, names = [], []
    for path in [path for root in roots for path in (root, *root.rglob("*")) if path.is_file()]:
        built = (
            path.suffix in (".msg", ".action", ".srv", ".in", ".cpp", ".h")
            or path.name in BUILD_FILES
        )
        if built:
            contents.append(path)
        elif "__pycache__" not in path.parts:
            names.append(path)
    return digest(contents, names)


class PipProgress:
    """Turns pip's many lines into a few."""

    def __init__(self, total: int) -> None:
        self._total, self._seen = total, 0

    def __call__(self, line: str) -> None:
        """Takes one line of pip's output."""
        if line.startswith("Collecting "):
            self._seen += 1
            if self._seen % 40 == 0:
                say(f"  {self._seen} of about {self._total} packages fetched")
        elif line.startswith("Installing collected"):
            say("  all fetched; installing them")


def make_venv(python: str) -> None:
    """Makes an empty `.venv`."""
    if VENV.exists():
        shutil.rmtree(VENV)
    say(f"new .venv with {python}")
    subprocess.run([python, "-m", "venv", str(VENV)], env=base_environment(), check=True)


def install_packages() -> None:
    """Installs the locked packages, each file checked against its hash."""
    started = time.monotonic()
    say("Python packages: ROS 2 Jazzy, simulation and tools (1 to 3 minutes the first time)")
    total = sum(1 for line in LOCK.read_text().splitlines() if "==" in line)
    pip = [str(VENV / "bin/python"), "-m", "pip", "install", "--disable-pip-version-check"]
    locked = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r"]
    run_logged([*pip, *locked, str(BUILD_LOCK)], base_environment())
    # empy comes as source alone; without isolation it is built with what is locked as well.
    source = ["--no-binary", "empy", "--no-build-isolation"]
    run_logged([*pip, *locked, str(LOCK), *source], base_environment(), PipProgress(total))
    repair_cmake_exports()
    say(f"packages installed in {time.monotonic() - started:.0f} s")


def repair_cmake_exports() -> None:
    """Makes the wheels' CMake files name this environment's headers, not their build host's."""
    code = (
        "import sysconfig, numpy; print(sysconfig.get_path('include'));print(numpy.get_include())"
    )
    include, numpy_include = _output([str(VENV / "bin/python"), "-c", code]).split()
    major, minor = venv_version().split(".")
    host = BUILD_HOST_PYTHON.format(major, minor)
    replacements = {
        f"{host}/include/python{major}.{minor}": include,
        f"{host}/lib/python{major}.{minor}/site-packages/numpy/_core/include": numpy_include,
    }
    for path in (VENV / "share").rglob("*.cmake"):
        text = path.read_text()
        if host in text:
            for old, new in replacements.items():
                text = text.replace(old, new)
            path.write_text(text)


def build(title: str, paths: list[Path]) -> None:
    """Builds packages with colcon into `.venv`; Python files are linked: edits need no build."""
    started = time.monotonic()
    say(f"colcon build of {title}")
    environment = {**base_environment(), **workspace_variables()}
    environment["PATH"] = f"{VENV / 'bin'}:{environment['PATH']}"
    command = [str(VENV / "bin/colcon"), "--log-base", str(WORKSPACE / "log"), "build"]
    command += ["--paths", *map(str, paths), "--symlink-install", "--merge-install"]
    command += ["--build-base", str(WORKSPACE / "build"), "--install-base", str(VENV)]
    command += ["--cmake-args", "-DBUILD_TESTING=OFF", f"-DPython3_ROOT_DIR={VENV}"]
    command += [f"-DPython3_EXECUTABLE={VENV / 'bin/python'}", "-Wno-dev"]
    run_logged(command, environment, _colcon_progress)
    remove_dangling_links()
    write_launchers()
    say(f"built in {time.monotonic() - started:.0f} s")


def remove_dangling_links() -> None:
    """Removes what an earlier build linked to and is gone: colcon never uninstalls."""
    site = VENV / "lib" / f"python{venv_version()}" / "site-packages"
    for folder in (site / "s3k_ros", VENV / "lib/s3k_ros", VENV / "share/s3k_ros"):
        for path in folder.rglob("*"):
            if path.is_symlink() and not path.exists():
                path.unlink()


def _colcon_progress(line: str) -> None:
    if line.startswith(("Finished <<<", "Failed   <<<")):
        say("  " + line.strip())


def write_launchers() -> None:
    """Writes `.venv/bin/s3k-env` (runs a command inside the workspace) and `.venv/bin/s3k`."""
    lines = ["#!/bin/sh", "# Runs a command inside the built workspace: s3k-env ros2 launch ..."]
    # Names that a sourced ROS sets and that we do not overwrite below.
    lines.append("unset COLCON_PREFIX_PATH PYTHONHOME PYTHONPATH ROS_LOCALHOST_ONLY ROS_ETC_DIR")
    lines += [f"export {name}='{value}'" for name, value in workspace_variables().items()]
    lines += [f'export PATH="{VENV}/bin:$PATH"', 'exec "$@"', ""]
    _write_executable(VENV / "bin/s3k-env", "\n".join(lines))
    # Training subcommands need PyTorch: with .venv-train there, all of them run in it.
    text = f"""#!/bin/sh
python='{TRAIN_VENV}/bin/python'
[ -x "$python" ] || python='{VENV}/bin/python'
exec '{VENV}/bin/s3k-env' "$python" '{VENV}/lib/s3k_ros/s3k' "$@"
"""
    _write_executable(VENV / "bin/s3k", text)


def _write_executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def make_train_venv() -> None:
    """Makes `.venv-train`: PyTorch on top of everything in `.venv`."""
    say("new .venv-train: PyTorch on top of .venv")
    if TRAIN_VENV.exists():
        shutil.rmtree(TRAIN_VENV)
    python = str(VENV / "bin/python")
    environment = base_environment()
    subprocess.run([python, "-m", "venv", str(TRAIN_VENV)], env=environment, check=True)
    packages = Path("lib") / f"python{venv_version()}" / "site-packages"
    (TRAIN_VENV / packages / "venv.pth").write_text(
        f"import site; site.addsitedir({str(VENV / packages)!r})\n"
    )
    pip = [str(TRAIN_VENV / "bin/python"), "-m", "pip", "install", "--disable-pip-version-check"]
    run_logged([*pip, "-r", str(TORCH)], environment)


def install_bench_packages() -> None:
    """Installs what `s3k bench` measures against into `.venv`, each file checked by its hash."""
    say("peers of the benchmarks")
    pip = [str(VENV / "bin/python"), "-m", "pip", "install", "--disable-pip-version-check"]
    locked = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(BENCH_LOCK)]
    run_logged([*pip, *locked], base_environment())


# --- putting it together ------------------------------------------------------------------------


def read_stamps() -> dict[str, str]:
    """What the last complete steps were made from."""
    try:
        stamps = json.loads(STAMPS.read_text())
    except (OSError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def write_stamp(**made_from: str) -> None:
    """Remembers what a complete step was made from."""
    STAMPS.write_text(json.dumps({**read_stamps(), **made_from}, indent=1))


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Lets one set-up work at a time; a second one waits."""
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def ensure(train: bool, bench: bool) -> None:
    """Brings the environment up to date with the files of the repository."""
    stamps = read_stamps()
    # A virtual environment holds absolute paths: one that was moved has to be made again.
    lock, place = digest([LOCK, BUILD_LOCK]), str(VENV)
    if stamps.get("lock") != lock or stamps.get("place") != place:
        python = ensure_debian_packages()
        if stamps.get("place") != place:
            make_venv(python)
        install_packages()
        stamps = {}
        STAMPS.write_text("{}")
        write_stamp(lock=lock, place=place)
    underlay = underlay_digest()
    if stamps.get("underlay") != underlay:
        packages = sorted(path.parent for path in (ROOT / "underlay").glob("*/package.xml"))
        build("the underlay (1 to 2 minutes the first time)", packages)
        write_stamp(underlay=underlay)
    package = package_digest()
    if stamps.get("package") != package:
        build("s3k_ros", [ROOT])
        write_stamp(package=package)
    torch = digest([TORCH])
    if train and (stamps.get("train") != torch or not TRAIN_VENV.exists()):
        make_train_venv()
        write_stamp(train=torch)
    peers = digest([BENCH_LOCK])
    if bench and stamps.get("bench") != peers:
        install_bench_packages()
        write_stamp(bench=peers)


def main() -> int:
    """Parses the command line and sets up; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", action="store_true", help="also .venv-train, with PyTorch")
    parser.add_argument("--bench", action="store_true", help="also the peers of the benchmarks")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        with only_one():
            ensure(arguments.train, arguments.bench)
    except SetupError as error:
        print(f"[setup] {error}", file=sys.stderr)
        return 1
    took = time.monotonic() - started
    if took > 5:
        say(f"ready after {took:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
