"""Datasets: manifests, readers of the published layouts, and the way from stored bytes to pixels."""

from robustbench_safety.data.base import Reader
from robustbench_safety.data.loader import Block, Loader, limited, stored_digest
from robustbench_safety.data.store import DataRoot, Dataset, dataset_names, load_dataset, load_manifest
from robustbench_safety.data.transforms import Transform

__all__ = [
    "Block",
    "DataRoot",
    "Dataset",
    "Loader",
    "Reader",
    "Transform",
    "dataset_names",
    "limited",
    "load_dataset",
    "load_manifest",
    "stored_digest",
]
