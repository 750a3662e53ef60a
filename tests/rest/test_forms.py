"""Multipart forms."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import InvalidArgument
from services.rest.forms import file_of

TYPE = "multipart/form-data; boundary=edge"


def form(data: bytes, head: str = 'form-data; name="file"; filename="a.jpg"') -> bytes:
    start = f"--edge\r\nContent-Disposition: {head}\r\n\r\n".encode()
    return start + data + b"\r\n--edge--\r\n"


@given(st.binary(max_size=2_000))
def test_file_comes_out_as_it_went_in(data: bytes):
    """Any bytes that do not hold the boundary come out unchanged."""
    if b"--edge" not in data:
        assert file_of(TYPE, form(data)) == data


@pytest.mark.parametrize(
    "content_type",
    [
        TYPE,
        'multipart/form-data; boundary="edge"',
        "Multipart/Form-Data; a=b; boundary=edge",
    ],
)
def test_boundary_is_found(content_type: str):
    """The boundary may be quoted and stand beside other parameters."""
    assert file_of(content_type, form(b"cat")) == b"cat"


def test_text_around_the_parts_is_passed_over():
    """A preamble and an epilogue are no parts."""
    assert file_of(TYPE, b"hello\r\n" + form(b"cat") + b"goodbye") == b"cat"


def test_file_needs_no_file_name():
    """A part is the file by its name; its file name is the client's own affair."""
    assert file_of(TYPE, form(b"cat", 'form-data; name="file"')) == b"cat"


@pytest.mark.parametrize(
    "body",
    [b"", b"cat", b"--edge", b"--edge\r\n", form(b"cat")[:-8], form(b"cat", "form-data"),
     b"--edge\r\n\r\ncat\r\n--edge--\r\n", b"--edge\r\nno header\r\n\r\ncat\r\n--edge--\r\n",
     b"--edge\r\nContent-Disposition: form-data; name=\"file\"\r\n\xff: x\r\n\r\n\r\n--edge--"],
)  # fmt: skip
def test_refuses(body: bytes):
    """What is no whole form is InvalidArgument, and nothing else."""
    with pytest.raises(InvalidArgument):
        file_of(TYPE, body)


@given(st.binary(max_size=200))
def test_never_fails_otherwise(body: bytes):
    """Any bytes are a file or InvalidArgument."""
    with suppress(InvalidArgument):
        file_of(TYPE, b"--edge\r\n" + body)
