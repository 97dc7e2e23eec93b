"""From the label names that a network's authors wrote down to the columns of a label space.

A name is compared with the class keys, with the words of published lists (WordNet's lemmas, all of them or
the first) and with the names of prompts, without regard to case, spaces, underscores and punctuation. One
list goes before a mixture of them. Nothing is concluded from how many outputs there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from robustbench_safety.errors import ModelError, UsageError
from robustbench_safety.labels import load_class_names, load_label_space
from robustbench_safety.models.head import select_columns
from robustbench_safety.records import HeadClasses, LabelSpace

__all__ = ["Selection", "are_placeholders", "select_by_name"]

#: How many names of a kind an error shows.
_LISTED = 3
_FIX = "give a model file that declares head_classes (a file with one class key a line), or the label space"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which outputs are the classes of a label space."""

    head: HeadClasses | None
    """None where they are all outputs, in order: there is nothing to select."""
    columns: tuple[int, ...] | None


def are_placeholders(written: Sequence[str]) -> bool:
    """Return whether the names say nothing: ``LABEL_0``, ``LABEL_1``, as transformers numbers outputs.

    Example:
        >>> are_placeholders(["LABEL_0", "LABEL_1"]), are_placeholders(["cat", "dog"])
        (True, False)
    """
    return all(re.fullmatch(r"label[ _-]?\d+", name.strip(), re.IGNORECASE) for name in written)


def select_by_name(
    written: Sequence[str], *, model: str, declared: str | None, suite: str | None
) -> tuple[str, Selection]:
    """Return the label space that the outputs speak, and which of them are its classes.

    Args:
        written: Name of each output, as the network's authors wrote it.
        model: The model's name, for errors.
        declared: Label space that the model file declares. With it, outputs that have no names are taken to
            be its classes in its order, which is what the declaration says.
        suite: Label space of the suite, tried where none is declared: all of its classes must be found.

    Raises:
        UsageError: The outputs have no names, or no label space is given.
        ModelError: Not every class of the label space is found, or a name could be two of them.
        UnknownNameError: No such label space.
    """
    name = declared or suite
    if are_placeholders(written):
        if declared is None:
            raise UsageError(
                f"{model} does not say what its outputs are",
                expected="label names in id2label",
                found=f"{len(written)} outputs, {', '.join(written[:_LISTED])} ...",
                fix=_FIX,
            )
        return declared, Selection(head=None, columns=None)
    if name is None:
        raise UsageError(
            f"{model} speaks no label space that is named",
            expected="the name of one, e.g. imagenet-1k",
            found=f"{len(written)} outputs, {', '.join(repr(label) for label in written[:_LISTED])} ...",
            fix="write label_space in a model file, give --label-space to `rbs models`, or name a suite",
        )
    space = load_label_space(name)
    found = [_match(written, spellings) for spellings in _lists(space)]
    best = min(found, key=lambda match: match.n_wrong)
    if best.n_wrong:
        raise _not_found(model, written, space, best)
    return name, _selection(written, space, best.output_of)


def _selection(written: Sequence[str], space: LabelSpace, output_of: Mapping[int, int]) -> Selection:
    if len(written) == len(space.classes) and all(index == output for index, output in output_of.items()):
        return Selection(head=None, columns=None)
    key_of = {output: space.classes[index] for index, output in output_of.items()}
    # An output that is no class of the label space keeps its number, as two may have one name.
    keys = tuple(key_of.get(i, f"output {i}: {label}") for i, label in enumerate(written))
    head, columns = select_columns("id2label", keys, space, outputs=len(written))
    return Selection(head=head, columns=columns)


def _lists(space: LabelSpace) -> Iterable[Mapping[str, list[int]]]:
    """Yield, for each published list and then for all together, the classes that a spelling stands for."""
    names = load_class_names(space)
    lists: list[list[str]] = [list(space.classes)]
    if names.lemmas:
        lists.append(list(names.lemmas.values()))
        lists.append([lemmas.partition(",")[0] for lemmas in names.lemmas.values()])
    lists.append(list(names.prompts.values()))
    for spellings in lists:
        yield _index([spellings])
    yield _index(lists)


