"""A model is everywhere that `docs/adding-a-model.md` says: the catalog against all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from models import registry
from services import catalog
from services.client.defaults import MAX_RESULTS, MIN_LINE_SCORE, MIN_LOGO_SCORE, MIN_SCORE
from services.moderation.models import MODELS
from services.rest import document
from services.rest.model_views import MODEL_VIEWS
from tests.contract.services import SERVICES
from tests.support.mesh import FakeNsfw, adding, mesh_of

ROOT = Path(__file__).parents[2]
ROOMS = ("__main__", "converters", "model", "processing", "servicer", "settings", "types")

every_model = pytest.mark.parametrize("process", catalog.MODELS, ids=lambda process: process.name)


@every_model
def test_has_its_rooms(process: catalog.Process):
    """Every model service has the same files with the same duties."""
    folder = ROOT / "services" / process.name
    assert [room for room in ROOMS if not (folder / f"{room}.py").is_file()] == []
    assert f"models/cards/{process.model}.md" in (folder / "README.md").read_text("utf-8")
    assert (ROOT / "proto" / "visionmesh" / process.name / "v1" / f"{process.name}.proto").is_file()


@every_model
def test_has_registered_weights(process: catalog.Process):
    """Every model's weights are registered under its name, with a card."""
    assert registry.card(process.model or "").startswith(f"# {process.model}: ")


@every_model
def test_is_answered_by_the_facade(process: catalog.Process):
    """Every model has its path, its schema and its row in the facade, which calls it."""
    contract = document.load()
    (view,) = [view for view in MODEL_VIEWS if view.name == process.model]
    asked = contract["paths"][f"/v1/images/{{id}}/{process.model}"]["get"]
    parameters = contract["components"]["parameters"]
    named = [parameters[one["$ref"].rpartition("/")[2]]["name"] for one in asked["parameters"]]
    assert [name for name in view.parameters if name not in named] == []
    assert {"image", "model", process.model} < set(document.shape_of(contract, view.schema))
    assert process.name in catalog.BY_NAME["rest"].calls


@every_model
def test_can_be_read_by_policies(process: catalog.Process):
    """Every model is one that policies can read, and moderation calls it."""
    assert process.model in MODELS
    assert process.name in catalog.BY_NAME["moderation"].calls


@every_model
async def test_is_described_through_the_client(process: catalog.Process):
    """The client asks every model what it is."""
    async with mesh_of(adding(FakeNsfw())) as mesh:
        assert (await mesh.get_model(process.model or "")).name == process.model


@every_model
def test_is_held_to_the_contract(process: catalog.Process):
    """The suite for all model services runs over every model."""
    assert process in {service.process for service in SERVICES}


@every_model
def test_is_in_the_documents(process: catalog.Process):
    """Who reads about paths and about policies finds every model."""
    assert f"`GET /v1/images/{{id}}/{process.model}?" in (ROOT / "docs/rest.md").read_text("utf-8")
    assert f"| {process.model} | `{process.model}` |" in (ROOT / "docs/policies.md").read_text(
        "utf-8"
    )


def test_document_has_the_defaults_of_the_code():
    """What the document calls default is what the facade takes when nothing is said."""
    parameters = document.load()["components"]["parameters"]
    assert parameters["minScore"]["schema"]["default"] == MIN_SCORE
    assert parameters["minLogoScore"]["schema"]["default"] == MIN_LOGO_SCORE
    assert parameters["minLineScore"]["schema"]["default"] == MIN_LINE_SCORE
    assert parameters["maxResults"]["schema"]["default"] == MAX_RESULTS
