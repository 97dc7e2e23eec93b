"""Published accuracies: the shipped table, and when a figure holds."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from robustbench_safety.files import resource_folder
from robustbench_safety.models import published
from robustbench_safety.models.published import published_accuracy
from robustbench_safety.records import Preprocessing
from robustbench_safety.records.model import Interpolation


def preprocessing(
    side: int,
    resize: int | tuple[int, int] | None,
    interpolation: Interpolation = "bicubic",
    width: int | None = None,
) -> Preprocessing:
    return Preprocessing(
        input_size=(side, width or side),
        resize=resize,
        crop="center",
        interpolation=interpolation,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )


@pytest.mark.parametrize(
    ("side", "resize", "top1"),
    [
        (224, 235, 0.8038),  # floor(224 / 0.95)
        (288, 288, 0.8124),  # the same weights at another size
        (224, (235, 235), 0.8038),  # squashed, as timm writes it out: the table does not tell
        (224, 236, None),
        (224, (235, 236), None),
        (224, 224, None),
        (224, None, None),
        (256, 269, None),
    ],
)
def test_a_figure_holds_for_its_size_and_crop_alone(
    side: int, resize: int | tuple[int, int] | None, top1: float | None
) -> None:
    found = published_accuracy("timm", "resnet50.a1_in1k", preprocessing(side, resize))
    assert found == ({} if top1 is None else {"imagenet-1k": top1})


def test_a_crop_fraction_that_the_table_rounds_is_still_found() -> None:
    # 0.965 stands for 224 / 232 = 0.96552.
    assert published_accuracy("timm", "resnet50.tv2_in1k", preprocessing(224, 232, "bilinear")) == {
        "imagenet-1k": 0.8085
    }


def test_another_interpolation_or_shape_or_name_has_no_figure() -> None:
    right = preprocessing(224, 235)
    assert published_accuracy("timm", "resnet50.a1_in1k", right)
    assert not published_accuracy("timm", "resnet50.a1_in1k", preprocessing(224, 235, "bilinear"))
    assert not published_accuracy("timm", "resnet50.a1_in1k", preprocessing(224, 235, width=240))
    assert not published_accuracy("timm", "resnet50", right)
    assert not published_accuracy("timm", "resnet50.a1_in2k", right)


def test_a_family_without_a_table_has_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    assert published_accuracy("cifar", "resnet20", preprocessing(224, 235)) == {}


def test_the_shipped_table_is_sorted_without_doubles_and_names_its_source() -> None:
    path = resource_folder("data_manifests") / "published" / "timm-imagenet-1k.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    assert any(
        "pytorch-image-models" in line and "Apache-2.0" in line for line in lines if line.startswith("#")
    )
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    keys = [(row["model"], int(row["img_size"])) for row in rows]
    assert keys == sorted(set(keys))
    assert len(rows) > 1500
    assert all(0 < float(row["top1"]) < 1 for row in rows)


@pytest.mark.realdata
def test_the_shipped_table_is_the_published_one_rounded(shared: Path) -> None:
    with (shared / "facts" / "timm" / "results-imagenet.csv").open(encoding="utf-8") as handle:
        theirs = {(row["model"], int(row["img_size"])): row for row in csv.DictReader(handle)}
    ours = {(name, row.img_size): row for name, rows in published._table("timm").items() for row in rows}
    assert ours.keys() == theirs.keys()
    for key, row in ours.items():
        assert abs(row.top1 - float(theirs[key]["top1"]) / 100) < 0.000051
        assert (row.crop_pct, row.interpolation) == (
            float(theirs[key]["crop_pct"]),
            theirs[key]["interpolation"],
        )
