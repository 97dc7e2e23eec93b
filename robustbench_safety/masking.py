"""Signs that a network hides its gradients, told from what an attack has measured on its way.

Such a network looks robust to attacks that follow the gradient, and is not. A sign is no proof: it says that
the error under attack may be too low.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from robustbench_safety.records import AttackMeasures, Cell, Condition, PredictionsHeader, Score, Suite

__all__ = ["MASKING_NOTE", "masking_warnings", "warnings_by_condition", "with_notes"]

MASKING_NOTE = "signs of gradient masking, in attack_warnings of the record: the true error may be higher"

#: Share of images whose loss may stay where it was; of 500 images and six CIFAR-10 networks that of none did.
_NOT_RISEN = 0.05
#: Share that noise, or Square, may break and white-box attacks leave; AutoAttack's own code warns at 0.2 %.
#: One image alone is no sign.
_BLACK_BOX = 0.002
#: Share that may be right at half the pixel range.
_LARGE_EPS = 0.05


def masking_warnings(measures: AttackMeasures) -> tuple[str, ...]:
    """Return what points to masked gradients, a sentence a sign; nothing where all is as it should be.

    Args:
        measures: Of one attack.

    Source:
        Athalye et al., Obfuscated Gradients Give a False Sense of Security, section 3.1, 2018; Carlini et
        al., On Evaluating Adversarial Robustness, 2019.

    Example:
        >>> masking_warnings(AttackMeasures(images=100, wrong=60, broken={"apgd-ce": 50, "square": 0}))
        ()
        >>> masking_warnings(AttackMeasures(images=100, wrong=60, broken={"apgd-ce": 40, "square": 10}))
        ('Square, which sees no gradients, broke 10 of 100 images that the gradients of three attacks left.',)
    """
    n = measures.images
    said: list[str] = []
    if measures.loss_at_start is not None and measures.loss_at_end is not None:
        means = f"{measures.loss_at_start:.4g} at the random start, {measures.loss_at_end:.4g} in the end"
        if measures.loss_at_end <= measures.loss_at_start:
            said.append(f"The loss did not rise along the attack: {means} on average, in nats.")
        elif measures.not_risen is not None and measures.not_risen > _NOT_RISEN * n:
            said.append(f"The loss of {measures.not_risen} of {n} images did not rise along the attack.")
    alone = measures.wrong_by_noise_alone
    if alone is not None and _is_many(alone, n):
        said.append(
            f"Random noise of the same size broke {alone} of {n} images that the gradient did not break."
        )
    square = measures.broken.get("square", 0)
    if _is_many(square, n):
        said.append(
            f"Square, which sees no gradients, broke {square} of {n} images that the gradients of three "
            "attacks left."
        )
    large = measures.large_eps
    if large is not None and large.right > _LARGE_EPS * large.images:
        said.append(
            f"At an eps of {large.eps} of the pixel range {large.right} of {large.images} images were still "
            f"right after {large.steps} steps, where nothing should be left."
        )
    return tuple(said)


def _is_many(count: int, n: int) -> bool:
    return count > max(1, _BLACK_BOX * n)


def warnings_by_condition(headers: Mapping[Condition, PredictionsHeader]) -> dict[str, tuple[str, ...]]:
    """Return the warnings of every attacked condition that has some, by its path."""
    return {
        condition.path: said
        for condition, header in headers.items()
        if header.attack and header.attack.measures and (said := masking_warnings(header.attack.measures))
    }


def with_notes(
    scores: Mapping[str, Score], suite: Suite, conditions: Mapping[str, Sequence[Condition]], warned: set[str]
) -> dict[str, Score]:
    """Return the scores, with a note on each that rests on a condition with warnings.

    Args:
        scores: By id of cell and aggregate.
        suite: Theirs.
        conditions: That each cell was measured on, by its id.
        warned: Paths of the conditions with warnings.
    """

    def rests(cell: Cell) -> bool:
        return any(condition.path in warned for condition in conditions[cell.id])

    marked = {cell.id for cell in suite.cells if rests(cell)}
    marked |= {aggregate.id for aggregate in suite.aggregates if marked.intersection(aggregate.of)}
    return {
        name: score if name not in marked or score.value is None else _noted(score)
        for name, score in scores.items()
    }


def _noted(score: Score) -> Score:
    note = f"{score.note}; {MASKING_NOTE}" if score.note else MASKING_NOTE
    return score.model_copy(update={"note": note})
