"""What a check found, in the forms that others read: JSON, JUnit, a pull request comment, annotations.

Each is a pure function from the report to text. Names, sample ids and notes come from records that somebody
sent: each form escapes them for where it goes.
"""

from robustbench_safety.reporting.gate.output.annotations import annotations_of
from robustbench_safety.reporting.gate.output.json_text import json_of
from robustbench_safety.reporting.gate.output.junit import junit_of
from robustbench_safety.reporting.gate.output.markdown import markdown_of

__all__ = ["annotations_of", "json_of", "junit_of", "markdown_of"]
