"""The tables: complete, and what the protocol says."""

from __future__ import annotations

from robustbench_safety.corruptions import CORRUPTIONS, SEQUENCES
from robustbench_safety.corruptions.sequence_settings import SEQUENCE_SETTINGS
from robustbench_safety.corruptions.severities import SEVERITIES, SIDES


def test_every_corruption_has_a_row_of_five_severities_and_every_row_a_corruption() -> None:
    assert SEVERITIES.keys() == CORRUPTIONS.keys()
    for variants in SEVERITIES.values():
        assert variants
        assert variants.keys() <= SIDES.keys()
        for rows in variants.values():
            assert len(rows) == 5
            assert len({len(parameters) for parameters in rows}) == 1


def test_every_sequence_has_settings_and_every_settings_a_sequence() -> None:
    assert SEQUENCE_SETTINGS.keys() == SEQUENCES.keys()
    for variants in SEQUENCE_SETTINGS.values():
        assert variants
        assert variants.keys() <= SIDES.keys()
        for settings in variants.values():
            assert settings.n_frames > 1
            assert settings.difficulties
            assert len({len(parameters) for parameters in settings.difficulties}) == 1
