"""The YAML that our files are written in: mappings, lists, and plain scalars without surprises.

YAML 1.1 reads ``no`` as false, ``010`` as eight, ``1:30`` as ninety, ``2020-01-01`` as a date and ``1e-3``
as text. Here a scalar is null, true, false, a decimal number or text, as in JSON: a name that happens to be
``no`` stays a name.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from robustbench_safety.errors import FileFormatError

__all__ = ["Lines", "dump_yaml", "parse_yaml"]

Place = tuple[str | int, ...]
Lines = dict[Place, int]
"""Line of every field and list item, by the keys and indices that lead to it."""

#: Manifests and suites nest six deep.
_DEEPEST = 20

_WORDS: dict[str, object] = {"": None, "~": None, "null": None, "true": True, "false": False}
# More than 18 digits, a leading zero or an underscore is no number that anybody means: it stays text, and the
# field that wants a number refuses it.
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]{1,3})?")


def parse_yaml(path: Path, text: bytes) -> tuple[object, Lines]:
    """Return the plain data in ``text`` and the line of each part.

    Raises:
        FileFormatError: It is not one YAML document, or it has anchors, aliases, tags, repeated keys, or
            brackets without end; names the line.
    """
    builder = _Builder(path)
    try:
        # The events come one by one from a flat state machine: nothing recurses, whatever the file nests.
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.add(event)
    except yaml.YAMLError as error:
        where, found = str(path), str(error)
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
            where, found = f"{path}, line {error.problem_mark.line + 1},", error.problem or found
        raise FileFormatError(
            f"{where} is not valid YAML",
            found=" ".join(found.split()),
            fix="correct the line",
        ) from error
    return builder.data, builder.lines


class _Builder:
    """Plain data from parsing events."""

    def __init__(self, path: Path) -> None:
        self.data: object = None
        self.lines: Lines = {}
        self._path = path
        self._documents = 0
        self._open: list[dict[str, object] | list[object]] = []
        self._place: list[str | int] = []
        """Where each open container lies; one shorter than ``_open``."""
        self._keys: list[str | None] = []
        """Key that waits for its value, for each open container."""

    def add(self, event: Event) -> None:
        """Take in the next event."""
        line = event.start_mark.line + 1 if event.start_mark is not None else 0
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            # An alias can make a few bytes grow without bound, and nothing here needs one.
            raise self._refused(line, "anchors and aliases are not allowed", "write the value out")
        if getattr(event, "tag", None):
            raise self._refused(line, "tags are not allowed", "write the value plainly, without '!'")
        if isinstance(event, DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._refused(line, "a second document begins", "keep one document a file")
        elif isinstance(event, ScalarEvent):
            self._scalar(event, line)
        elif isinstance(event, MappingStartEvent):
            self._begin({}, line)
        elif isinstance(event, SequenceStartEvent):
            self._begin([], line)
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            self._open.pop()
            self._keys.pop()
            if self._place:
                self._place.pop()

    def _scalar(self, event: ScalarEvent, line: int) -> None:
        if self._open and isinstance(self._open[-1], dict) and self._keys[-1] is None:
            key = event.value
            if key in self._open[-1]:
                raise self._refused(line, f"key {key!r} is written twice", "keep one of them")
            self._keys[-1] = key
            self.lines[(*self._place, key)] = line
        else:
            plain = event.implicit[0]
            self._put(_plain_value(event.value) if plain else event.value, line)

    def _begin(self, container: dict[str, object] | list[object], line: int) -> None:
        if len(self._open) == _DEEPEST:
            raise self._refused(line, f"nested more than {_DEEPEST} deep", "check the brackets")
        if self._open:
            self._place.append(self._put(container, line))
        else:
            self._put(container, line)
        self._open.append(container)
        self._keys.append(None)

    def _put(self, value: object, line: int) -> str | int:
        """Put a value into the innermost open container; return its key or index there."""
        if not self._open:
            self.data = value
            self.lines[()] = line
            return 0
        container, key = self._open[-1], self._keys[-1]
        if isinstance(container, list):
            container.append(value)
            self.lines[(*self._place, len(container) - 1)] = line
            return len(container) - 1
        if key is None:
            raise self._refused(line, "a key is a list or a mapping", "use text as a key")
        container[key] = value
        self._keys[-1] = None
        return key

    def _refused(self, line: int, what: str, fix: str) -> FileFormatError:
        return FileFormatError(f"{self._path}, line {line}: {what}", fix=fix)


def _plain_value(text: str) -> object:
    """Return what an unquoted scalar stands for."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


class _Dumper(yaml.SafeDumper):
    """Writes what :func:`parse_yaml` reads back as it was."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def _quoted_where_needed(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # The library quotes what YAML 1.1 would misread; our reader knows other numbers.
    plain = isinstance(_plain_value(text), str) and text.isprintable()
    style = None if plain else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _quoted_where_needed)


def dump_yaml(data: object) -> str:
    r"""Return plain data as YAML, fields in their own order.

    Example:
        >>> dump_yaml({"name": "mine", "classes": ["0", "cat", "1e3"]})
        'name: mine\nclasses:\n- "0"\n- cat\n- "1e3"\n'
    """
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text
