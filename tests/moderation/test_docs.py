"""What docs/policies.md says is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.errors import InvalidPolicy
from services.moderation import document
from services.moderation.document import MAX_EXPRESSION_LENGTH, MAX_FILE_BYTES
from services.moderation.evaluate import MAX_EVIDENCE
from services.moderation.models import MODELS, vocabulary
from services.moderation.policy import parse_policy
from services.moderation.settings import PACKAGED_POLICIES
from services.moderation.text.characters import MAX_CHARACTERS, MAX_LINE_LENGTH
from services.moderation.text.phones import REGIONS

PAGE = Path(__file__).parents[2] / "docs" / "policies.md"
DEFAULT = PACKAGED_POLICIES / "default.yaml"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text()


def test_examples_are_policies(page: str):
    """Every example can be loaded."""
    examples = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 4
    for example in examples:
        assert parse_policy(example.encode(), "example", vocabulary(MODELS)).rules


def test_names_every_rule_of_the_default_policy(page: str):
    """The table of the default policy has every code that is in the file, and no other."""
    table = page.partition("## The default policy")[2].partition("## ")[0]
    written, _ = document.read(DEFAULT.read_bytes(), "default.yaml")
    codes = [code for row in table.splitlines() if row.startswith("| `")
             for code in re.findall(r"`([A-Z_]+)`", row)]  # fmt: skip
    assert sorted(codes) == sorted(rule.code for rule in written.rules)


def test_names_the_limits_of_text(page: str):
    """How much of a page is looked through, and how much a reason shows, is what the code says."""
    assert (
        f"first {MAX_CHARACTERS:,} characters, and of each line the first {MAX_LINE_LENGTH}" in page
    )
    assert f"shows at most {MAX_EVIDENCE} items" in page
    assert f"in {len(REGIONS)} countries" in page


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
