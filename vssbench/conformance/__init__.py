"""The checks that methods, networks and datasets must pass, reusable by third parties (`vssbench conformance`)."""

from vssbench.conformance.building import make_batch
from vssbench.conformance.clips import Subject, make_clip, run_clip
from vssbench.conformance.dataset import DatasetSubject, run_dataset_checks
from vssbench.conformance.method import CHECKS, run_checks
from vssbench.conformance.network import NetworkSubject, run_network_checks
from vssbench.conformance.outcome import CheckResult, ConformanceError

__all__ = [
    "CHECKS",
    "CheckResult",
    "ConformanceError",
    "DatasetSubject",
    "NetworkSubject",
    "Subject",
    "make_batch",
    "make_clip",
    "run_checks",
    "run_clip",
    "run_dataset_checks",
    "run_network_checks",
]