def _index(lists: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for spellings in lists:
        for index, spelling in enumerate(spellings):
            known = found.setdefault(_plain(spelling), [])
            if index not in known:
                known.append(index)
    return found


def _plain(text: str) -> str:
    """Return a name without case, apostrophes and other punctuation, its words apart by one space.

    Example:
        >>> _plain("Jeweler's_loupe,  loupe")
        'jewelers loupe loupe'
    """
    return " ".join(re.sub(r"[\W_]+", " ", text.lower().replace("'", "")).split())


@dataclass(frozen=True, kw_only=True)
class _Match:
    """How the outputs' names compare with one list."""

    output_of: Mapping[int, int]
    """Class index -> output."""
    missing: tuple[int, ...]
    """Classes that no output is."""
    unclear: tuple[tuple[int, tuple[int, ...]], ...]
    """Outputs that could be several classes, and which."""
    twice: tuple[tuple[int, int, int], ...]
    """A class and two outputs that have its name."""

    @property
    def n_wrong(self) -> int:
        return len(self.missing) + len(self.unclear) + len(self.twice)


def _match(written: Sequence[str], spellings: Mapping[str, list[int]]) -> _Match:
    """Compare.

    A name that stands for several classes ("crane") is decided only by the published order: where every
    output whose name is clear lies at its class's index, or all of them the same number further on (a head
    with a background class first), so does this one.
    """
    candidates = {
        i: spellings[_plain(label)] for i, label in enumerate(written) if _plain(label) in spellings
    }
    offsets = {i - classes[0] for i, classes in candidates.items() if len(classes) == 1}
    offset = offsets.pop() if len(offsets) == 1 else None
    output_of: dict[int, int] = {}
    unclear: list[tuple[int, tuple[int, ...]]] = []
    twice: list[tuple[int, int, int]] = []
    for i, classes in candidates.items():
        if len(classes) > 1 and (offset is None or i - offset not in classes):
            unclear.append((i, tuple(classes)))
            continue
        index = classes[0] if len(classes) == 1 else i - (offset or 0)
        if index in output_of:
            twice.append((index, output_of[index], i))
        else:
            output_of[index] = i
    n_classes = 1 + max(index for classes in spellings.values() for index in classes)
    possible = {index for _, classes in unclear for index in classes}
    missing = tuple(i for i in range(n_classes) if i not in output_of and i not in possible)
    return _Match(output_of=output_of, missing=missing, unclear=tuple(unclear), twice=tuple(twice))


def _not_found(model: str, written: Sequence[str], space: LabelSpace, match: _Match) -> ModelError:
    found: list[str] = []
    if match.missing:
        keys = ", ".join(space.classes[index] for index in match.missing[:_LISTED])
        found.append(f"{len(match.missing)} classes are missing ({keys}{_more(match.missing)})")
    if match.unclear:
        names = ", ".join(
            f"output {i} {written[i]!r} could be {' or '.join(space.classes[index] for index in classes)}"
            for i, classes in match.unclear[:_LISTED]
        )
        found.append(f"{names}{_more(match.unclear)}")
    if match.twice:
        names = ", ".join(
            f"outputs {one} and {other} are both {space.classes[index]}"
            for index, one, other in match.twice[:_LISTED]
        )
        found.append(f"{names}{_more(match.twice)}")
    named = ", ".join(repr(label) for label in written[:_LISTED])
    return ModelError(
        f"{model}: its outputs are not the classes of {space.name} by their names ({named}, ...)",
        expected=f"each of its {len(space.classes)} classes once",
        found="; ".join(found),
        fix=_FIX,
    )


def _more(items: Sequence[object]) -> str:
    return ", ..." if len(items) > _LISTED else ""
