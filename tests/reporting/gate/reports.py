"""Reports of checks to be written out: an ordinary one, and one in which every text is hostile."""

from __future__ import annotations

from robustbench_safety.records import (
    CheckedRecord,
    CheckReport,
    ColumnCheck,
    Condition,
    ConditionCheck,
    ScoreInterval,
    SuiteReference,
)

__all__ = ["HOSTILE", "hostile_report", "report"]

#: Each would do harm somewhere: in a table, in HTML, in a comment, in a log, in XML, on a terminal.
HOSTILE = (
    "a | b |",
    "<script>alert(1)</script>",
    "<!-- --><img src=x onerror=alert(1)>",
    "@everyone and @octo/team, see #1, octo/cat#2, GH-3",
    "[a](https://evil.example) ![b](http://evil.example/x.png) https://evil.example www.evil.example",
    "`code` ``more`` ```",
    "one\n::error title=forged::two\r\n::add-mask::three",
    "# heading\n- list\n1. number\n> quote\n---",
    "</details></failure>]]>&amp;&#64;",
    "*bold* _slant_ ~~gone~~ $x^2$ \\| \\",
    "\x00\x08\x1b[31mred\x1b[0m\ufffe\u202egpj.exe\u2028",
    "100%, a: b, %0A::error::",
    "- [ ] task",
    "x" * 5000,
    "",
)


def column(name: str, **fields: object) -> ColumnCheck:
    values: dict[str, object] = {
        "column": name,
        "unit": "fraction",
        "direction": "lower",
        "baseline": 0.12,
        "candidate": 0.1405,
        "drop": 0.0205,
        "tolerance": 0.005,
        "interval": ScoreInterval(low=0.017, high=0.024, level=0.95, method="bootstrap"),
        "test": "sign-flip",
        "paired": True,
        "n": 10_000,
        "p_value": 0.0001,
        "adjusted_p_value": 0.0005,
        "gated": True,
        "failed": True,
        "reason": None,
    }
    return ColumnCheck.model_validate(values | fields)


def report(*, failed: bool = True, text: str = "", fail_on_any: bool = False) -> CheckReport:
    """Return a report; ``text`` takes the place of every name, reason, id and note."""
    fine = {"drop": -0.001, "candidate": 0.119, "failed": False, "p_value": 0.7, "adjusted_p_value": 1.0}
    return CheckReport(
        schema_version=1,
        suite=SuiteReference(name="cifar10-safety", version=2, digest="1" * 64),
        candidate=CheckedRecord(name=text or "ResNet-32", digest="a" * 64, kind="verified"),
        baseline=CheckedRecord(name=text or "ResNet-20", digest="b" * 64, kind="partial"),
        alpha=0.05,
        fail_on_any=fail_on_any,
        columns=(
            column("corruptions", **({} if failed else fine)),
            column("adversaries", **fine, test="mcnemar"),
            column(
                "calibration",
                **fine,
                test="intervals",
                paired=False,
                reason=f"because {text}" if text else "predictions on CIFAR-10-C are not at hand",
            ),
            column(
                "nll",
                **(fine | {"drop": -0.02, "baseline": 0.5, "candidate": 0.48}),
                unit="nats",
                interval=None,
            ),
            column(
                "anomaly",
                baseline=None,
                candidate=None,
                drop=None,
                interval=None,
                test=None,
                paired=False,
                n=0,
                p_value=None,
                adjusted_p_value=None,
                gated=False,
                failed=False,
                reason=f"because {text}" if text else "not measured in either",
            ),
        ),
        conditions=(
            ConditionCheck(
                condition=Condition(dataset="cifar-10-c", kind="corruption", name="gaussian_noise", level=5),
                cell="c_error",
                baseline=0.5,
                candidate=0.56,
                drop=0.06,
                newly_wrong=(text or "00017", text or "00042"),
                n_newly_wrong=1100,
                n_newly_right=500,
            ),
            ConditionCheck(
                condition=Condition(dataset="cifar-10-c", kind="corruption", name="fog", level=1),
                cell="c_error",
                baseline=0.1,
                candidate=0.09,
                drop=-0.01,
            ),
        ),
        notes=(text or "other batch sizes: 512 and 1000",),
        failed=failed,
    )


def hostile_report(text: str) -> CheckReport:
    """Return a report of nothing but a text that somebody may have put into a record."""
    return report(text=text)
