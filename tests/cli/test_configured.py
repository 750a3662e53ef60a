"""A mesh with keys and a configuration file: what that says is what happens."""

from __future__ import annotations

import json
import time

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa

from mesh.diagnosis import diagnose
from services.catalog import BY_NAME
from tests.cli.running import jpeg
from tests.support.whole import World, until, world

LIMIT = 8

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def signing_key():
    return rsa.generate_private_key(public_exponent=65_537, key_size=2048)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory, signing_key):
    """Two tenants with keys, one of them limited; JWTs of an issuer; one origin for browsers."""
    directory = tmp_path_factory.mktemp("configured") / "data"
    directory.mkdir()
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(signing_key.public_key()))
    (directory / "jwks.json").write_text(json.dumps({"keys": [{**public, "kid": "1"}]}))
    config = {
        "cors": {"origins": ["https://app.example"]},
        "jwt": {
            "issuer": "https://id.example",
            "audiences": ["visionmesh"],
            "jwks": "jwks.json",
            "tenant_claim": "org",
        },
        "rate_limit": {"requests": 1000, "per_s": 1},
        "tenants": {"limited": {"rate_limit": {"requests": LIMIT, "per_s": 3600}}},
    }
    async with world(directory, tenants=("acme", "limited"), config=config) as mesh:
        yield mesh


def token(signing_key: rsa.RSAPrivateKey, **claims: object) -> str:
    known = {"iss": "https://id.example", "aud": "visionmesh", "exp": int(time.time()) + 3600}
    return jwt.encode({**known, **claims}, signing_key, algorithm="RS256", headers={"kid": "1"})


async def test_a_token_names_the_tenant(mesh: World, signing_key):
    """Who shows a JWT of the configured issuer is the tenant of its claim, as with a key."""
    digest = await mesh.upload(jpeg("red"))
    path = f"/v1/images/{digest}"

    async def status(**claims: object) -> int:
        bearer = f"Bearer {token(signing_key, **claims)}"
        return (await mesh.call("GET", path, tenant="", authorization=bearer)).status

    assert await status(org="acme") == 200
    assert await status(org="globex") == 404
    assert await status(org="acme", aud="another") == 401
    assert await status() == 401


async def test_each_tenant_has_its_limit(mesh: World):
    """Who asks for more than configured is told to wait, while others go on."""
    statuses = [
        (await mesh.call("GET", "/v1/models", tenant="limited")).status for _ in range(LIMIT + 1)
    ]
    assert statuses == [200] * LIMIT + [429]
    assert (await mesh.call("GET", "/v1/models", tenant="acme")).status == 200


async def test_browsers_of_one_origin(mesh: World):
    """The configured origin may call, another one is not told that it may."""

    async def allowed(origin: str) -> str | None:
        answer = await mesh.call(
            "OPTIONS", "/v1/models", tenant="", origin=origin, access_control_request_method="GET"
        )
        return answer.headers.get("access-control-allow-origin")

    assert await allowed("https://app.example") == "https://app.example"
    assert await allowed("https://evil.example") is None


async def test_teams_call_over_grpc_with_a_key(mesh: World):
    """The mesh listener lets in who shows a key, as its tenant, and nobody without one."""
    digest = await mesh.upload(jpeg("blue"))
    async with mesh.client("acme") as acme, mesh.client("limited") as other:
        assert (await acme.get_image(digest)).digest == digest
        [outcome] = await other.get_images([digest])
        assert outcome.HasField("error")


async def test_a_key_made_while_it_runs(mesh: World):
    """A world's new key lets in without a restart, and not any more once it is revoked."""
    key = mesh.create_key("acme")

    async def answered(status: int) -> bool:
        answer = await mesh.call("GET", "/v1/models", tenant="", x_api_key=key)
        return answer.status == status

    await until(lambda: answered(200), "the new key lets in")
    mesh.revoke_key(key)
    await until(lambda: answered(401), "the revoked key is refused")


async def test_what_a_replica_counts(mesh: World):
    """A world reads each replica's counters, without a key."""
    before = (await mesh.counters("nsfw")).get("inferences", 0)
    digest = await mesh.upload(jpeg("yellow"))
    assert (await mesh.call("GET", f"/v1/images/{digest}/nsfw")).status == 200
    assert (await mesh.counters("nsfw"))["inferences"] == before + 1
    port = BY_NAME["nsfw"].port(mesh.mesh.options.port)
    assert (await diagnose(port, 5.0)).conditions == ()
