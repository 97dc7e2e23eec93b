"""What the charts of a record show is what the record says."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_safety.files import read_json
from robustbench_safety.records import ScoreRecord
from robustbench_safety.reporting.charts.from_record import (
    heat_maps,
    histograms,
    reliabilities,
    risk_curves,
)
from robustbench_safety.suites import load_suite

RECORDS = Path(__file__).parents[3] / "leaderboard" / "records"


def one(suite: str, slug: str) -> ScoreRecord:
    (path,) = (RECORDS / suite).glob(f"{slug}--*.json")
    return read_json(path, ScoreRecord)


@pytest.fixture(scope="module")
def record() -> ScoreRecord:
    return one("cifar10-safety-generated", "resnet-4b-pgd")


def test_the_heat_map_has_the_fifteen_in_the_papers_order_and_every_number(record: ScoreRecord) -> None:
    (heat,) = heat_maps(record)  # the cells of the four groups are parts of it
    assert (heat.cell, heat.dataset, heat.levels, heat.n) == (
        "c_error", "cifar-10-c-generated", (1, 2, 3, 4, 5), 10_000,
    )  # fmt: skip
    assert [(group.name, [row.name for row in group.rows]) for group in heat.groups] == [
        ("noise", ["gaussian_noise", "shot_noise", "impulse_noise"]),
        ("blur", ["defocus_blur", "glass_blur", "motion_blur", "zoom_blur"]),
        ("weather", ["snow", "frost", "fog", "brightness"]),
        ("digital", ["contrast", "elastic_transform", "pixelate", "jpeg_compression"]),
    ]
    shown = {
        (row.name, level): value
        for group in heat.groups
        for row in group.rows
        for level, value in zip(heat.levels, row.values, strict=True)
    }
    measured = {(c.condition.name, c.condition.level): c.value for c in record.conditions["c_error"]}
    assert shown == measured
    assert heat.clean == record.scores["clean_error"].value


def test_corruptions_of_no_known_group_stand_in_a_group_without_name(record: ScoreRecord) -> None:
    renamed = tuple(
        c.model_copy(update={"condition": c.condition.model_copy(update={"name": f"x{c.condition.name}"})})
        for c in record.conditions["c_error"]
    )
    (heat,) = heat_maps(record.model_copy(update={"conditions": {"c_error": renamed}}))
    assert [group.name for group in heat.groups] == [""]
    assert len(heat.groups[0].rows) == 15


def test_a_histogram_is_shown_once_a_set_and_detector(record: ScoreRecord) -> None:
    cells = {cell.id: cell for cell in load_suite(record.suite.name).cells}
    assert len(record.curves.ood_histogram) == 15
    found = histograms(record, cells)
    assert [(h.detector, h.dataset) for h in found] == [
        (detector, dataset)
        for detector in ("msp", "maxlogit", "energy")
        for dataset in ("blobs", "gaussian-noise", "rademacher-noise")
    ]
    for histogram in found:
        assert histogram.auroc == record.scores[histogram.cell].value
        assert sum(histogram.inside) == 10_000


def test_without_the_suite_the_detector_is_told_from_the_id(record: ScoreRecord) -> None:
    found = {(h.dataset, h.detector, h.auroc) for h in histograms(record)}
    assert ("blobs", "energy", record.scores["blobs_energy_auroc"].value) in found
    assert ("blobs", "", record.scores["blobs_auroc"].value) in found
    assert len(found) == 9
    order = [h.detector for h in histograms(record)]
    assert list(dict.fromkeys(order)) == ["", "maxlogit", "energy"]


def test_curves_after_temperature_scaling_come_last(record: ScoreRecord) -> None:
    assert [shape.cell for shape in reliabilities(record)] == ["clean_rms", "clean_rms_scaled"]
    first = risk_curves(record)[0]
    assert first.cell == "clean_rms"
    assert first.risks == record.curves.risk_coverage["clean_rms"]
    # The last point of the curve is the error on all images.
    assert first.risks[-1] == pytest.approx(record.scores["clean_error"].value)


def test_a_record_without_corruptions_and_unknowns_has_fewer_charts() -> None:
    clean = one("cifar10-clean", "cifar-resnet20")
    assert heat_maps(clean) == []
    assert histograms(clean) == []
    assert len(reliabilities(clean)) == 1
