"""Draws: their laws, their independence, and that an image's draws are its own, from NumPy and from torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats

from robustbench_safety.corruptions import CORRUPTIONS
from robustbench_safety.corruptions.draws import Draws, NumpyDraws, TorchDraws, draws_for, stream_name
from robustbench_safety.corruptions.severities import SEVERITIES
from robustbench_safety.streams import random_stream, stream_key

CPU = torch.device("cpu")
LAWS = ["normal", "random", "integers", "words"]


def numpy_draws(*names: str) -> Draws:
    return NumpyDraws(lambda: [random_stream(0, name) for name in names], CPU)


def torch_draws(*names: str) -> Draws:
    generators = [torch.Generator() for _ in names]
    for generator, name in zip(generators, names, strict=True):
        generator.manual_seed(int.from_bytes(stream_key(0, name)[:8], "little") >> 1)
    return TorchDraws(lambda: generators, CPU)


def drawn(draws: Draws, law: str, size: int = 20_000) -> torch.Tensor:
    match law:
        case "normal":
            return draws.normal((size,))
        case "random":
            return draws.random((size,))
        case "integers":
            return draws.integers(-2, 5, (size,))
        case _:
            return draws.words((size,))


makers = pytest.mark.parametrize("make", [numpy_draws, torch_draws])
Maker = Callable[..., Draws]


@makers
@pytest.mark.parametrize("law", LAWS)
def test_an_images_draws_do_not_depend_on_the_batch(make: Maker, law: str) -> None:
    together = drawn(make("a", "b", "c"), law)
    for index, name in enumerate("abc"):
        torch.testing.assert_close(drawn(make(name), law)[0], together[index], rtol=0, atol=0)
    backwards = drawn(make("c", "b", "a"), law)
    torch.testing.assert_close(backwards.flip(0), together, rtol=0, atol=0)


@makers
def test_normal_draws_are_of_the_law_that_they_claim(make: Maker) -> None:
    draws = drawn(make("a"), "normal")
    assert draws.dtype == torch.float64
    assert stats.kstest(draws[0].numpy(), "norm").pvalue > 1e-3


@makers
def test_uniform_draws_are_of_the_law_that_they_claim(make: Maker) -> None:
    draws = drawn(make("a"), "random")
    assert draws.dtype == torch.float64
    assert draws.min() >= 0
    assert draws.max() < 1
    assert stats.kstest(draws[0].numpy(), "uniform").pvalue > 1e-3


@makers
def test_whole_draws_leave_out_the_upper_end_and_are_equally_likely(make: Maker) -> None:
    draws = drawn(make("a"), "integers")
    assert draws.dtype == torch.int64
    values, counts = np.unique(draws.numpy(), return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2, 3, 4]
    assert stats.chisquare(counts).pvalue > 1e-3


@makers
def test_words_fill_their_31_bits_evenly(make: Maker) -> None:
    words = drawn(make("a"), "words")
    assert words.dtype == torch.int32
    assert words.min() >= 0
    bits = (words.numpy().reshape(-1, 1) >> np.arange(31)) & 1
    # 0.5 plus or minus 4.5 standard errors, for each bit.
    np.testing.assert_allclose(bits.mean(axis=0), 0.5, atol=4.5 * 0.5 / np.sqrt(20_000))
    assert stats.kstest(words[0].numpy() / 2.0**31, "uniform").pvalue > 1e-3


def test_an_odd_number_of_words_is_drawn_as_one_more_would_be() -> None:
    torch.testing.assert_close(numpy_draws("a").words((7,)), numpy_draws("a").words((2, 4)).view(1, 8)[:, :7])


@makers
@pytest.mark.parametrize("law", LAWS)
def test_draws_of_two_images_and_of_two_calls_are_independent(make: Maker, law: str) -> None:
    draws = make("a", "b")
    rows = torch.cat([drawn(draws, law), drawn(draws, law)]).double().numpy()
    correlation = np.corrcoef(rows)[np.triu_indices(4, 1)]
    assert np.abs(correlation).max() < 4 / np.sqrt(20_000)


def test_numpy_makes_the_draws_of_a_cpu_from_the_named_streams() -> None:
    draws = draws_for(7, [("corruption", "fog", 3, "a"), ("corruption", "fog", 3, "b")], CPU)
    assert isinstance(draws, NumpyDraws)
    found = draws.normal((5,))
    for row, name in zip(found, "ab", strict=True):
        expected = random_stream(7, "corruption", "fog", 3, name).standard_normal(5)
        np.testing.assert_array_equal(row.numpy(), expected)


def test_a_row_is_what_single_draws_one_after_another_would_be() -> None:
    # The corruptions draw a whole field at once where the authors draw value after value.
    whole = numpy_draws("a").random((6,))
    draws = numpy_draws("a")
    parts = torch.cat([draws.random((2,)), draws.random((4,))], dim=1)
    torch.testing.assert_close(whole, parts, rtol=0, atol=0)


@pytest.mark.parametrize(
    "name", ["gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "elastic_transform"]
)
def test_corruptions_made_of_torchs_draws_are_those_of_the_same_law(name: str) -> None:
    # On a CPU, the way that another device goes. Forty flat images hold 122,880 values.
    images = torch.full((40, 32, 32, 3), 120, dtype=torch.uint8)
    images[:, 16:] = 60
    names = [str(index) for index in range(40)]
    parameters = SEVERITIES[name]["cifar"][2]
    by_torch = CORRUPTIONS[name](images, parameters, torch_draws(*names))
    by_numpy = CORRUPTIONS[name](images, parameters, numpy_draws(*names))
    assert by_torch.dtype == torch.uint8
    assert (by_torch != by_numpy).any()
    alone = CORRUPTIONS[name](images[7:8], parameters, torch_draws("7"))
    np.testing.assert_array_equal(alone[0].numpy(), by_torch[7].numpy())
    for region in (slice(0, 10), slice(22, 32)):
        ours, theirs = by_torch[:, region].double(), by_numpy[:, region].double()
        error = float(theirs.std()) * (2 / theirs.numel()) ** 0.5
        assert float(ours.mean()) == pytest.approx(float(theirs.mean()), abs=4.5 * error + 0.02)
        # The variance of a variance is (m4 - s^4) / n: few, far specks spread it widely.
        fourth = float(((theirs - theirs.mean()) ** 4).mean()) / float(theirs.var()) ** 2
        spread = float(theirs.std()) * ((fourth - 1) / theirs.numel() / 2) ** 0.5
        assert float(ours.std()) == pytest.approx(float(theirs.std()), abs=4.5 * spread + 0.02)


def test_each_kind_of_device_has_a_stream_of_its_own_name() -> None:
    names = {stream_name(torch.device(kind)) for kind in ("cpu", "cuda", "mps")}
    assert len(names) == 3
    assert stream_name(torch.device("cuda:0")) == stream_name(torch.device("cuda:1"))
