"""Where two plain values differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["differences"]


def differences(
    found: Mapping[str, object], expected: Mapping[str, object], at: str = ""
) -> Iterator[tuple[str, object, object]]:
    """Yield every field that differs, by its path, with its value in ``found`` and in ``expected``.

    Example:
        >>> list(differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}}))
        [('b.c', 2, 3)]
    """
    for key in sorted({*found, *expected}):
        old, new = found.get(key), expected.get(key)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{at}{key}.")
        else:
            yield f"{at}{key}", old, new
