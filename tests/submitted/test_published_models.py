"""Every published model of ImageNet-V2 and CIFAR-10.1: its accuracies, and its distance from one reference.

Each model's top-1 classes are handed in as a file and scored; pairs are made of the companions, as they lie
beside two records. A few models that are far from each other are taken always; all with RBS_LONG=1
(``make golden``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from robustbench_safety.companion import read_companion, write_companion
from robustbench_safety.evaluation import score
from robustbench_safety.labels import load_label_space
from robustbench_safety.pairing import paired_error_difference
from robustbench_safety.records import Aggregate, Cell, ScoreRecord, Suite
from tests.long_checks import LONG

#: By the names of the published file.
IMAGENET_SETS = {
    "val": "imagenet-1k",
    "v2_matched_frequency": "imagenet-v2-matched-frequency",
    "v2_threshold07": "imagenet-v2-threshold-0.7",
    "v2_top_images": "imagenet-v2-top-images",
}
CIFAR_SETS = {"original": "cifar-10", "v4": "cifar-10.1-v4", "v6": "cifar-10.1-v6"}

IMAGENET_MODELS = (
    "alexnet", "bninception", "cafferesnet101", "densenet121", "densenet161", "densenet169",
    "densenet201", "dpn107", "dpn131", "dpn68", "dpn68b", "dpn92", "dpn98", "fbresnet152", "fv_16k",
    "fv_4k", "fv_64k", "inception_resnet_v2_tf", "inception_v1_tf", "inception_v2_tf", "inception_v3",
    "inception_v3_tf", "inception_v4_tf", "inceptionresnetv2", "inceptionv3", "inceptionv4",
    "mobilenet_v1_tf", "nasnet_large_tf", "nasnet_mobile_tf", "nasnetalarge", "nasnetamobile",
    "pnasnet5large", "pnasnet_large_tf", "pnasnet_mobile_tf", "polynet", "resnet101", "resnet152",
    "resnet18", "resnet34", "resnet50", "resnet_v1_101_tf", "resnet_v1_152_tf", "resnet_v1_50_tf",
    "resnet_v2_101_tf", "resnet_v2_152_tf", "resnet_v2_50_tf", "resnext101_32x4d", "resnext101_64x4d",
    "se_resnet101", "se_resnet152", "se_resnet50", "se_resnext101_32x4d", "se_resnext50_32x4d",
    "senet154", "squeezenet1_0", "squeezenet1_1", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16",
    "vgg16_bn", "vgg19", "vgg19_bn", "vgg_16_tf", "vgg_19_tf", "xception",
)  # fmt: skip
CIFAR_MODELS = (
    "alexnet_tf_ben", "cudaconvnet", "darc", "densenet_BC_100_12", "nas", "pyramidnet_basic_110_270",
    "pyramidnet_basic_110_84", "random_features_256k_aug", "random_features_256k_no_aug",
    "random_features_32k_aug", "random_features_32k_no_aug", "resnet_basic_110", "resnet_basic_32",
    "resnet_basic_44", "resnet_basic_56", "resnet_preact_basic_110", "resnet_preact_bottleneck_164",
    "resnetv2_tf", "resnext_29_4x64d", "resnext_29_8x64d", "shake_drop", "shake_shake_26_2x32d_SSI",
    "shake_shake_26_2x64d_SSI", "shake_shake_26_2x64d_SSI_cutout16", "shake_shake_26_2x96d_SSI",
    "vgg16_keras", "vgg_15_BN_64", "wide_resnet_tf", "wrn_28_10", "wrn_28_10_cutout16",
)  # fmt: skip
REFERENCE = {"imagenet": "resnet50", "cifar": "wrn_28_10"}
#: Error on the first set from the highest to the lowest.
FEW_IMAGENET = ("fv_64k", "alexnet", "densenet121", "resnet50", "inceptionv4", "pnasnet5large")
FEW_CIFAR = (
    "random_features_32k_no_aug",
    "cudaconvnet",
    "resnet_basic_32",
    "darc",
    "wrn_28_10",
    "shake_shake_26_2x64d_SSI_cutout16",
)
IMAGENET = IMAGENET_MODELS if LONG else FEW_IMAGENET
CIFAR = CIFAR_MODELS if LONG else FEW_CIFAR


@dataclass(frozen=True)
class Scored:
    """A model's record, and what lies beside it."""

    record: ScoreRecord
    companion_path: Path


