"""The probability score interpreter."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from scipy.stats import gaussian_kde, norm

from robustbench_safety.detectors import fit_psi
from robustbench_safety.detectors.node_densities import DENSITIES, Density
from robustbench_safety.detectors.psi import Joint
from robustbench_safety.errors import UndefinedMetricError, UsageError

RNG = np.random.default_rng(0)
LABELS = np.arange(600) % 3
LOGITS = RNG.normal(size=(600, 3)) + 6 * np.eye(3)[LABELS]


def test_a_case_worked_by_hand() -> None:
    # Node 0 where class 0 is right: 4, 6 (mean 5, variance 2); where it is wrong: -1, 1 (mean 0, variance 2).
    # Node 1 the same the other way round.
    logits = np.array([[4.0, -1.0], [6.0, 1.0], [-1.0, 4.0], [1.0, 6.0]])
    labels = np.array([0, 0, 1, 1])
    ratio = fit_psi(logits, labels, density="normal")
    # At 2.5, half-way, either is as likely; at 5 wrong is e^(-25/4) times as likely as right.
    assert ratio.support(np.array([[2.5, 2.5]])) == pytest.approx(np.log([[0.5, 0.5]]))
    assert ratio.score(np.array([[5.0, 0.0]])) == pytest.approx([math.log1p(math.exp(-25 / 4))])
    product = fit_psi(logits, labels, density="normal", joint="product")
    # Both at their means: twice the logarithm of 1 / sqrt(4 pi).
    assert product.score(np.array([[5.0, 0.0]])) == pytest.approx([math.log(4 * math.pi)])


def test_a_histogram_counts_one_sample_more_in_each_bin_and_outside() -> None:
    # Range 0 to 50, so bins of width 1; node 0 is right for 40.5 twice and 50, wrong for 0 and 1.5.
    logits = np.array([[40.5, 0.0], [40.5, 5.0], [50.0, 0.0], [0.0, 50.0], [1.5, 30.0]])
    labels = np.array([0, 0, 0, 1, 1])
    fitted = fit_psi(logits, labels)
    values = np.array([[40.9, 0.0], [50.0, 0.0], [30.0, 0.0], [90.0, 0.0], [1.0, 0.0]])
    right = np.log(np.array([3, 2, 1, 1, 1]) / (3 + 50))
    wrong = np.log(np.array([1, 1, 1, 1, 2]) / (2 + 50))
    np.testing.assert_allclose(fitted.right.log_density(values)[:, 0], right, rtol=1e-12)
    np.testing.assert_allclose(fitted.wrong.log_density(values)[:, 0], wrong, rtol=1e-12)


def test_the_kernel_density_is_scipy_s() -> None:
    counted = np.ones_like(LOGITS, dtype=np.bool_)
    fitted = DENSITIES["kde"](LOGITS, counted, "")
    grid = np.linspace(-2, 8, 50)
    expected = gaussian_kde(LOGITS[:, 1])(grid)
    found = np.exp(fitted.log_density(np.repeat(grid[:, None], 3, axis=1))[:, 1])
    np.testing.assert_allclose(found, expected, atol=0.01 * expected.max())


def test_the_normal_density_is_scipy_s() -> None:
    fitted = DENSITIES["normal"](LOGITS, np.ones_like(LOGITS, dtype=np.bool_), "")
    expected = norm.logpdf(LOGITS, LOGITS.mean(axis=0), LOGITS.std(axis=0, ddof=1))
    np.testing.assert_allclose(fitted.log_density(LOGITS), expected, rtol=1e-10)


@pytest.mark.parametrize("density", get_args(Density))
def test_a_density_adds_up_to_1_over_its_nodes_values(density: Density) -> None:
    counted = np.ones_like(LOGITS, dtype=np.bool_)
    fitted = DENSITIES[density](LOGITS, counted, "")
    grid = np.linspace(LOGITS.min(axis=0) - 5, LOGITS.max(axis=0) + 5, 20_001)
    inside = fitted.log_density(grid)
    step = grid[1] - grid[0]
    if density == "histogram":  # in units of a bin; what was added outside belongs to no value
        step /= (LOGITS.max(axis=0) - LOGITS.min(axis=0)) / 50
        inside = np.where((grid >= LOGITS.min(axis=0)) & (grid <= LOGITS.max(axis=0)), inside, -np.inf)
    np.testing.assert_allclose(np.exp(inside).sum(axis=0) * step, 1, atol=2e-3)


@pytest.mark.parametrize("joint", get_args(Joint))
@pytest.mark.parametrize("density", get_args(Density))
def test_usual_outputs_are_known_those_of_two_classes_unsure_and_those_of_none_outliers(
    density: Density, joint: Joint
) -> None:
    fitted = fit_psi(LOGITS, LABELS, density=density, joint=joint)
    found = fitted.interpret(np.array([[0.1, 6.0, -0.1], [0.1, 0.0, 0.2]]))
    assert found.verdicts.tolist() == ["known", "outlier"]
    assert found.classes.tolist() == [1, -1]
    both = fitted.interpret(np.array([[6.0, 6.0, 0.0]])).verdicts.tolist()
    # Taken one by one either class is supported; taken together no class goes with another's logit of 6.
    assert both == (["unsure"] if joint == "ratio" else ["outlier"])


def test_the_share_of_outliers_among_training_samples_is_the_one_asked_for() -> None:
    for share in (0.05, 0.2):
        fitted = fit_psi(LOGITS, LABELS, density="kde", outlier_share=share)
        correct = LOGITS.argmax(axis=1) == LABELS
        outliers = fitted.interpret(LOGITS[correct]).verdicts == "outlier"
        assert outliers.mean() == pytest.approx(share, abs=0.01)


def test_wrong_can_be_taken_from_misclassified_samples_alone() -> None:
    logits = np.concatenate(
        [LOGITS, [[5, 4, 0], [5, 4.5, 0], [0, 5, 4], [0, 5, 4.5], [4, 0, 5], [4.5, 0, 5]]]
    )
    labels = np.concatenate([LABELS, [1, 1, 2, 2, 0, 0]])
    fitted = fit_psi(logits, labels, density="normal", wrong="misclassified")
    # Node 0 is wrong for 5, 5 and 0, 0: mean 2.5.
    at = np.array([[2.5, 0.0, 0.0], [2.4, 0.0, 0.0], [2.6, 0.0, 0.0]])
    assert fitted.wrong.log_density(at)[:, 0].argmax() == 0


def test_a_node_with_too_few_wrong_samples_is_refused_by_number() -> None:
    correct = LOGITS.argmax(axis=1) == LABELS
    with pytest.raises(UndefinedMetricError, match="how node 0 is distributed where its class is wrong"):
        fit_psi(LOGITS[correct], LABELS[correct], wrong="misclassified")


def test_a_class_that_is_never_right_is_refused() -> None:
    with pytest.raises(UndefinedMetricError, match="how node 2 is distributed where its class is right"):
        fit_psi(LOGITS - [0, 0, 100], LABELS)


@pytest.mark.parametrize("density", get_args(Density))
def test_a_node_that_never_varies_is_refused(density: Density) -> None:
    with pytest.raises(UndefinedMetricError, match="one value of node 1"):
        fit_psi(LOGITS * [1, 0, 1] + [0, 2, 0], LABELS, density=density)


@pytest.mark.parametrize("density", get_args(Density))
def test_a_node_of_one_value_where_it_is_right_still_has_a_density(density: Density) -> None:
    logits = np.where(np.eye(3)[LABELS] == 1, 9.0, LOGITS - 6 * np.eye(3)[LABELS])
    fitted = fit_psi(logits, LABELS, density=density)
    assert np.isfinite(fitted.support(logits)).all()
    assert (fitted.support(logits).argmax(axis=1) == LABELS).all()


@pytest.mark.parametrize(
    "option", [{"density": "kernel"}, {"wrong": "all"}, {"joint": "sum"}, {"outlier_share": 1.0}]
)
def test_an_option_that_there_is_not_is_refused(option: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(option))} cannot be used"):
        fit_psi(LOGITS, LABELS, **option)  # type: ignore[arg-type]  # a name from a suite's text
