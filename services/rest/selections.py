"""What clients select from answers, and what that saves: for whoever decides what answers have."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter

EVERYTHING: Final = "*"
"""What is asked for by who selects nothing."""


class Selections:
    """Of all kinds of answers, by their schemas in the document; their fields are bounded too."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._fields = Counter(
            "visionmesh_rest_fields",
            "Requests that ask for a field, by its path; * is all that an answer has",
            ("schema", "field"),
            registry=registry,
        )
        self._sent = Counter(
            "visionmesh_rest_answer_bytes",
            "Bytes of answers before compression",
            ("schema",),
            registry=registry,
        )
        self._whole = Counter(
            "visionmesh_rest_whole_answer_bytes",
            "Bytes that the same answers would have had without a selection",
            ("schema",),
            registry=registry,
        )
        self._of: dict[str, SchemaSelections] = {}

    def of(self, schema: str) -> SchemaSelections:
        """Of one kind of answer."""
        if schema not in self._of:
            self._of[schema] = SchemaSelections(
                schema, self._fields, self._sent.labels(schema), self._whole.labels(schema)
            )
        return self._of[schema]


class SchemaSelections:
    """Of one kind of answer."""

    def __init__(self, schema: str, fields: Counter, sent: Counter, whole: Counter) -> None:
        self._schema = schema
        self._counter = fields
        self._sent = sent
        self._whole = whole
        self._fields: dict[str, Counter] = {}

    def asked(self, paths: tuple[str, ...]) -> None:
        """Note that somebody asks for these fields, all of which the schema has."""
        for path in paths or (EVERYTHING,):
            counter = self._fields.get(path)
            if counter is None:
                counter = self._fields[path] = self._counter.labels(self._schema, path)
            counter.inc()

    def answered(self, sent: int, whole: int) -> None:
        """Note the bytes of an answer, and those that it would have had as a whole."""
        self._sent.inc(sent)
        self._whole.inc(whole)
