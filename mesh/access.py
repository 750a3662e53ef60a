"""Who is let in, as files that Envoy watches: keys by their hashes, JWTs, or everybody.

Envoy follows each file without a restart (ECDS, docs/envoy.md). The mesh's token lies beside
them, so only their owner may read them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mesh.validation import InvalidProxyConfig, validate_filter
from services.serving.tenancy import TENANT_HEADER, is_tenant

SCRIPTS: Final = Path(__file__).resolve().parent.parent / "envoy"

PUBLIC_PATHS: Final = ("/healthz", "/openapi.json", "/docs")
"""What of the edge needs no key, with all below `/docs/`; they are answered for nobody."""

KEY_HEADER: Final = "x-visionmesh-key"
"""Carries the hash of a presented key from one filter to the next, and goes no further."""

CLAIM_HEADER: Final = "x-visionmesh-claim"
"""Carries a JWT's tenant likewise. The JWT filter clears it in every request, so that it cannot be
the header that a key's tenant is in."""

TOKEN_FILE: Final = "token"
"""Read by Envoy's script: what is in the configuration itself, the admin interface shows to all."""

_TYPE: Final = "type.googleapis.com/"
_HASH: Final = re.compile(r"[0-9a-f]{64}")


class InvalidAccess(ValueError):
    """Something that Envoy could not use; the message says what."""


@dataclass(frozen=True, slots=True)
class Jwt:
    """Whose JWTs are good: signed by a key of `jwks` (a file, RFC 7517), for one of `audiences`.

    `claim` names the tenant. A token must say when it ends.
    """

    issuer: str
    audiences: tuple[str, ...]
    jwks: Path
    claim: str = "tenant"


@dataclass(frozen=True, slots=True)
class Access:
    """Who may come in. `keys` gives the tenant of each key by the key's SHA-256 in hexadecimal.

    With `open` everybody is the tenant `local`, whatever they show. `token` is what the processes
    of this mesh show each other; without one nobody is believed to be one.
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    jwt: Jwt | None = None
    open: bool = False
    token: str = ""


@dataclass(frozen=True, slots=True)
class AccessFilter:
    """An HTTP filter whose configuration is in a file: its name, its file and its message."""

    name: str
    message: str

    @property
    def file(self) -> str:
        return f"{self.name}.json"


CREDENTIALS: Final = AccessFilter("credentials", "envoy.extensions.filters.http.lua.v3.Lua")
KEYS: Final = AccessFilter("keys", "envoy.extensions.common.matching.v3.ExtensionWithMatcher")
JWTS: Final = AccessFilter("jwt", "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication")

FILTERS: Final = (CREDENTIALS, KEYS, JWTS)
"""In the order in which a request passes them."""


def write_access(directory: Path, access: Access) -> None:
    """Let in from now on who `access` names, and nobody else: within a moment, while Envoy runs.

    Raises InvalidAccess, and then nothing has changed.
    """
    configs = _configs(directory, access)
    directory.mkdir(parents=True, exist_ok=True)
    _replace(directory / TOKEN_FILE, access.token)
    for filter_, config in configs.items():
        resource = {
            "@type": _TYPE + "envoy.config.core.v3.TypedExtensionConfig",
            "name": f"visionmesh.{filter_.name}",
            "typed_config": {"@type": _TYPE + filter_.message, **config},
        }
        _replace(directory / filter_.file, json.dumps({"resources": [resource]}))


def check_access(access: Access) -> None:
    """Raises InvalidAccess when Envoy could not use what `access` says."""
    _configs(Path(), access)


def _configs(directory: Path, access: Access) -> dict[AccessFilter, dict[str, Any]]:
    return {
        KEYS: _keys(access),
        JWTS: _jwt(access.jwt),
        # Last, so that a mesh is closed when its keys are known and not before.
        CREDENTIALS: _credentials(directory, access),
    }


def _credentials(directory: Path, access: Access) -> dict[str, Any]:
    if not re.fullmatch(r"[\x21-\x7e]*", access.token):
        raise InvalidAccess("the token has characters that no header may have")
    public = ", ".join(f'["{path}"] = true' for path in PUBLIC_PATHS)
    source = "\n".join(
        [
            *_token(directory / TOKEN_FILE, access.token),
            f"local OPEN = {json.dumps(access.open)}",
            f"local JWT = {json.dumps(access.jwt is not None)}",
            f"local PUBLIC = {{ {public} }}",
            (SCRIPTS / "sha256.lua").read_text(),
            (SCRIPTS / "credentials.lua").read_text(),
        ]
    )
    return {"default_source_code": {"inline_string": source}, "clear_route_cache": False}


def _token(path: Path, token: str) -> tuple[str, ...]:
    """The mesh's token as Envoy's script has it; a file that is gone fails the script's start."""
    if not token:
        return ('local TOKEN = ""',)
    # Any byte may be written by its number. The hash changes with the token, as Envoy only takes
    # up what has changed.
    name = "".join(f"\\{byte:03}" for byte in os.fsencode(path.absolute()))
    mark = hashlib.sha256(token.encode()).hexdigest()[:16]
    return (
        f"-- {mark}",
        f'local file = assert(io.open("{name}"))',
        'local TOKEN = file:read("*a")',
        "file:close()",
        'assert(TOKEN ~= "")',
    )


