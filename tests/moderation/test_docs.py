"""What docs/policies.md says is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.errors import InvalidPolicy
from services.moderation.document import MAX_EXPRESSION_LENGTH, MAX_FILE_BYTES
from services.moderation.models import MODELS, vocabulary
from services.moderation.policy import load_policy, parse_policy
from services.moderation.settings import PACKAGED_POLICIES

PAGE = Path(__file__).parents[2] / "docs" / "policies.md"
DEFAULT = PACKAGED_POLICIES / "default.yaml"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text()


def test_example_is_the_default_policy(page: str):
    """The example means what the packaged default policy means."""
    [example] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    models = vocabulary(MODELS)
    version = parse_policy(example.encode(), "default", models).version
    assert version == load_policy(DEFAULT, models).version


def test_complaint_reads_like_that(page: str):
    """The complaint that is shown is the one that this mistake in the default policy gives."""
    broken = DEFAULT.read_text().replace("nsfw.score >=", "nsfw.scor >=")
    with pytest.raises(InvalidPolicy) as failure:
        parse_policy(broken.encode(), "default", vocabulary(MODELS), file="policies/default.yaml")
    assert f"\nmoderation: {failure.value.message}\n" in page


def test_names_every_model(page: str):
    """Every model that policies can read has its variable in the table."""
    assert [name for name in MODELS if f"| {name} | `{name}` |" not in page] == []


@pytest.mark.parametrize(
    "limit", [f"{MAX_FILE_BYTES:,} bytes", f"{MAX_EXPRESSION_LENGTH:,} characters"]
)
def test_names_the_limits(page: str, limit: str):
    """The limits on the page are those of the code."""
    assert limit in page
