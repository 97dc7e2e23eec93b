"""The best-known rule: a network is as robust as the strongest attack leaves it, whoever made that.

One attack's error is a lower bound of the true one. Where another attack of the same or a smaller reach has
found more, in another suite's record or in somebody else's work, the row counts with that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from robustbench_safety.files import digest_of
from robustbench_safety.metrics import wilson_interval
from robustbench_safety.records import (
    Condition,
    KnownAttack,
    ModelSpec,
    ReportedTable,
    ScoreRecord,
    Suite,
    pixel_fraction,
)
from robustbench_safety.reporting.columns import adversarial_cells

__all__ = ["BestKnown", "FoundError", "best_known", "errors_found", "reported_errors", "strongest_found"]


@dataclass(frozen=True, kw_only=True)
class BestKnown:
    """The largest error that an attack has reached."""

    value: float
    """Error, a fraction."""
    low: float
    high: float
    """Ends of its 95 % interval."""
    source: str
    """Which attack, and who says so."""


@dataclass(frozen=True, kw_only=True)
class FoundError:
    """What one attack found of one network on one set of images."""

    network: str
    """Digest of the weights; with the preprocessing where a record says it."""
    dataset: str
    images: str
    """Data digest of the attacked images."""
    n: int
    """How many of them were attacked."""
    norm: str
    reach: float
    """How far from the image it may end, in its norm; a share of the pixel range."""
    best: BestKnown


def errors_found(record: ScoreRecord, suite: Suite) -> dict[str, FoundError]:
    """Return what a record says of each attack, by column and cell.

    Args:
        record: Of a network that was scored on ``suite``.
        suite: Says with which settings.
    """
    found = {}
    for name, cell in adversarial_cells(suite).items():
        score = record.scores.get(cell.id)
        if cell.attack is None or score is None or score.value is None or score.interval is None:
            continue
        attack = cell.attack.condition_name(suite.seed)
        path = Condition(dataset=cell.dataset, kind="attack", name=attack, level=0).path
        if path not in record.data_digests:
            continue  # of another seed
        found[name] = FoundError(
            network=_network(record.model),
            dataset=cell.dataset,
            images=record.data_digests[path],
            n=score.n,
            norm=cell.attack.norm,
            reach=cell.attack.reach,
            best=BestKnown(
                value=score.value,
                low=score.interval.low,
                high=score.interval.high,
                source=f"{attack} in {record.suite.name}",
            ),
        )
    return found


def reported_errors(tables: Iterable[ReportedTable]) -> list[tuple[KnownAttack, BestKnown]]:
    """Return the attacks that others have reported."""
    out = []
    for table in tables:
        for attack in table.attacks:
            interval = wilson_interval(round(attack.error * attack.n), attack.n)
            source = f"{attack.source} ({attack.certainty})"
            best = BestKnown(value=attack.error, low=interval.low, high=interval.high, source=source)
            out.append((attack, best))
    return out


def strongest_found(found: Iterable[FoundError]) -> dict[str, list[FoundError]]:
    """Return by network the largest error of each reach, norm and set of images; of equal ones the first.

    What a network of thousands is held against is then a few attacks, and not those of all others.
    """
    strongest: dict[tuple[str, str, int, str, float], FoundError] = {}
    for one in found:
        key = (one.network, one.images, one.n, one.norm, one.reach)
        if key not in strongest or one.best.value > strongest[key].best.value:
            strongest[key] = one
    by_network: dict[str, list[FoundError]] = {}
    for one in strongest.values():
        by_network.setdefault(one.network, []).append(one)
    return by_network


def best_known(
    own: Mapping[str, FoundError],
    found: Iterable[FoundError],
    reported: Iterable[tuple[KnownAttack, BestKnown]],
    record: ScoreRecord,
) -> dict[str, BestKnown]:
    """Return, by column, what is known to be worse than the row's own number.

    Args:
        own: What the row's record says, by column.
        found: What verified records of any suite say.
        reported: What others have reported.
        record: The row's.
    """
    out = {}
    found, reported = list(found), list(reported)
    for column in (*record.columns, *record.beside):
        if column not in own:
            continue
        mine = own[column]
        rivals = [other.best for other in found if _same(other, mine) and other.reach <= mine.reach]
        rivals += [
            best
            for attack, best in reported
            if (attack.weights_digest, attack.dataset, attack.n, attack.norm)
            == (record.model.weights_digest, mine.dataset, mine.n, mine.norm)
            and attack.certainty == "verified"
            and pixel_fraction(attack.eps) <= mine.reach
        ]
        strongest = max(rivals, key=lambda rival: rival.value, default=mine.best)
        if strongest.value > mine.best.value:
            out[column] = strongest
    return out


def _same(one: FoundError, other: FoundError) -> bool:
    """Tell whether two attacks were made on the same network, images and kind of distance."""
    return all(getattr(one, name) == getattr(other, name) for name in ("network", "images", "n", "norm"))


def _network(model: ModelSpec) -> str:
    return digest_of({
        "weights": model.weights_digest,
        "code": model.code_digest,
        "preprocessing": digest_of(model.preprocessing),
    })  # fmt: skip
