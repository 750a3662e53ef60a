"""The configuration file of a mesh, `mesh.yaml`: what an operator decides, checked when it is read.

    cors: {origins: [https://app.example]}
    jwt: {issuer: https://id.example, audiences: [visionmesh], jwks: keys.json, tenant_claim: org}
    rate_limit: {requests: 100, per_s: 1}
    tenants: {acme: {rate_limit: {requests: 500, per_s: 1}, retention_days: 30}}
    retention_days: 365
    audit: {url: postgresql://…, required: true}
    redis_url: redis://127.0.0.1:6379/0
    graphql: {production: true, only_known: true, documents: manifest.json,
              supergraph: supergraph.graphql, foreign_subgraphs: {products: http://10.0.0.7/graphql}}

Every part may be left out. `docs/tenants.md` says what each does.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from mesh.errors import InvalidOption
from services.serving.tenancy import is_tenant

FILE: Final = "mesh.yaml"
"""The file's name in a data directory, where it is found without being named."""

SHOWN_ERRORS: Final = 3


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _tenant(name: str) -> str:
    if not is_tenant(name):
        raise ValueError("must be 1 to 63 of a-z, 0-9 and -, with no - at either end")
    return name


def _origin(text: str) -> str:
    parts = urlsplit(text)
    whole = f"{parts.scheme}://{parts.netloc}"
    if text != "*" and (parts.scheme not in ("http", "https") or not parts.netloc or text != whole):
        raise ValueError("must be * or an origin without a path, as in https://app.example")
    return text


def _redis(url: str) -> str:
    if url and not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must begin with redis://, rediss:// or unix://")
    return url


def _json_beside(path: Path, info: ValidationInfo, member: str) -> Path:
    """A file beside the configuration file, whose JSON has a member that is not empty."""
    whole = _beside(path, info)
    try:
        found = json.loads(whole.read_text())
    except OSError as error:
        raise ValueError(f"{whole}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{whole}: is no JSON") from None
    if not isinstance(found, dict) or not found.get(member):
        raise ValueError(f"{whole}: has no {member}")
    return whole


def _beside(path: Path, info: ValidationInfo) -> Path:
    """A path that is relative to the configuration file."""
    folder: Path = (info.context or {}).get("folder", Path())
    return (folder / path).absolute()


def _subgraph(name: str) -> str:
    if not re.fullmatch("[a-z][a-z0-9-]{0,62}", name):
        raise ValueError("must be 1 to 63 of a-z, 0-9 and -, beginning with a letter")
    return name


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc or "," in text:
        raise ValueError("must be a URL, as in http://10.0.0.7:9001/graphql")
    return text


def _claim(name: str) -> str:
    if "/" in name:  # as Envoy reads it, each dot of a URL leads into a claim within a claim
        raise ValueError("must have no /: a dot leads into a nested claim, so no URL can be named")
    return name


Days = Annotated[float, Field(gt=0, le=36_500)]


class Cors(_Part):
    """From which origins browsers may call; none means from none."""

    origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(default=(), strict=False)


class Jwt(_Part):
    """Whose tokens are believed, and which claim of them names the tenant."""

    issuer: Annotated[str, Field(min_length=1)]
    audiences: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1, strict=False)
    jwks: Path = Field(strict=False)
    """The file of public keys (RFC 7517), relative to the configuration file."""
    tenant_claim: Annotated[str, Field(min_length=1), AfterValidator(_claim)] = "tenant"

    @field_validator("jwks")
    @classmethod
    def _readable(cls, path: Path, info: ValidationInfo) -> Path:
        return _json_beside(path, info, "keys")


class RateLimit(_Part):
    """So many requests in so many seconds, for each tenant."""

    requests: Annotated[int, Field(ge=1, le=1_000_000)]
    per_s: Annotated[float, Field(ge=0.1, le=86_400)] = 1.0


class Tenant(_Part):
    """What differs for one tenant."""

    rate_limit: RateLimit | None = None
    retention_days: Days | None = None


class Audit(_Part):
    """Where verdicts are recorded, and whether one may be given that is not recorded yet."""

    url: str = ""
    required: bool = False


