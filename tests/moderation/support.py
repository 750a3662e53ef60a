"""Models that are not there yet, and policies over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import Message

from services.moderation.policy import Policy, parse_policy
from services.moderation.types import Answer
from visionmesh.nsfw.v1.nsfw_pb2 import NsfwResult

_FILE = """
name: "tests/moderation/findings.proto" package: "tests.moderation" syntax: "proto3"
message_type {
  name: "Finding"
  field { name: "label" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "score" number: 2 label: LABEL_OPTIONAL type: TYPE_DOUBLE }
}
message_type {
  name: "DetectionResult"
  field {
    name: "findings" number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE
    type_name: ".tests.moderation.Finding"
  }
  field {
    name: "counts" number: 2 label: LABEL_REPEATED type: TYPE_MESSAGE
    type_name: ".tests.moderation.DetectionResult.CountsEntry"
  }
  nested_type {
    name: "CountsEntry"
    field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
    field { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_INT64 }
    options { map_entry: true }
  }
}
message_type {
  name: "OcrResult"
  field { name: "lines" number: 1 label: LABEL_REPEATED type: TYPE_STRING }
}
"""


def _message_type(name: str) -> Any:
    pool = descriptor_pool.Default()
    try:
        found = pool.FindMessageTypeByName(f"tests.moderation.{name}")
    except KeyError:
        file = text_format.Parse(_FILE, descriptor_pb2.FileDescriptorProto())
        pool.AddSerializedFile(file.SerializeToString())
        found = pool.FindMessageTypeByName(f"tests.moderation.{name}")
    return message_factory.GetMessageClass(found)


DetectionResult = _message_type("DetectionResult")
"""Repeated findings with label and score, and counts by label: what a detector would say."""

OcrResult = _message_type("OcrResult")
"""Lines of text."""

VOCABULARY: Mapping[str, type[Message]] = {
    "nsfw": NsfwResult,
    "detection": DetectionResult,
    "ocr": OcrResult,
}


def rule(when: str, code: str = "CODE", severity: str = "high", more: str = "") -> str:
    """One rule in YAML; `more` is added to it as it is, indented by four."""
    return (
        f"  - code: {code}\n    severity: {severity}\n    message: It is so.\n    when: {when}\n"
        + more
    )


def policy_of(*rules: str, parameters: str = "{}") -> Policy:
    """A policy over the vocabulary above."""
    text = f"parameters: {parameters}\nrules:\n" + "".join(rules)
    return parse_policy(text.encode(), "strict", VOCABULARY, file="strict.yaml")


def nsfw(score: float) -> Answer:
    return Answer(NsfwResult(score=score), "nsfw-1")


def detection(counts: Mapping[str, int] | None = None, **scores: float) -> Answer:
    """A detector's answer: the score of each label that it found, and how often it did."""
    findings = [{"label": label, "score": score} for label, score in scores.items()]
    return Answer(DetectionResult(findings=findings, counts=counts or {}), "detection-1")


def ocr(*lines: str) -> Answer:
    return Answer(OcrResult(lines=lines), "ocr-1")
