"""Whether a record fits among the others: no second row of one model, no row that hides a better one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from robustbench_safety.files import digest_of
from robustbench_safety.records import ModelSpec, ScoreRecord
from robustbench_safety.reporting.checking.findings import Finding
from robustbench_safety.reporting.filing import Filed

__all__ = ["answers_by", "check_board", "check_data_digests", "check_supersession", "same_row", "superseded"]

#: Which row may take another's place: none of less standing than it has.
_STANDING: dict[str, int] = {
    "reported": 0,
    "partial": 0,
    "self-reported": 1,
    "recomputed": 2,
    "verified": 3,
}
#: Of a model: how it was handed in, and what is said or counted of it, but not what it answers by.
_BESIDE_THE_ANSWERS = (
    "checkpoint",
    "probe",
    "training_data",
    "trained_on",
    "augmentations",
    "trusted",
    "flops",
    "features",
)


def same_row(record: ScoreRecord) -> str:
    """Return what two records of one row share: the suite, and everything that the network answers by."""
    environment = record.environment
    return digest_of({
        "suite": record.suite.model_dump(mode="json"),
        "model": answers_by(record.model),
        "precision": [environment.precision, environment.tf32],
        "limit": record.limit,
        "seed": record.seed,
        # A partial row stands beside the whole one until somebody takes it away.
        "status": record.status,
    })  # fmt: skip


def answers_by(model: ModelSpec) -> dict[str, object]:
    """Return the fields of a model that make its answers: weights, preprocessing, code, prompts, classes."""
    fields = model.model_dump(mode="json", exclude=set(_BESIDE_THE_ANSWERS))
    if model.probe is not None:
        fields["probe"] = model.probe.sha256
    if model.members:
        fields["members"] = [answers_by(member) for member in model.members]
    return fields


def superseded(filed: Sequence[Filed]) -> set[str]:
    """Return the digests that a record supersedes."""
    return {one.record.supersedes for one in filed if one.record.supersedes}


def check_board(filed: Sequence[Filed]) -> Iterator[tuple[Filed, Finding]]:
    """Yield what is wrong among the records of a leaderboard, each with the record at fault."""
    by_digest = {one.digest: one for one in filed}
    for one in filed:
        for finding in check_supersession(one, by_digest, filed):
            yield one, finding
    gone = superseded(filed)
    rows: dict[str, Filed] = {}
    for one in filed:
        if one.digest in gone:
            continue
        first = rows.setdefault(same_row(one.record), one)
        if first is not one:
            yield (
                one,
                Finding(
                    what="the same model on the same suite has a row already",
                    expected="one row, or one that supersedes the other",
                    found=str(first.path),
                    fix="remove one of the two, or file the newer with --supersedes",
                ),
            )
    seen: dict[tuple[object, ...], tuple[Filed, str]] = {}
    for one in filed:
        for path, digest in _comparable_digests(one.record).items():
            key = (one.record.suite.digest, one.record.limit, one.record.seed, path)
            first, other = seen.setdefault(key, (one, digest))
            if other != digest:
                yield one, _other_data(path, digest, other, first)
                break


def check_supersession(one: Filed, by_digest: dict[str, Filed], filed: Sequence[Filed]) -> Iterator[Finding]:
    """Yield what is wrong with the record that one names as superseded."""
    target = one.record.supersedes
    if target is None:
        return
    if target not in by_digest:
        yield Finding(
            what="supersedes",
            expected="the digest of a record on this leaderboard",
            found=target,
            fix="keep superseded records: they are history",
        )
        return
    old = by_digest[target].record
    if old.suite.name != one.record.suite.name:
        yield Finding(
            what="supersedes", expected=f"a record of {one.record.suite.name}", found=old.suite.name
        )
    if one.record.slug != old.slug and one.record.model.weights_digest != old.model.weights_digest:
        yield Finding(
            what="supersedes",
            expected="a record of the same model, by its name or its weights",
            found=f"{by_digest[target].path}, of {old.slug}",
            fix="no row takes the place of another network's",
        )
    if _STANDING[one.record.kind] < _STANDING[old.kind]:
        yield Finding(
            what="supersedes",
            expected=f"a record of no more standing than one that is {one.record.kind}",
            found=f"{by_digest[target].path}, which is {old.kind}",
            fix="have the new one audited first",
        )
    rivals = [other.path.name for other in filed if other.record.supersedes == target]
    if len(rivals) > 1:
        yield Finding(
            what="supersedes",
            expected="one record in the place of another",
            found=f"{', '.join(sorted(rivals)[:3])} in the place of {by_digest[target].path.name}",
            fix="let the newest supersede the one before it",
        )
    # A digest covers what its record supersedes, so a circle takes a forged name; it would hide all its rows.
    trail, at = {one.digest}, target
    while (after := by_digest[at].record.supersedes) in by_digest and at not in trail:
        trail.add(at)
        at = str(after)
    if at in trail:
        yield Finding(what="supersedes", expected="an older record", found="a circle of records")


def check_data_digests(record: ScoreRecord, filed: Sequence[Filed]) -> Iterator[Finding]:
    """Yield where a record was measured on other images than the rows it would stand beside."""
    own = _comparable_digests(record)
    for other in filed:
        theirs = other.record
        if (theirs.suite, theirs.limit, theirs.seed) != (record.suite, record.limit, record.seed):
            continue
        for path, digest in _comparable_digests(theirs).items():
            if own.get(path, digest) != digest:
                yield _other_data(path, own[path], digest, other)
                return


def _comparable_digests(record: ScoreRecord) -> dict[str, str]:
    """Return the digests that are taken over the images themselves."""
    return {path: digest for path, digest in record.data_digests.items() if path not in record.without_images}


def _other_data(path: str, found: str, expected: str, other: Filed) -> Finding:
    return Finding(
        what=f"data of {path}",
        expected=f"digest {expected}, as of {other.path}",
        found=found,
        fix="verify the images with `rbs data verify`, and score again",
    )
