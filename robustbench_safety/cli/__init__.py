"""The command ``rbs``: argument parsing, progress and exit codes only."""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and end the process.

    Exit codes: 0 done; 1 a check said no; 2 bad input or not comparable; 3 incomplete, run the same again.
    """
    # torch's idle OpenMP threads spin by default, and take the cores from the threads that read images and
    # from autograd's, which have teams of their own: 3 to 30 times slower on two busy cores. The variable is
    # read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from robustbench_safety.cli.app import run

    sys.exit(run())
