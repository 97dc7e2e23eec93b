"""From written label names to columns: what is found, and what is never guessed."""

from __future__ import annotations

import numpy as np
import pytest

from robustbench_safety.errors import ModelError, UsageError
from robustbench_safety.labels import load_class_names, load_label_space
from robustbench_safety.models.hf.written_labels import Selection, select_by_name
from tests.models.hf.tiny_hf import CIFAR

IMAGENET = load_label_space("imagenet-1k")
NAMES = load_class_names(IMAGENET)
LEMMAS = list(NAMES.lemmas.values())
FIRST = [lemmas.partition(",")[0] for lemmas in LEMMAS]
PROMPTS = list(NAMES.prompts.values())


def select(
    written: list[str] | tuple[str, ...], *, declared: str | None = None, suite: str | None = "imagenet-1k"
) -> Selection:
    name, selection = select_by_name(written, model="hf:net", declared=declared, suite=suite)
    assert name == (declared or suite)
    return selection


@pytest.mark.parametrize(
    "written",
    [
        list(IMAGENET.classes),
        LEMMAS,
        FIRST,
        PROMPTS,
        [lemmas.upper().replace(" ", "_").replace("'", "") for lemmas in LEMMAS],
        # torchvision's list: first lemmas, but for two that it tells apart.
        [{134: "crane bird", 639: "maillot tank suit"}.get(i, name) for i, name in enumerate(FIRST)],
    ],
)
def test_the_published_order_needs_no_selection_in_any_of_the_published_spellings(written: list[str]) -> None:
    assert select(written) == Selection(head=None, columns=None)


def test_a_head_in_another_order_is_permuted_into_that_of_the_label_space() -> None:
    order = np.random.default_rng(0).permutation(1000)
    selection = select([IMAGENET.classes[i] for i in order])
    assert selection.columns is not None
    # The column that is selected for a class is the output that carries its key.
    assert [order[column] for column in selection.columns] == list(range(1000))
    assert selection.head is not None
    assert (selection.head.source, selection.head.outputs) == ("id2label", 1000)


def test_a_name_of_two_classes_is_refused_where_the_order_is_not_the_published_one() -> None:
    order = np.random.default_rng(0).permutation(1000)
    with pytest.raises(
        ModelError, match=r"output \d+ 'crane' could be n02012849 or n03126707, output \d+ 'crane' could be"
    ):
        select([LEMMAS[i] for i in order])
    # One swap is enough: two outputs that are clear lie elsewhere.
    swapped = [LEMMAS[1], LEMMAS[0], *LEMMAS[2:]]
    with pytest.raises(ModelError, match="output 134 'crane' could be n02012849 or n03126707"):
        select(swapped)


def test_a_background_class_first_moves_every_class_by_one() -> None:
    selection = select(["background", *LEMMAS])
    assert selection.columns == tuple(range(1, 1001))
    assert selection.head is not None
    assert selection.head.outputs == 1001


def test_the_classes_are_selected_from_a_head_of_many_more() -> None:
    others = [f"n{i:08d}" for i in range(9_000_000, 9_000_500)]
    selection = select([*others, *reversed(IMAGENET.classes)])
    assert selection.columns == tuple(range(1499, 499, -1))


def test_names_of_another_label_space_are_refused_with_what_is_missing() -> None:
    with pytest.raises(
        ModelError,
        match=r"not the classes of imagenet-1k by their names \('airplane', 'automobile', 'bird', ...\); "
        r".*1000 classes once; found 1000 classes are missing \(n01440764, n01443537, n01484850, ...\)",
    ):
        select(CIFAR)
    with pytest.raises(ModelError, match=r"found 1 classes are missing \(truck\)"):
        select((*CIFAR[:9], "lorry"), suite="cifar-10")


def test_a_class_that_two_outputs_have_is_refused() -> None:
    with pytest.raises(ModelError, match="found outputs 3 and 10 are both cat"):
        select((*CIFAR, "Cat"), suite="cifar-10")


def test_a_declared_label_space_goes_before_that_of_the_suite() -> None:
    name, selection = select_by_name(CIFAR[::-1], model="hf:net", declared="cifar-10", suite="imagenet-1k")
    assert (name, selection.columns) == ("cifar-10", tuple(range(9, -1, -1)))


def test_numbered_outputs_are_never_taken_for_classes_because_there_are_as_many() -> None:
    numbered = [f"LABEL_{i}" for i in range(10)]
    with pytest.raises(
        UsageError, match=r"does not say what its outputs are; .*10 outputs, LABEL_0, .*declares head_classes"
    ):
        select(numbered, suite="cifar-10")
    assert select(numbered, declared="cifar-10") == Selection(head=None, columns=None)


def test_no_label_space_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match=r"speaks no label space.*10 outputs, 'airplane'"):
        select(CIFAR, suite=None)


def test_digits_are_names_and_no_numbering() -> None:
    assert select([str(i) for i in range(9, -1, -1)], suite="digits").columns == tuple(range(9, -1, -1))
