"""Who is let into a mesh: its keys, JWTs and token, put together for Envoy.

Envoy watches the files, so that a change holds within moments. They are written while the key file
is locked: of two changes at the same time, none is lost on the way to Envoy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mesh import config, private
from mesh.access import Access, InvalidAccess, Jwt, check_access, write_access
from mesh.config import MeshConfig
from mesh.errors import MeshError
from mesh.keys import KeyFile
from mesh.state import DataDir


class Admission:
    """Who is let into the mesh of one data directory."""

    def __init__(self, data: DataDir, mesh_config: MeshConfig) -> None:
        self.keys = KeyFile(data.keys_file)
        self._data = data
        self._jwt = _as_access(mesh_config.jwt)

    @classmethod
    def of(cls, data: DataDir, config_file: Path | None) -> Admission:
        """As the file asked for says, else the one that the running mesh was started with.

        Raises InvalidOption when it cannot be read.
        """
        run = data.running()
        if config_file is None and run is not None and run.config is not None:
            config_file = Path(run.config)
        return cls(data, config.load(config.find(config_file, data.root)))

    @property
    def guarded(self) -> bool:
        """Whether somebody could be let in who proved to be a tenant. Raises MeshError."""
        return self._jwt is not None or any(key.revoked_at is None for key in self.keys.read())

    @contextmanager
    def changing(self) -> Iterator[KeyFile]:
        """Change the keys: Envoy is told on leaving. Raises MeshError.

        Before anything is changed when it is known that Envoy could not be told: a key that is
        written down as revoked and still lets in would be worse.
        """
        with self.keys.locked():
            try:
                check_access(self._access(""))
            except InvalidAccess as error:
                raise MeshError(f"{error}; no key was changed") from None
            yield self.keys
            self._publish()

    def publish(self) -> str:
        """Tell Envoy who is let in, and make the mesh's token; the token. Raises MeshError."""
        with self.keys.locked():
            return self._publish()

    def _publish(self) -> str:
        try:
            token = private.shared_token(self._data.token_file)
            write_access(self._data.access, self._access(token))
        except InvalidAccess as error:
            raise MeshError(str(error)) from None
        except OSError as error:
            raise MeshError(f"{error.filename or self._data.root}: {error.strerror}") from None
        return token

    def _access(self, token: str) -> Access:
        active = [key for key in self.keys.read() if key.revoked_at is None]
        return Access(
            keys={key.sha256: key.tenant for key in active},
            jwt=self._jwt,
            # A mesh that ever had keys needs them for good, also when all are revoked.
            open=self._jwt is None and not self.keys.exists(),
            token=token,
        )


def _as_access(jwt: config.Jwt | None) -> Jwt | None:
    return Jwt(jwt.issuer, jwt.audiences, jwt.jwks, jwt.tenant_claim) if jwt else None