def _keys(access: Access) -> dict[str, Any]:
    """Checks whoever shows a key; who shows none is the business of those behind."""
    for digest, tenant in access.keys.items():
        if not _HASH.fullmatch(digest):
            raise InvalidAccess("a key's hash must be 64 hexadecimal digits")
        if not is_tenant(tenant):
            raise InvalidAccess(f"{tenant!r} cannot be a tenant's name")
    return {
        "extension_config": {
            "name": "envoy.filters.http.api_key_auth",
            "typed_config": {
                "@type": _TYPE + "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
                "credentials": [
                    {"key": digest, "client": tenant} for digest, tenant in access.keys.items()
                ],
                "key_sources": [{"header": KEY_HEADER}],
                "forwarding": {"header": TENANT_HEADER, "hide_credentials": True},
            },
        },
        "xds_matcher": _without_header(KEY_HEADER),
    }


def _without_header(name: str) -> dict[str, Any]:
    """A matcher that skips its filter for requests without a header."""
    return {
        "matcher_list": {
            "matchers": [
                {
                    "predicate": {
                        "not_matcher": {
                            "single_predicate": {
                                "input": {
                                    "name": "header",
                                    "typed_config": {
                                        "@type": _TYPE
                                        + "envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
                                        "header_name": name,
                                    },
                                },
                                "value_match": {"safe_regex": {"google_re2": {}, "regex": ".+"}},
                            }
                        }
                    },
                    "on_match": {
                        "action": {
                            "name": "skip",
                            "typed_config": {
                                "@type": _TYPE
                                + "envoy.extensions.filters.common.matcher.action.v3.SkipFilter"
                            },
                        }
                    },
                }
            ]
        }
    }


def _jwt(jwt: Jwt | None) -> dict[str, Any]:
    if jwt is None:
        return {}
    if not (jwt.issuer and jwt.audiences and all(jwt.audiences) and jwt.claim):
        raise InvalidAccess("JWTs need an issuer, an audience and a claim that names the tenant")
    try:
        jwks = jwt.jwks.read_text()
        keys = json.loads(jwks)["keys"]
    except OSError as error:
        raise InvalidAccess(f"{jwt.jwks}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        keys = None
    if not keys:
        raise InvalidAccess(f"{jwt.jwks} is no JSON Web Key Set")
    provider = {
        "issuer": jwt.issuer,
        "audiences": list(jwt.audiences),
        "local_jwks": {"inline_string": jwks},
        "require_expiration": True,
        # Nowhere else: by default Envoy takes one from the query too, where logs would keep it.
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        "claim_to_headers": [{"claim_name": jwt.claim, "header_name": CLAIM_HEADER}],
        "forward": False,
    }
    config = {
        "providers": {"jwt": provider},
        "rules": [
            {
                "match": {
                    "prefix": "/",
                    "headers": [{"name": "authorization", "present_match": True}],
                },
                # Who shows a bad one has no tenant, and gets the one answer of all who have none.
                "requires": {
                    "requires_any": {
                        "requirements": [{"provider_name": "jwt"}, {"allow_missing_or_failed": {}}]
                    }
                },
            }
        ],
    }
    try:
        # Envoy would go on with the keys that it has, those that were taken out among them.
        validate_filter({"@type": _TYPE + JWTS.message, **config})
    except InvalidProxyConfig as error:
        raise InvalidAccess(f"{jwt.jwks}: {error}") from None
    return config


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
