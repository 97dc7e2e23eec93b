"""Images whose shape says one thing and whose texture another: by which of the two a model decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics.checks import FloatArray, IntArray, class_indices, finite, same_length

__all__ = ["Cue", "category_decisions", "cue_accuracy", "cue_hits", "shape_bias"]

Cue: TypeAlias = Literal["shape", "texture"]


def category_decisions(logits: FloatArray, *, categories: Sequence[NDArray[np.integer]]) -> IntArray:
    """Decide for the category whose classes have the highest mean probability. No direction is better.

    ``argmax over g of (1 / |g|) * sum of softmax(logits)_k over the classes k of category g``.

    Args:
        logits: float [N, K]; any classes beyond those of the categories do not matter.
        categories: Classes of each category, indices of the K, one or more each: [G] arrays.

    Returns:
        Index of a category, [N]; of equal ones the first.

    Raises:
        UndefinedMetricError: There is no image or no category, a logit is not finite, or a category has no
            class or one outside the K.

    Conventions:
        The mean, not the sum and not the best class: a category of 100 dogs does not win by their number,
        and the decision may differ from the category of the top-1 class.

    Source:
        Geirhos et al., ImageNet-trained CNNs are biased towards texture, ICLR 2019, and the code of its
        authors. Their later toolkit takes the last of equal categories.

    Example:
        >>> logits = np.log([[0.4, 0.3, 0.3, 0.0001], [0.5, 0.0001, 0.3, 0.2]])
        >>> category_decisions(logits, categories=[np.array([0, 3]), np.array([1, 2])])  # 0.3; 0.35
        array([1, 0])
    """
    table = finite(logits, "logits", ndim=2)
    groups = [class_indices(group, "a category", n_classes=table.shape[1]) for group in categories]
    if not groups:
        raise UndefinedMetricError("there are no categories", expected="one or more", found="none")
    # Logarithms: of a sure answer outside the categories all of these probabilities may be below 1e-308.
    means = [logsumexp(table[:, group], axis=1) - np.log(len(group)) for group in groups]
    return np.asarray(np.stack(means, axis=1).argmax(axis=1), dtype=np.int64)


def shape_bias(
    decided: NDArray[np.integer], shape: NDArray[np.integer], texture: NDArray[np.integer]
) -> float:
    """Measure the share of decisions for the shape among those for shape or texture. Higher is better.

    ``S / (S + T)``, of images that are of two categories: S are decided for that of the shape, T for that of
    the texture. It tells how a model decides, not how well: higher is nearer to people, who go by the shape,
    and a model that is right about neither may have any bias.

    Args:
        decided: Category decided for, int [N], from 0.
        shape: Category of each image's shape, int [N].
        texture: Category of its texture, int [N].

    Returns:
        Fraction in [0, 1]; 1 is shape alone.

    Raises:
        UndefinedMetricError: There is no image, lengths differ, an index is negative or not an integer, no
            image is of two categories, or none is decided for either.

    Conventions:
        Images whose shape and texture are of one category are left out: they cannot tell. Decisions for a
        third category count nowhere; :func:`cue_accuracy` says how many there are.

    Source:
        Geirhos et al., ImageNet-trained CNNs are biased towards texture; increasing shape bias improves
        accuracy and robustness, ICLR 2019.

    Example:
        >>> shape, texture = np.array([0, 0, 1, 1, 2]), np.array([1, 2, 0, 2, 2])
        >>> shape_bias(np.array([0, 2, 1, 0, 2]), shape, texture)  # shape, texture, shape, a third
        0.6666666666666666
    """
    hits = cue_hits(decided, shape, texture)
    by_shape, by_texture = (int(hits[:, column].sum()) for column in (0, 1))
    if by_shape + by_texture == 0:
        raise UndefinedMetricError(
            "no image is decided for its shape or its texture",
            expected="one or more of those whose shape and texture differ",
            found=f"none of {len(hits)}",
        )
    return by_shape / (by_shape + by_texture)


def cue_accuracy(
    decided: NDArray[np.integer], shape: NDArray[np.integer], texture: NDArray[np.integer], *, cue: Cue
) -> float:
    """Measure the share of images of two categories that are decided for one of them. Higher is better.

    Args:
        decided: Category decided for, int [N], from 0.
        shape: Category of each image's shape, int [N].
        texture: Category of its texture, int [N].
        cue: ``"shape"`` or ``"texture"``.

    Returns:
        Fraction in [0, 1]; those of the two cues add up to 1 at most.

    Raises:
        UndefinedMetricError: There is no image, lengths differ, an index is negative or not an integer, or
            no image is of two categories.
        UsageError: ``cue`` is unknown.

    Conventions:
        Over the images whose shape and texture differ. The authors' later toolkit divides by all images,
        those of one category too, which no decision counts for: its fractions are lower by a constant.

    Source:
        As :func:`shape_bias`.

    Example:
        >>> shape, texture = np.array([0, 0, 1, 1, 2]), np.array([1, 2, 0, 2, 2])
        >>> cue_accuracy(np.array([0, 2, 1, 0, 2]), shape, texture, cue="texture")
        0.25
    """
    if cue not in ("shape", "texture"):
        raise UsageError("cue cannot be used", expected="shape or texture", found=repr(cue))
    hits = cue_hits(decided, shape, texture)
    return int(hits[:, 0 if cue == "shape" else 1].sum()) / len(hits)


def cue_hits(
    decided: NDArray[np.integer], shape: NDArray[np.integer], texture: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Tell which images are decided for their shape, and which for their texture. No direction is better.

    Args:
        decided: Category decided for, int [N], from 0.
        shape: Category of each image's shape, int [N].
        texture: Category of its texture, int [N].

    Returns:
        bool [images whose shape and texture differ, 2], in their order: by shape, by texture.

    Raises:
        UndefinedMetricError: There is no image, lengths differ, an index is negative or not an integer, or
            no image is of two categories.

    Conventions:
        Images of one category are left out, so rows are fewer than images.

    Source:
        As :func:`shape_bias`.

    Example:
        >>> cue_hits(np.array([0, 2, 2]), np.array([0, 1, 2]), np.array([1, 2, 2])).tolist()
        [[True, False], [False, True]]
    """
    answers, shapes, textures = (
        class_indices(given, name)
        for given, name in ((decided, "decided"), (shape, "shape"), (texture, "texture"))
    )
    same_length(answers, shapes, "decided and shape")
    same_length(answers, textures, "decided and texture")
    conflict = shapes != textures
    if not conflict.any():
        raise UndefinedMetricError(
            "no image is of two categories",
            expected="one or more whose shape and texture differ",
            found=f"none of {len(answers)}",
        )
    hits = np.stack([answers == shapes, answers == textures], axis=1)
    return np.asarray(hits[conflict])
