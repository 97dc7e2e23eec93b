"""What `rbs leaderboard audit` prints and returns."""

from __future__ import annotations

import secrets
import tempfile
from contextlib import ExitStack
from pathlib import Path

from robustbench_safety.auditing import Audit, audit_record, check_auditable, file_verified
from robustbench_safety.cli.progress import shown_progress
from robustbench_safety.cli.screen import messages
from robustbench_safety.cli.submitting import say
from robustbench_safety.data import DataRoot
from robustbench_safety.errors import UsageError
from robustbench_safety.models import load_model
from robustbench_safety.reporting.checking import check_record, check_suite, rules_of, superseded
from robustbench_safety.reporting.submitting import filed_on, read_sent, refuse, signed

__all__ = ["images_of", "run_audit"]

#: Of a drawn seed.
_SEEDS = 2**32


def images_of(value: str) -> int | None:
    """Return the number of images, or None for ``all``.

    Raises:
        UsageError: Neither.
    """
    if value == "all":
        return None
    if not value.lstrip("-").isdigit():
        raise UsageError("--images", expected="a whole number or all", found=value)
    return int(value)


def run_audit(
    leaderboard: Path,
    path: Path,
    model: str,
    *,
    checkpoint: Path | None,
    data: DataRoot,
    suite: Path | None,
    baseline: list[Path],
    images: int | None,
    seed: int | None,
    predictions: Path | None,
    by: str | None,
    device: str | None,
    batch_size: int | None,
    workers: int | None,
    trust_pickle: bool,
    trust_code: bool,
) -> int:
    """Audit a filed record and file it as verified; return 0, or 1 where it was not borne out."""
    signature = signed("audit", by)
    for name, value, lowest in (
        ("--seed", seed, 0),
        ("--batch-size", batch_size, 1),
        ("--workers", workers, 1),
    ):
        if value is not None and value < lowest:
            raise UsageError(name, expected=f"a whole number, at least {lowest}", found=str(value))
    filed, others = filed_on(leaderboard, path)
    check_auditable(filed.record, images=images)
    if filed.digest in superseded(others):
        newer = next(one for one in others if one.record.supersedes == filed.digest)
        raise UsageError(
            f"{path} is superseded", expected="a record that is shown", fix=f"audit {newer.path}"
        )
    sent = read_sent(filed.path)
    rules = rules_of(filed.record, data=data, suite=suite, baseline=baseline)
    refuse(path, check_suite(filed.record, rules))
    refuse(path, check_record(filed.record, sent.companion, rules, intervals=True))
    loaded = load_model(
        model, checkpoint=checkpoint, label_space=rules.suite.label_space, trust_pickle=trust_pickle,
        trust_code=trust_code)  # fmt: skip
    # A seed that the sender could know would show which images to leave honest.
    used_seed = secrets.randbelow(_SEEDS) if seed is None else seed
    with ExitStack() as stack:
        folder = predictions or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rbs-audit-")))
        progress = stack.enter_context(shown_progress(messages(), f"audit of {filed.record.display_name}"))
        audit = audit_record(
            filed.record, sent.companion, loaded, rules, predictions=folder, images=images, seed=used_seed,
            device=device, batch_size=batch_size, workers=workers, progress=progress)  # fmt: skip
    _show(audit)
    if not audit.agrees:
        say(f"not borne out, nothing was filed: {path}")
        return 1
    written = file_verified(leaderboard, filed, sent.companion, audit, by=signature)
    say(f"verified     {written}")
    say(f"supersedes   {filed.path}")
    say("run `rbs leaderboard build` to write the tables")
    return 0


def _show(audit: Audit) -> None:
    """Print a line for each thing compared, and in the end what does not agree."""
    if audit.compared:
        say(f"audit on {audit.words}: of so many images so many disagree, and so many may")
    width = max((len(one.path) for one in audit.compared), default=0)
    for one in audit.compared:
        line = f"{one.path:<{width}}  {one.what:<16} {one.images:>6} {one.disagreements:>5} {one.allowed:>5}"
        line += f"  {one.close} within rounding" if one.close else ""
        say(line + (f"  {one.note}" if one.note else ""))
    for told in audit.differences:
        say(told)
    for one in audit.compared:
        if not one.agrees:
            say(f"{one.path}: {one.what}: {one.disagreements} of {one.images} disagree, {one.allowed} may")
