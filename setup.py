"""Installs the part that needs no ROS, for training and simulation machines.

On a cell and in `.venv` the package comes from colcon instead (CMakeLists.txt).
"""

from pathlib import Path

from setuptools import Extension, find_packages, setup

REQUIREMENTS = Path(__file__).parent / "requirements"


def read(name: str) -> list[str]:
    """The requirements in a file, without comments."""
    lines = (
        line.partition("#")[0].strip() for line in (REQUIREMENTS / name).read_text().splitlines()
    )
    return [line for line in lines if line]


setup(
    name="s3k_ros",
    version="0.1.0",
    description="Semantic 3D keypoints from several calibrated cameras, and grasping at them",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["s3k_ros", "s3k_ros.*"]),
    ext_modules=[
        Extension(
            "s3k_ros.geometry._native",
            ["src/native.cpp"],
            depends=[str(path) for path in Path("src").glob("*.h")],
            # As in CMakeLists.txt.
            extra_compile_args=["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math"],
        )
    ],
    include_package_data=True,
    package_data={"s3k_ros": ["py.typed", "**/*.j2", "**/*.css"]},
    install_requires=read("core.in"),
    extras_require={
        "cameras": read("cameras.in"),
        "sim": read("sim.in"),
        "train": read("train.in") + read("torch.txt"),
    },
    entry_points={"console_scripts": ["s3k = s3k_ros.cli:main"]},
)