class Published:
    """Published models on several sets; each is handed in and scored once.

    Args:
        folder: For the files.
        space: Name of the label space.
        sets: Our dataset of each of theirs, the clean one first.
        content: Their arrays.
        labels: Of each set.
        ids: Of each set's images.
    """

    def __init__(
        self,
        folder: Path,
        *,
        space: str,
        sets: Mapping[str, str],
        content: Mapping[str, NDArray[np.integer]],
        labels: Mapping[str, NDArray[np.integer]],
        ids: Mapping[str, list[str]],
    ) -> None:
        self._folder, self._content, self._labels, self._ids = folder, content, labels, ids
        self.sets = sets
        self._keys = np.array(load_label_space(space).classes)
        self._done: dict[str, Scored] = {}
        cells = {
            part: Cell(id=f"error_{part}", dataset=name, metric="error_rate") for part, name in sets.items()
        }
        clean, *shifted = sets
        drops = [
            Aggregate(id=f"drop_{part}", of=(cells[part].id, cells[clean].id), reduce="difference")
            for part in shifted
        ]
        self._suite = Suite(
            name="published",
            version=1,
            title="Published models",
            label_space=space,
            seed=0,
            cells=tuple(cells.values()),
            aggregates=tuple(drops),
            columns=tuple(cell.id for cell in cells.values()),
        )

    def wrong(self, model: str, part: str) -> NDArray[np.bool_]:
        """Return which images a model gets wrong, by the published arrays alone."""
        return np.asarray(self._predicted(model, part) != self._labels[part])

    def scored(self, model: str) -> Scored:
        """Return the record of a model, made when it is first asked for."""
        if model not in self._done:
            self._done[model] = self._score(model)
        return self._done[model]

    def _predicted(self, model: str, part: str) -> NDArray[np.integer]:
        # Two models stand under another name on one of the sets.
        name = f"{model}/{part}"
        return self._content[name if name in self._content else f"{model}_model/{part}"]

    def _score(self, model: str) -> Scored:
        tables = []
        for part, name in self.sets.items():
            labels, ids = self._keys[self._labels[part]], self._ids[part]
            columns = {"sample_id": ids, "condition": [f"{name}/clean/clean-0"] * len(ids)}
            columns |= {"label": labels.tolist(), "top1": self._keys[self._predicted(model, part)].tolist()}
            tables.append(pa.table(columns))
        path = self._folder / f"{model}.parquet"
        pq.write_table(pa.concat_tables(tables), path)
        done = score(
            f"predictions:{path}",
            suite=self._suite,
            data=self._folder / "no-images",
            predictions=self._folder / "runs",
        )
        companion_path = self._folder / f"{model}-companion.parquet"
        write_companion(companion_path, done.companion)
        return Scored(done.record, companion_path)


