"""Heads whose outputs are not the classes of the label space: the declared list, and the selection from it.

A label space is never inferred from a class count: 21,843 outputs say nothing of their order. The lists known
by name are those that timm carries. A head that was never trained on a class of the label space is refused:
of these lists only Microsoft's has all of ImageNet-1k. Google's and the 22k list lack the teddy bear
(n04399382), the 12k list lacks 7 classes, MIIL's 9.
"""

from __future__ import annotations

from pathlib import Path

from robustbench_safety.errors import ModelError, UsageError
from robustbench_safety.files import read_lines
from robustbench_safety.labels import class_digest, load_label_space
from robustbench_safety.models.model import Asked
from robustbench_safety.records import HeadClasses, LabelSpace

__all__ = ["KNOWN_HEADS", "head_size", "read_head", "select_columns", "select_head"]

#: Lists of WordNet ids that timm carries, by the names it gives them.
KNOWN_HEADS = (
    "imagenet-12k",
    "imagenet-21k-goog",
    "imagenet-21k-miil",
    "imagenet-22k",
    "imagenet-22k-ms",
)


def head_size(asked: Asked, label_space: str) -> int:
    """Return how many outputs to build: those of the declared list, else the label space's classes.

    Raises:
        UsageError: There is no such list or file.
        UnknownNameError: There is no such label space.
    """
    declared = asked.file.head_classes
    if declared is not None:
        return len(read_head(declared, folder=asked.folder))
    return len(load_label_space(label_space).classes)


def select_head(
    head_classes: str, space: LabelSpace, *, folder: Path, outputs: int
) -> tuple[HeadClasses, tuple[int, ...]]:
    """Return which of a head's outputs are the classes of a label space, in its order.

    Args:
        head_classes: Name of a known list, or the path of a file with one class key a line.
        space: The label space to be spoken.
        folder: That the path is relative to.
        outputs: Of the head.

    Raises:
        UsageError: There is no such list or file.
        ModelError: The list is not as long as the head, or lacks a class of the label space.
    """
    keys = read_head(head_classes, folder=folder)
    return select_columns(Path(head_classes).name, keys, space, outputs=outputs)


def select_columns(
    source: str, keys: tuple[str, ...], space: LabelSpace, *, outputs: int
) -> tuple[HeadClasses, tuple[int, ...]]:
    """Return the selection, given the class key of each output of the head; see :func:`select_head`."""
    if len(keys) != outputs:
        raise ModelError(
            f"list {source} is not that of the head's classes",
            expected=f"{outputs} classes, one an output",
            found=str(len(keys)),
            fix="declare the list that the network was trained with",
        )
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ModelError(f"list {source} names {twice!r} twice", expected="each class once")
    index = {key: i for i, key in enumerate(keys)}
    missing = [key for key in space.classes if key not in index]
    if missing:
        raise ModelError(
            f"head {source} does not know every class of {space.name}",
            expected=f"its {len(space.classes)} classes",
            found=f"{len(missing)} missing, e.g. {missing[0]!r}",
            fix="score a head that was trained on them",
        )
    head = HeadClasses(source=source, digest=class_digest(keys), outputs=outputs)
    return head, tuple(index[key] for key in space.classes)


def read_head(head_classes: str, *, folder: Path) -> tuple[str, ...]:
    """Return the class key of each output of a head, from a known list or a file below ``folder``.

    Raises:
        UsageError: There is no such list or file.
    """
    if head_classes in KNOWN_HEADS:
        from timm.data.imagenet_info import ImageNetInfo  # takes seconds, and few models have such a head

        keys: list[str] = ImageNetInfo(head_classes).label_names()  # type: ignore[no-untyped-call]
        return tuple(keys)
    path = folder / head_classes
    if not path.is_file():
        raise UsageError(
            f"head_classes: there is no list {head_classes!r}",
            expected=f"one of {', '.join(KNOWN_HEADS)}, or the path of a text file with one class key a line",
            found=f"no file {path}",
        )
    return tuple(read_lines(path))
