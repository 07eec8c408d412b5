"""Fixtures of the demo's tests."""

from __future__ import annotations

import pytest
from support.made_up_trial import make_recording

from s3k_ros.demo.recording import Recording
from s3k_ros.demo.trial import Trial


@pytest.fixture(scope="session")
def recording() -> Recording:
    return make_recording()


@pytest.fixture
def held_trial() -> Trial:
    return Trial(seed=7, code=0, code_name="SUCCESS", holding="HOLDING", message="held by friction")
