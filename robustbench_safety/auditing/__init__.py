"""Audits: the keeper runs a submitted model on images drawn by a seed, and holds its record against them."""

from robustbench_safety.auditing.agreement import Compared
from robustbench_safety.auditing.audit import FEWEST, Audit, audit_record, check_auditable
from robustbench_safety.auditing.verified import file_verified

__all__ = ["FEWEST", "Audit", "Compared", "audit_record", "check_auditable", "file_verified"]
