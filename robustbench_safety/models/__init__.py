"""Models: a family's network, a checkpoint read safely into it, and the snapshot of both."""

from robustbench_safety.models.loading import load_model
from robustbench_safety.models.model import Model

__all__ = ["Model", "load_model"]