class Graphql(_Part):
    """What the graph answers."""

    production: bool = False
    """No introspection, no suggestions in messages, no GraphiQL."""
    only_known: bool = False
    """Only documents of the manifest run."""
    documents: Path | None = Field(default=None, strict=False)
    """The manifest of known documents, relative to the configuration file; else the mesh's own."""
    supergraph: Path | None = Field(default=None, strict=False)
    """The composed supergraph, relative to the configuration file; else the mesh's own."""
    foreign_subgraphs: dict[
        Annotated[str, AfterValidator(_subgraph)], Annotated[str, AfterValidator(_url)]
    ] = {}
    """Where the subgraphs of other teams are, by their names in the supergraph."""

    @field_validator("documents")
    @classmethod
    def _manifest(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        return None if path is None else _json_beside(path, info, "operations")

    @field_validator("supergraph")
    @classmethod
    def _readable(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is not None:
            path = _beside(path, info)
            if not path.is_file():
                raise ValueError(f"{path}: is no file")
        return path


class MeshConfig(_Part):
    """All of the file."""

    cors: Cors = Cors()
    jwt: Jwt | None = None
    rate_limit: RateLimit | None = None
    tenants: dict[Annotated[str, AfterValidator(_tenant)], Tenant] = {}
    retention_days: Days | None = None
    audit: Audit = Audit()
    redis_url: Annotated[str, AfterValidator(_redis)] = ""
    graphql: Graphql = Graphql()

    @model_validator(mode="after")
    def _limited_for_all(self) -> MeshConfig:
        alone = [name for name, tenant in self.tenants.items() if tenant.rate_limit]
        if alone and self.rate_limit is None:
            raise ValueError(f"rate_limit: must be there too when tenants.{alone[0]} has one")
        return self

    @property
    def retention(self) -> dict[str, float]:
        """Days by tenant, `*` for all others; a tenant without an entry keeps images for ever."""
        days = {"*": self.retention_days} | {
            name: tenant.retention_days for name, tenant in self.tenants.items()
        }
        return {name: value for name, value in days.items() if value is not None}

    @property
    def environment(self) -> dict[str, str]:
        """What the processes of the mesh are told; what is not configured stays unsaid."""
        said = {
            "VISIONMESH_RETENTION_DAYS": json.dumps(self.retention) if self.retention else "",
            "VISIONMESH_AUDIT_URL": self.audit.url,
            "VISIONMESH_AUDIT_REQUIRED": "true" if self.audit.required else "",
            "VISIONMESH_REDIS_URL": self.redis_url,
            "VISIONMESH_GRAPHQL_PRODUCTION": "true" if self.graphql.production else "",
            "VISIONMESH_GRAPHQL_ONLY_KNOWN": "true" if self.graphql.only_known else "",
            "VISIONMESH_DOCUMENTS": str(self.graphql.documents or ""),
            "VISIONMESH_SUPERGRAPH": str(self.graphql.supergraph or ""),
            "VISIONMESH_FOREIGN_SUBGRAPHS": ",".join(
                f"{name}={url}" for name, url in self.graphql.foreign_subgraphs.items()
            ),
        }
        return {name: value for name, value in said.items() if value}


def find(asked: Path | None, data: Path) -> Path | None:
    """The file to read: the one asked for, else the data directory's, when there is one."""
    if asked is not None:
        return asked.absolute()
    usual = data.absolute() / FILE
    return usual if os.path.lexists(usual) else None  # a link to nowhere is no missing file


def load(path: Path | None) -> MeshConfig:
    """Read and check a file; None is a mesh with nothing configured.

    Raises InvalidOption, which names the file, the field and what is allowed.
    """
    if path is None:
        return MeshConfig()
    try:
        found = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InvalidOption(f"{path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise InvalidOption(f"{path}: is no YAML: {_yaml_fault(error)}") from None
    except (ValueError, RecursionError) as error:  # no UTF-8, a 13th month, a thousand brackets
        raise InvalidOption(f"{path}: is no YAML: {error}") from None
    try:
        return MeshConfig.model_validate(
            {} if found is None else found, context={"folder": path.parent}
        )
    except ValidationError as error:
        said = "; ".join(map(_said, error.errors()[:SHOWN_ERRORS]))
        raise InvalidOption(f"{path}: {said}") from None


def _yaml_fault(error: yaml.YAMLError) -> str:
    """What is wrong and where, without the line itself: it may hold a password."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return getattr(error, "reason", "cannot be read")
    mark = error.problem_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"


def _said(error: ErrorDetails) -> str:
    """Field and limit, without the value: it may be a password."""
    field = ".".join(str(step) for step in error["loc"] if step != "[key]")
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "there is no such field"
    return f"{field}: {message}" if field else message
