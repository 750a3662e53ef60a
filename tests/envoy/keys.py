"""Keys and JWTs that a mesh knows, and some that it should not."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from mesh.access import Access, Jwt

TOKEN: Final = "the-token-of-this-mesh"
ACME: Final = "vmk_" + "a" * 43
ACME_TOO: Final = "vmk_" + "A" * 43
BETA: Final = "vmk_" + "b" * 43
UNKNOWN: Final = "vmk_" + "c" * 43

ISSUER: Final = "https://login.example"
AUDIENCE: Final = "visionmesh"


def digest_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def access(*revoked: str, **changes: Any) -> Access:
    """A closed mesh with two tenants, one of which has two keys; without those `revoked`."""
    tenants = {ACME: "acme", ACME_TOO: "acme", BETA: "beta"}
    keys = {digest_of(key): name for key, name in tenants.items() if key not in revoked}
    return Access(**{"keys": keys, "token": TOKEN, **changes})


class Issuer:
    """Signs JWTs; `jwks` is the file with its public key."""

    def __init__(self, directory: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        public = ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self.jwks = directory / "jwks.json"
        self.jwks.write_text(json.dumps({"keys": [{**public, "kid": "one", "alg": "ES256"}]}))

    @property
    def setting(self) -> Jwt:
        return Jwt(issuer=ISSUER, audiences=(AUDIENCE,), jwks=self.jwks)

    def token(self, **changes: Any) -> str:
        """A good one for the tenant `gamma`, but for what is changed; None leaves a claim out."""
        claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 600, "tenant": "gamma"}
        return jwt.encode(_without_none(claims | changes), self._key, "ES256", {"kid": "one"})

    def unsigned(self) -> str:
        """Good in every word, with the algorithm `none`."""
        return jwt.encode(jwt.decode(self.token(), options={"verify_signature": False}), "", "none")


def _without_none(claims: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if value is not None}
