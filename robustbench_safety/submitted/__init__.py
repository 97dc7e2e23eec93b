"""Files of predictions that somebody hands in: read, checked, joined to a suite's samples, stored."""

from robustbench_safety.submitted.request import Submission, find_submission, refuse_settings
from robustbench_safety.submitted.storing import store_submission

__all__ = ["Submission", "find_submission", "refuse_settings", "store_submission"]
