"""Whether two records may be compared at all, and what a reader has to know where they may."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from robustbench_safety.errors import IncompatiblePredictionsError
from robustbench_safety.files import differences, digest_of
from robustbench_safety.records import ModelSpec, ScoreRecord
from robustbench_safety.reporting.gate.sides import Side

__all__ = ["notes_of", "refuse_incomparable", "refuse_nulls"]

#: Of a digest, in messages.
_SHOWN = 12
#: Fields of the environment that move a prediction by rounding alone, and so make two records no less
#: comparable.
_ROUNDING = ("precision", "tf32", "compiled", "device", "batch_size", "decoder")


def refuse_incomparable(baseline: Side, candidate: Side, *, allow_preprocessing_change: bool) -> None:
    """Refuse two records that were not measured alike.

    Args:
        baseline: Against which is compared.
        candidate: Which is compared.
        allow_preprocessing_change: Whether the models may look at the images in different ways.

    Raises:
        IncompatiblePredictionsError: Suite, seed, limit, data or preprocessing differ; the first of them.
    """
    first, second = baseline.record, candidate.record
    for what, one, other, fix in (
        ("suite", first.suite.name, second.suite.name, "compare two records of one suite"),
        ("suite version", str(first.suite.version), str(second.suite.version), _RESCORE),
        ("suite digest", first.suite.digest, second.suite.digest, f"{_RESCORE}: a manifest or table differs"),
        # A record that somebody sent may leave out a column that it is bad in.
        ("columns", ", ".join(first.columns), ", ".join(second.columns), _RESCORE),
        ("columns beside", ", ".join(first.beside), ", ".join(second.beside), _RESCORE),
        ("units of the columns", _units(first), _units(second), _RESCORE),
        ("seed", str(first.seed), str(second.seed), "score both with one seed: it makes the attacks"),
        ("limit", _limit(first), _limit(second), "score both with the same --limit"),
    ):
        if one != other:
            raise _differ(what, baseline, candidate, one, other, fix)
    for path, digest in first.data_digests.items():
        if (other := second.data_digests.get(path, digest)) != digest:
            covered = [path in record.without_images for record in (first, second)]
            fix = "score both on the same files: `rbs data verify` tells which are changed"
            if covered[0] != covered[1]:
                fix = "one was made from ids and labels alone: score both with the images at hand"
            raise _differ(f"data digest of {path}", baseline, candidate, digest, other, fix)
    shown = [_preprocessing(record.model) for record in (first, second)]
    if shown[0] != shown[1] and not allow_preprocessing_change:
        one, other = _changed_fields(shown)
        fix = "score the candidate as the baseline, or accept that this moves the numbers with "
        fix += "--allow-preprocessing-change"
        raise _differ("preprocessing", baseline, candidate, one, other, fix)


_RESCORE = "score both, or `rbs rescore` both, with one version of this package"


def refuse_nulls(baseline: Side, candidate: Side, columns: Iterable[str]) -> None:
    """Refuse a column that one record has a value of and the other has not: that is never a pass.

    Raises:
        IncompatiblePredictionsError: There is such a column.
    """
    for column in columns:
        both = [side.record.scores[column] for side in (baseline, candidate)]
        if (both[0].value is None) != (both[1].value is None):
            lacks, reason = next(
                (side, one.reason)
                for side, one in zip((baseline, candidate), both, strict=True)
                if one.value is None
            )
            raise IncompatiblePredictionsError(
                f"not comparable: column {column} has no value in the {lacks.role} "
                f"{lacks.record.display_name[:80]!r}",
                expected="a value in both records, or in neither",
                found=str(reason),
                fix="score both on all that the column is made of",
            )


def notes_of(baseline: Side, candidate: Side) -> list[str]:
    """Return what a reader has to know of the comparison, beside the columns themselves."""
    first, second = baseline.record, candidate.record
    notes = []
    if digest_of(first.digested_fields()) == digest_of(second.digested_fields()):
        notes.append("both are one and the same record")
    shown = [_preprocessing(record.model) for record in (first, second)]
    if shown[0] != shown[1]:
        before, after = _changed_fields(shown)
        notes.append(f"other preprocessing: {before} ({baseline.role}), {after} ({candidate.role})")
    for name in _ROUNDING:
        one, other = (str(getattr(record.environment, name)) for record in (first, second))
        known = first.environment.known and second.environment.known
        if one != other and known:
            notes.append(f"other {name}: {one} ({baseline.role}), {other} ({candidate.role})")
    for side in (baseline, candidate):
        record = side.record
        if record.status == "partial":
            notes.append(f"the {side.role} is partial: {'; '.join(record.partial_because)}")
        elif record.kind != "verified":
            notes.append(f"the {side.role} is {record.kind}: its numbers can be forged")
        for path, warnings in record.attack_warnings.items():
            notes.extend(f"the {side.role}, {path}: {warning}" for warning in warnings)
    return notes


def _units(record: ScoreRecord) -> str:
    scores = {name: record.scores[name] for name in (*record.columns, *record.beside)}
    return ", ".join(f"{name} {score.unit} {score.direction}" for name, score in scores.items())


def _limit(record: ScoreRecord) -> str:
    return "all images" if record.limit is None else f"the first {record.limit} of each dataset"


def _preprocessing(model: ModelSpec) -> list[object]:
    """Return what is done to the images before the network sees them, an ensemble's members included."""
    return [one.preprocessing.model_dump(mode="json") for one in (model, *model.members)]


def _changed_fields(shown: Sequence[list[object]]) -> tuple[str, str]:
    """Return the fields that differ, as each side has them."""
    one, other = ({str(i): fields for i, fields in enumerate(side)} for side in shown)
    changed = list(differences(one, other))
    names = [name.partition(".")[2] or "models in the ensemble" for name, _, _ in changed]
    values = [[row[place] for row in changed] for place in (1, 2)]
    before, after = (
        ", ".join(f"{name} {value}" for name, value in zip(names, own, strict=True)) for own in values
    )
    return before, after


def _differ(
    what: str, baseline: Side, candidate: Side, one: str, other: str, fix: str
) -> IncompatiblePredictionsError:
    return IncompatiblePredictionsError(
        f"not comparable: other {what}",
        expected=f"{_cut(one)}, as in the {baseline.role} {baseline.record.display_name[:80]!r}",
        found=f"{_cut(other)} in the {candidate.role} {candidate.record.display_name[:80]!r}",
        fix=fix,
    )


def _cut(text: str) -> str:
    return text[:_SHOWN] if len(text) == 64 and text.isalnum() else text
