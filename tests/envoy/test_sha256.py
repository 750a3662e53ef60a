"""The SHA-256 of envoy/sha256.lua, in the Lua of the real Envoy."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from tests.envoy import removals
from tests.envoy.world import Edge, edge_world
from tests.support.envoy import Config

SCRIPT = Path(__file__).resolve().parents[2] / "envoy" / "sha256.lua"

ANSWER = """
function envoy_on_request(handle)
  local message = handle:headers():get("x-message")
  local bytes = message:gsub("..", function(hex) return string.char(tonumber(hex, 16)) end)
  handle:respond({[":status"] = "200", ["x-digest"] = sha256(bytes)}, "")
end
"""

FIPS_180_4 = {
    b"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq": (
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    ),
    b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno"
    b"ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu": (
        "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"
    ),
    b"": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
}
"""Messages and digests of NIST's examples for FIPS 180-4."""


def _answer_with_digests(config: Config) -> None:
    script = {
        "name": "digest",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": SCRIPT.read_text() + ANSWER},
        },
    }
    removals.manager(config, "edge")["http_filters"].insert(0, script)


async def _digest(edge: Edge, message: bytes) -> str:
    answer = await edge.get("/", headers={"X-Message": message.hex()})
    return answer.headers.get("X-Digest", "")


async def test_digests_are_those_of_the_standard(tmp_path: Path):
    """The standard's messages have the standard's digests."""
    async with edge_world(tmp_path, without=_answer_with_digests) as edge:
        assert {message: await _digest(edge, message) for message in FIPS_180_4} == FIPS_180_4


async def test_messages_of_every_length(tmp_path: Path):
    """Every length around the ends of blocks, of any bytes, as Python's hashlib has it."""
    generator = random.Random(4)
    messages = [generator.randbytes(length) for length in [*range(200), 1000, 4095, 4096]]
    async with edge_world(tmp_path, without=_answer_with_digests) as edge:
        for message in messages:
            assert await _digest(edge, message) == hashlib.sha256(message).hexdigest()
