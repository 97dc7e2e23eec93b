"""Files: strict YAML and JSON to records and back, digests, atomic writes, and where shipped files lie."""

from robustbench_safety.files.differences import differences
from robustbench_safety.files.digests import canonical_json, digest_of
from robustbench_safety.files.places import default_data_root
from robustbench_safety.files.raw import file_digest, read_bytes, read_lines, reads, writes
from robustbench_safety.files.resources import (
    check_resource_name,
    locate_resource,
    resource_folder,
    resource_names,
)
from robustbench_safety.files.strict import read_json, read_yaml, yaml_fields
from robustbench_safety.files.writing import atomic_path, slugify, write_bytes, write_json, write_yaml

__all__ = [
    "atomic_path",
    "canonical_json",
    "check_resource_name",
    "default_data_root",
    "differences",
    "digest_of",
    "file_digest",
    "locate_resource",
    "read_bytes",
    "read_json",
    "read_lines",
    "read_yaml",
    "reads",
    "resource_folder",
    "resource_names",
    "slugify",
    "write_bytes",
    "write_json",
    "write_yaml",
    "writes",
    "yaml_fields",
]
