"""The one log: prefixes, colours, JSON, and a file for each process."""

from __future__ import annotations

import io
import json
from contextlib import closing

import pytest

from mesh.logs import MeshLog, Style
from tests.cli.toys import toy

NSFW = toy("nsfw")


def test_lines_have_their_process_in_front(tmp_path):
    """Off a terminal every line has its process's name in front, aligned, without colours."""
    stream = io.StringIO()
    with closing(MeshLog(tmp_path, stream, titles=["nsfw", "moderation"])) as log:
        log.lines(NSFW, [b"one", b"two \xff\r"])
    assert stream.getvalue() == "nsfw       │ one\nnsfw       │ two �\n"


def test_processes_have_colours_of_their_own(tmp_path):
    """On a terminal two processes have their names in different colours, and lines in none."""
    stream = io.StringIO()
    style = Style(colour=True)
    with closing(MeshLog(tmp_path, stream, style, titles=["nsfw", "rest"])) as log:
        log.lines(NSFW, [b"one"])
        log.lines(toy("rest"), [b"two"])
    one, two = stream.getvalue().splitlines()
    assert one.endswith("\x1b[0m one")
    assert two.endswith("\x1b[0m two")
    assert one.split("m", 1)[0] != two.split("m", 1)[0]


def test_json_lines_are_objects_that_name_their_process(tmp_path):
    """As JSON a line that is an object keeps its fields; any other becomes an event."""
    stream = io.StringIO()
    written = [b'{"event": "serving", "level": "info", "trace_id": "ab"}', b"plain", b"[1]"]
    with closing(MeshLog(tmp_path, stream, Style(as_json=True), titles=["nsfw"])) as log:
        log.lines(NSFW, written)
        log.event("warning", "nsfw died", process="nsfw", replica=0)
    serving, plain, array, died = map(json.loads, stream.getvalue().splitlines())
    at = {"process": "nsfw", "replica": 0}
    assert serving == {"event": "serving", "level": "info", "trace_id": "ab", **at}
    assert plain.pop("timestamp").endswith("Z")
    assert plain == {"event": "plain", "level": "info", "service": "nsfw", **at}
    assert array["event"] == "[1]"
    assert died.items() >= {"event": "nsfw died", "level": "warning", **at}.items()


def test_files_are_json_too(tmp_path):
    """As JSON a process's file has the same objects, whatever the process wrote."""
    stream = io.StringIO()
    with closing(MeshLog(tmp_path, stream, Style(as_json=True), titles=["nsfw"])) as log:
        log.lines(NSFW, [b"plain", b"", b"\xff"])
        written = log.path("nsfw", 0).read_text()
    assert written == stream.getvalue()
    assert [json.loads(line)["event"] for line in written.splitlines()] == ["plain", "\ufffd"]


def test_every_process_has_a_file(tmp_path):
    """What a process wrote is in its file, byte for byte, also when nobody reads the log."""
    log = MeshLog(tmp_path)
    log.lines(NSFW, [b"one", b"\xff"])
    log.lines(NSFW, [b"two"])
    log.close()
    assert log.path("nsfw", 0).read_bytes() == b"one\n\xff\ntwo\n"


def test_files_do_not_grow_for_ever(tmp_path):
    """A file that is too large is moved aside, over the one moved aside before."""
    log = MeshLog(tmp_path, max_file_bytes=10)
    for number in range(7):
        log.lines(NSFW, [f"line {number}".encode()])
    log.close()
    assert log.path("nsfw", 0).read_text() == "line 6\n"
    assert log.path("nsfw", 0).with_suffix(".log.1").read_text() == "line 4\nline 5\n"


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("closed")])
def test_a_reader_that_goes_does_not_disturb(tmp_path, error):
    """When nobody reads the log any more the files go on."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise error

    log = MeshLog(tmp_path, Gone())
    log.lines(NSFW, [b"one"])
    log.lines(NSFW, [b"two"])
    log.event("info", "still there")
    log.close()
    assert log.path("nsfw", 0).read_text() == "one\ntwo\n"