@pytest.fixture(scope="module")
def imagenet(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    with np.load(shared / "data/predictions/imagenetv2/predictions_top1.npz") as content:
        labels = {part: content[f"labels/{part}"] for part in IMAGENET_SETS}
        ids = {part: [f"{key}/{i:05d}" for i, key in enumerate(of.tolist())] for part, of in labels.items()}
        ids["val"] = [f"ILSVRC2012_val_{i:08d}" for i in content["val_image_number"].tolist()]
        yield Published(
            tmp_path_factory.mktemp("imagenet"),
            space="imagenet-1k",
            sets=IMAGENET_SETS,
            content=content,
            labels=labels,
            ids=ids,
        )


@pytest.fixture(scope="module")
def cifar(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    with (
        np.load(shared / "data/predictions/cifar10.1/predictions.npz") as content,
        np.load(shared / "data/cifar10/test_labels.npz") as original,
    ):
        labels = {"original": original["labels"]} | {part: content[f"labels_{part}"] for part in ("v4", "v6")}
        yield Published(
            tmp_path_factory.mktemp("cifar"),
            space="cifar-10",
            sets=CIFAR_SETS,
            content=content,
            labels=labels,
            ids={part: [f"{i:05d}" for i in range(len(of))] for part, of in labels.items()},
        )


@pytest.fixture(scope="module")
def stated(shared: Path) -> dict[str, dict[str, float]]:
    """The published top-1 accuracies in percent, by model and set."""
    path = shared / "data/predictions/imagenetv2/accuracy_top1_top5.json"
    out: dict[str, dict[str, float]] = {}
    for model, sets in json.loads(path.read_text()).items():
        name = model.removesuffix("_model")
        out.setdefault(name, {}).update({part: top1 for part, (top1, _) in sets.items()})
    return out


def _value(record: ScoreRecord, name: str) -> float:
    value = record.scores[name].value
    assert value is not None
    return value


@pytest.mark.realdata
def test_every_published_model_is_known_here_and_has_an_accuracy_on_every_set(
    shared: Path, stated: dict[str, dict[str, float]]
) -> None:
    folder = shared / "data" / "predictions"
    for path, models, sets in (
        (folder / "imagenetv2/predictions_top1.npz", IMAGENET_MODELS, IMAGENET_SETS),
        (folder / "cifar10.1/predictions.npz", CIFAR_MODELS, CIFAR_SETS),
    ):
        with np.load(path) as content:
            there = {name for name in content.files if "/" in name and not name.startswith("labels/")}
        assert {name.replace("_model/", "/") for name in there} == {f"{m}/{s}" for m in models for s in sets}
    assert len(IMAGENET_MODELS) == 67
    assert len(CIFAR_MODELS) == 30
    missing = {(model, part) for model in IMAGENET_MODELS for part in IMAGENET_SETS} - {
        (model, part) for model, sets in stated.items() for part in sets
    }
    assert not missing


@pytest.mark.realdata
@pytest.mark.parametrize("model", IMAGENET)
def test_an_imagenet_model_has_its_published_accuracies(
    imagenet: Published, stated: dict[str, dict[str, float]], model: str
) -> None:
    record = imagenet.scored(model).record
    for part in IMAGENET_SETS:
        # As they are stated: percent with two digits.
        assert round(100 * (1 - _value(record, f"error_{part}")), 2) == stated[model][part]
        assert record.scores[f"error_{part}"].n == (50_000 if part == "val" else 10_000)
    for part in list(IMAGENET_SETS)[1:]:
        drop = stated[model]["val"] - stated[model][part]
        # A tie of the third digit may go either way in each of the two.
        assert 100 * _value(record, f"drop_{part}") == pytest.approx(drop, abs=0.0051)


@pytest.mark.realdata
@pytest.mark.parametrize("model", CIFAR)
def test_a_cifar_model_has_the_accuracies_of_its_published_classes(cifar: Published, model: str) -> None:
    record = cifar.scored(model).record
    for part, n in (("original", 10_000), ("v4", 2021), ("v6", 2000)):
        wrong = cifar.wrong(model, part)
        assert record.scores[f"error_{part}"].n == len(wrong) == n
        assert _value(record, f"error_{part}") == pytest.approx(np.count_nonzero(wrong) / n, abs=1e-10)
    # As they are stated: percent with two digits.
    for part, accuracy in (("original", 95.93), ("v4", 89.71), ("v6", 90.15)) if model == "wrn_28_10" else ():
        assert round(100 * (1 - _value(record, f"error_{part}")), 2) == accuracy


@pytest.mark.realdata
@pytest.mark.parametrize("model", CIFAR)
def test_the_drop_to_other_images_has_the_interval_of_two_independent_samples(
    cifar: Published, model: str
) -> None:
    # CIFAR-10.1 counts its images from 00000 as CIFAR-10 does, and has other ones. Newcombe's interval is
    # made of two Wilson intervals, here scipy's: the ends' distances from the rates, squared and added.
    record = cifar.scored(model).record
    ends = {}
    for part in CIFAR_SETS:
        wrong = cifar.wrong(model, part)
        interval = binomtest(int(wrong.sum()), len(wrong)).proportion_ci(method="wilson")
        ends[part] = (interval.low, float(wrong.mean()), interval.high)
    low, clean, high = ends["original"]
    for part in ("v4", "v6"):
        shifted_low, shifted, shifted_high = ends[part]
        drop = record.scores[f"drop_{part}"]
        assert _value(record, f"drop_{part}") == pytest.approx(shifted - clean, abs=1e-9)
        assert drop.interval is not None
        assert drop.interval.method == "square-and-add of wilson and wilson"
        down = math.hypot(shifted - shifted_low, high - clean)
        up = math.hypot(shifted_high - shifted, clean - low)
        assert drop.interval.low == pytest.approx(shifted - clean - down, abs=1e-6)
        assert drop.interval.high == pytest.approx(shifted - clean + up, abs=1e-6)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("benchmark", "model"),
    [("imagenet", name) for name in IMAGENET if name != REFERENCE["imagenet"]]
    + [("cifar", name) for name in CIFAR if name != REFERENCE["cifar"]],
)
def test_two_companions_give_the_paired_interval_of_the_difference(
    request: pytest.FixtureRequest, benchmark: str, model: str
) -> None:
    published: Published = request.getfixturevalue(benchmark)
    mine, other = (published.scored(name) for name in (model, REFERENCE[benchmark]))
    first, second = (
        read_companion(one.companion_path, digest=one.record.companion_digest) for one in (mine, other)
    )
    for part, dataset in published.sets.items():
        found = paired_error_difference(first, second, f"{dataset}/clean/clean-0", seed=0)
        a, b = published.wrong(model, part), published.wrong(REFERENCE[benchmark], part)
        n, n10, n01 = len(a), int((a & ~b).sum()), int((b & ~a).sum())
        counted = (n10 - n01) / n
        assert found.difference == pytest.approx(counted, abs=1e-12)
        assert found.interval.low < counted < found.interval.high
        # McNemar: the variance of the difference from the images that tell the two apart.
        width = 2 * 1.959964 * math.sqrt(n10 + n01 - (n10 - n01) ** 2 / n) / n
        assert found.interval.high - found.interval.low == pytest.approx(width, rel=0.1)


@pytest.mark.realdata
def test_densenet121_and_resnet50_overlap_apart_and_differ_paired(imagenet: Published) -> None:
    # On ImageNet-V2, matched frequency: 37.79 and 36.67 % wrong, each known to one point.
    path = f"{IMAGENET_SETS['v2_matched_frequency']}/clean/clean-0"
    densenet, resnet = imagenet.scored("densenet121"), imagenet.scored("resnet50")
    apart = [one.record.scores["error_v2_matched_frequency"].interval for one in (densenet, resnet)]
    assert apart[0] is not None
    assert apart[1] is not None
    assert apart[1].low < apart[0].low < apart[1].high < apart[0].high
    first, second = (read_companion(one.companion_path) for one in (densenet, resnet))
    paired = paired_error_difference(first, second, path, seed=0)
    assert paired.difference == pytest.approx(0.0112)
    assert paired.interval.low > 0
