"""The policies of a folder: loaded when the service starts, and again when it is told to."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.errors import InvalidPolicy, PolicyNotFound
from services.moderation.policy import Policy, Vocabulary, load_policy
from services.names import is_name

DEFAULT: Final = "default"
"""The policy of a request that names none; every folder has it."""

_SUFFIXES: Final = frozenset((".yaml", ".yml"))


class PolicySet:
    """Policies by name: each file `NAME.yaml` of a folder is one."""

    def __init__(self, folder: Path, vocabulary: Vocabulary) -> None:
        """Load all of them. Raises InvalidPolicy."""
        self._folder = folder
        self._vocabulary = vocabulary
        self._policies = _load(folder, vocabulary)

    def reload(self) -> None:
        """Load all of them again. Raises InvalidPolicy, and then keeps those that there are."""
        self._policies = _load(self._folder, self._vocabulary)

    def get(self, name: str) -> Policy:
        """A policy by its name, the default one by the empty name. Raises PolicyNotFound."""
        if policy := self._policies.get(name or DEFAULT):
            return policy
        known = ", ".join(self._policies)
        raise PolicyNotFound(f"there is no policy {name!r}; there are: {known}", field="policy")

    def all(self) -> tuple[Policy, ...]:
        """All policies, by name."""
        return tuple(self._policies.values())


def _load(folder: Path, vocabulary: Vocabulary) -> dict[str, Policy]:
    policies: dict[str, Policy] = {}
    for path in _files(folder):
        if not is_name(path.stem):
            raise InvalidPolicy(f"{path}: a policy's name is lower-case letters, digits and dashes")
        if path.stem in policies:
            raise InvalidPolicy(f"{path}: the policy {path.stem!r} is there twice")
        policies[path.stem] = load_policy(path, vocabulary)
    if DEFAULT not in policies:
        raise InvalidPolicy(f"{folder}: there is no {DEFAULT}.yaml")
    return policies


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
    except OSError as error:
        raise InvalidPolicy(f"{folder}: cannot be read: {error.strerror}") from error
