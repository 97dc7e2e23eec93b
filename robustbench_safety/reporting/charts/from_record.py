"""What the charts of one record are drawn of."""

from __future__ import annotations

from collections.abc import Mapping

from robustbench_safety.records import Cell, ConditionScore, ScoreRecord
from robustbench_safety.reporting.charts.shapes import (
    HeatGroup,
    HeatMap,
    HeatRow,
    Histogram,
    Reliability,
    RiskCoverage,
    amount,
)

__all__ = ["heat_maps", "histograms", "is_scaled", "reliabilities", "risk_curves", "words"]

#: The corruptions in the order and the groups of Hendrycks and Dietterich, ICLR 2019, figure 1; the last of
#: each is the one that they publish beside the fifteen.
_GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur"),
    "weather": ("snow", "frost", "fog", "brightness", "spatter"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression", "saturate"),
}
#: What the ids of error rates end in.
_ERROR = "error"
#: Parts of the ids of detection's cells that name a metric, not a set or a detector.
_METRICS = {"auroc", "aupr", "aupr_out", "aupr_in", "fpr", "fpr95", "fpr95_hendrycks", "unknown_aurc"}
#: Detectors that need nothing but the logits; "" is the one that a suite's ids do not name.
_USUAL = ["", "mcm", "msp", "maxlogit", "energy"]
#: Ids of the error on clean images.
_CLEAN = "clean_error"


def words(name: str) -> str:
    """Return an id in words."""
    return name.replace("_", " ")


def heat_maps(record: ScoreRecord) -> list[HeatMap]:
    """Return one heat map for each data set of corrupted images, those with most conditions first.

    A cell over some of another's conditions, as of one group of corruptions, is part of that one's map.
    """
    found: list[HeatMap] = []
    seen: set[tuple[str, str, int]] = set()
    cells = sorted(_error_cells(record), key=lambda cell: -len(cell[1]))  # stable: else in the record's order
    for name, scores in cells:
        keys = {(one.condition.dataset, one.condition.name, one.condition.level) for one in scores}
        if keys <= seen:
            continue
        seen |= keys
        found.append(_heat_map(name, scores, record))
    return found


def _error_cells(record: ScoreRecord) -> list[tuple[str, tuple[ConditionScore, ...]]]:
    return [
        (name, scores)
        for name, scores in record.conditions.items()
        if name.endswith(_ERROR)
        and name in record.scores
        and record.scores[name].unit == "fraction"
        and len(scores) > 1
        and all(one.condition.kind == "corruption" for one in scores)
    ]


def _heat_map(name: str, scores: tuple[ConditionScore, ...], record: ScoreRecord) -> HeatMap:
    levels = tuple(sorted({one.condition.level for one in scores}))
    values = {(one.condition.name, one.condition.level): one.value for one in scores}
    names = list(dict.fromkeys(one.condition.name for one in scores))
    groups = []
    for group, members in _GROUPS.items():
        here = [member for member in members if member in names]
        if here:
            groups.append((group, here))
            names = [one for one in names if one not in here]
    if names:
        groups.append(("", names))
    clean = record.scores.get(_CLEAN)
    return HeatMap(
        cell=name,
        dataset=scores[0].condition.dataset,
        levels=levels,
        groups=tuple(
            HeatGroup(
                name=group,
                rows=tuple(
                    HeatRow(name=one, values=tuple(values.get((one, level)) for level in levels))
                    for one in members
                ),
            )
            for group, members in groups
        ),
        n=max(one.n for one in scores),
        clean=clean.value if clean is not None else None,
    )


def reliabilities(record: ScoreRecord) -> list[Reliability]:
    """Return the bins of each cell that has them: clean images first, those after scaling last."""
    return [
        Reliability(cell=name, title=words(name), bins=bins, measured=_measured(record, name))
        for name, bins in sorted(record.curves.reliability.items(), key=lambda item: _clean_first(item[0]))
    ]


def risk_curves(record: ScoreRecord) -> list[RiskCoverage]:
    """Return the risk-coverage curve of each cell that has one; equal curves are shown once.

    Temperature scaling may change which image is more confident than which, where each half of the images
    has a temperature of its own; often it does not.
    """
    curves: dict[tuple[float, ...], RiskCoverage] = {}
    for name, risks in sorted(record.curves.risk_coverage.items(), key=lambda item: _clean_first(item[0])):
        curves.setdefault(risks, RiskCoverage(cell=name, title=words(name), risks=risks))
    return list(curves.values())


def is_scaled(name: str) -> bool:
    """Tell whether a cell is of logits after temperature scaling."""
    return name.endswith("_scaled")


def _clean_first(name: str) -> tuple[bool, bool, str]:
    return is_scaled(name), not name.startswith("clean"), name


def _measured(record: ScoreRecord, name: str) -> str:
    score = record.scores.get(name)
    if score is None or score.value is None:
        return ""
    return f"{words(name)[:1].upper()}{words(name)[1:]}: {amount(score.value, score.unit)}."


def histograms(record: ScoreRecord, cells: Mapping[str, Cell] | None = None) -> list[Histogram]:
    """Return the scores of each detector on each OOD set, once, though several metrics are taken of them.

    Args:
        record: The record.
        cells: The suite's, by id, where the suite is known: they say which detector a cell is of.
    """
    known = cells or {}
    groups: dict[tuple[object, ...], list[str]] = {}
    for name, shape in record.curves.ood_histogram.items():
        groups.setdefault((_dataset(record, name), shape), []).append(name)
    found = []
    for (dataset, _), names in groups.items():
        # The name that says least beside set and detector is the shortest.
        names.sort(key=lambda name: (not _is_auroc(name, known), len(name), name))
        first = names[0]
        (low, high), inside, outside = record.curves.ood_histogram[first]
        score = record.scores.get(first)
        found.append(
            Histogram(
                cell=first,
                dataset=str(dataset),
                detector=_detector(first, known),
                low=low,
                high=high,
                inside=inside,
                outside=outside,
                auroc=score.value if score is not None and _is_auroc(first, known) else None,
            )
        )
    return sorted(found, key=lambda one: _place(one, known))


def _place(one: Histogram, known: Mapping[str, Cell]) -> tuple[int, str, str]:
    """Order by detector as the suite has them, else the usual ones first, then by set."""
    detectors = list(dict.fromkeys(cell.detector for cell in known.values() if cell.detector)) or _USUAL
    rank = detectors.index(one.detector) if one.detector in detectors else len(detectors)
    return rank, one.detector, one.dataset


def _dataset(record: ScoreRecord, name: str) -> str:
    scores = record.conditions.get(name)
    return scores[0].condition.dataset if scores else name


def _is_auroc(name: str, known: Mapping[str, Cell]) -> bool:
    return known[name].metric == "auroc" if name in known else name.split("_")[-1] == "auroc"


def _detector(name: str, known: Mapping[str, Cell]) -> str:
    if name in known:
        return known[name].detector or ""
    # Of a suite that is not shipped: <set>_<detector>_<metric>, or <set>_<metric> for the usual detector.
    for metric in sorted(_METRICS, key=len, reverse=True):
        if name.endswith(f"_{metric}"):
            return words("_".join(name.removesuffix(f"_{metric}").split("_")[1:]))
    return ""
