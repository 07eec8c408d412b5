"""The studies by name."""

from __future__ import annotations

from s3k_ros.errors import ConfigurationError
from s3k_ros.training.studies import ablation, category, domain_shift, fox, labels, weight
from s3k_ros.training.studies.study import Study

STUDIES: dict[str, Study] = {
    study.STUDY.name: study.STUDY
    for study in (labels, domain_shift, category, weight, fox, ablation)
}


def study_named(name: str) -> Study:
    """A study.

    Raises:
        ConfigurationError: an unknown name; the message lists the valid ones.
    """
    if name not in STUDIES:
        raise ConfigurationError(f"study {name!r} is unknown; valid: {', '.join(STUDIES)}")
    return STUDIES[name]
