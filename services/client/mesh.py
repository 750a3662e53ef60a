"""One client for every gRPC service of the mesh, through Envoy's mesh listener."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

import grpc

from services import catalog, errors
from services.client.calls import traced
from services.limits import DEFAULT_BATCH_TIMEOUT_S, DEFAULT_TIMEOUT_S, MAX_MESSAGE_BYTES
from services.serving import deadline, status, tenancy, timing
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.common.v1.model_pb2 import Model
from visionmesh.detection.v1 import detection_pb2
from visionmesh.detection.v1.detection_pb2_grpc import DetectionServiceStub
from visionmesh.images.v1 import images_pb2
from visionmesh.images.v1.images_pb2_grpc import ImageServiceStub
from visionmesh.logo.v1 import logo_pb2
from visionmesh.logo.v1.logo_pb2_grpc import LogoServiceStub
from visionmesh.moderation.v1 import moderation_pb2
from visionmesh.moderation.v1.moderation_pb2_grpc import ModerationServiceStub
from visionmesh.nsfw.v1 import nsfw_pb2
from visionmesh.nsfw.v1.nsfw_pb2_grpc import NsfwServiceStub
from visionmesh.ocr.v1 import ocr_pb2
from visionmesh.ocr.v1.ocr_pb2_grpc import OcrServiceStub

DIGEST_HEADER: Final = "x-visionmesh-digest"
"""Names the image of a call about one image, so that Envoy sends it where its results are near."""

API_KEY_HEADER: Final = "x-api-key"

OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Retries happen in one place, the mesh listener.
    ("grpc.enable_retries", 0),
    # A mesh that comes back is found again at once.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)

Request = TypeVar("Request", contravariant=True)
Response = TypeVar("Response", covariant=True)


class _Method(Protocol[Request, Response]):
    def __call__(
        self,
        request: Request,
        *,
        timeout: float | None = None,
        metadata: Sequence[tuple[str, str]] | None = None,
    ) -> Awaitable[Response]: ...


class _Described(Protocol):
    """Every model service's answer to GetModel."""

    @property
    def model(self) -> Model: ...


class MeshClient:
    """Calls the services of the mesh. Messages in and out, domain errors only.

    Every call ends by `timeout_s` and by the current request's deadline, whichever is earlier, and
    continues the current trace. Use it as an async context manager, or `close` it.
    """

    def __init__(self, address: str, *, token: str = "", api_key: str = "") -> None:
        """`address` is `host:port` of the mesh listener; nothing is connected before a call.

        A process of the mesh shows its `token` and calls for the current request's tenant;
        everybody else shows an `api_key`, where the mesh has keys.
        """
        self._credential = ((tenancy.TOKEN_HEADER, token),) if token else ()
        if api_key:
            self._credential = ((API_KEY_HEADER, api_key),)
        self._channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        channel = traced(self._channel, address, inside=bool(token))
        self._images = ImageServiceStub(channel)
        self._nsfw = NsfwServiceStub(channel)
        self._moderation = ModerationServiceStub(channel)
        self._detection = DetectionServiceStub(channel)
        self._ocr = OcrServiceStub(channel)
        self._logo = LogoServiceStub(channel)
        self._models: dict[str, Callable[[float], Awaitable[Model]]] = {
            "nsfw": partial(self._model, self._nsfw.GetModel, nsfw_pb2.GetModelRequest()),
            "detection": partial(
                self._model, self._detection.GetModel, detection_pb2.GetModelRequest()
            ),
            "ocr": partial(self._model, self._ocr.GetModel, ocr_pb2.GetModelRequest()),
            "logo": partial(self._model, self._logo.GetModel, logo_pb2.GetModelRequest()),
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._channel.close()

    async def create_image(
        self, data: bytes, digest: str = "", *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> images_pb2.CreateImageResponse:
        """Store an image durably; `digest`, when given, is what the bytes must hash to."""
        request = images_pb2.CreateImageRequest(data=data, digest=digest)
        return await self._call(self._images.CreateImage, request, timeout_s)

    async def get_image(
        self, digest: str, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> images_pb2.Image:
        """Describe one image. Raises ImageNotFound."""
        outcomes = await self.get_images([digest], timeout_s=timeout_s)
        if outcomes[0].HasField("error"):
            raise status.from_status(outcomes[0].error)
        return outcomes[0].image

    async def get_images(
        self, digests: Sequence[str], *, timeout_s: float | None = None
    ) -> list[images_pb2.GetImageOutcome]:
        """Describe up to 128 images, one outcome each in the same order."""
        response = await self._call(
            self._images.GetImages,
            images_pb2.GetImagesRequest(digests=digests),
            _timeout_s(timeout_s, digests),
            _one(digests),
        )
        return list(response.outcomes)

    async def delete_image(self, digest: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Delete one image and all that is known of it. Raises ImageNotFound."""
        request = images_pb2.DeleteImageRequest(digest=digest)
        await self._call(self._images.DeleteImage, request, timeout_s, digest)

    async def classify(
        self,
        images: Sequence[ImageRef],
        *,
        model_version: str = "",
        timeout_s: float | None = None,
    ) -> list[nsfw_pb2.ClassifyOutcome]:
        """Say how likely each of up to 128 images is not safe for work.

        With a `model_version` results are that version's, or ResultNotFound.
        """
        with _ModelCall("nsfw"), timing.asking("nsfw"):
            response = await self._call(
                self._nsfw.Classify,
                nsfw_pb2.ClassifyRequest(images=images, model_version=model_version),
                _timeout_s(timeout_s, images),
                _one([image.digest for image in images]),
            )
        return list(response.outcomes)

    async def detect(
        self,
        images: Sequence[ImageRef],
        *,
        model_version: str = "",
        min_score: float = 0.0,
        labels: Sequence[str] = (),
        max_results: int = 0,
        timeout_s: float | None = None,
    ) -> list[detection_pb2.DetectOutcome]:
        """Say which things of known kinds each of up to 128 images shows, and where.

        Of each result what scores at least `min_score` and is one of `labels` (none: all kinds),
        the surest `max_results` of it (0: all). With a `model_version` results are that version's,
        or ResultNotFound.
        """
        request = detection_pb2.DetectRequest(
            images=images,
            model_version=model_version,
            min_score=min_score,
            labels=labels,
            max_results=max_results,
        )
        with _ModelCall("detection"), timing.asking("detection"):
            response = await self._call(
                self._detection.Detect,
                request,
                _timeout_s(timeout_s, images),
                _one([image.digest for image in images]),
            )
        return list(response.outcomes)

    async def read(
        self,
        images: Sequence[ImageRef],
        *,
        model_version: str = "",
        min_score: float = 0.0,
        timeout_s: float | None = None,
    ) -> list[ocr_pb2.ReadOutcome]:
        """Read the text that each of up to 128 images shows, of it the lines from `min_score` on.

        With a `model_version` results are that version's, or ResultNotFound.
        """
        request = ocr_pb2.ReadRequest(
            images=images, model_version=model_version, min_score=min_score
        )
        with _ModelCall("ocr"), timing.asking("ocr"):
            response = await self._call(
                self._ocr.Read,
                request,
                _timeout_s(timeout_s, images),
                _one([image.digest for image in images]),
            )
        return list(response.outcomes)

    async def recognize(
        self,
        images: Sequence[ImageRef],
        *,
        model_version: str = "",
        min_score: float = 0.0,
        brands: Sequence[str] = (),
        max_results: int = 0,
        timeout_s: float | None = None,
    ) -> list[logo_pb2.RecognizeOutcome]:
        """Say which brands' logos each of up to 128 images shows, and where.

        Of each result what scores at least `min_score` and is of one of `brands` (none: all), the
        surest `max_results` of it (0: all). With a `model_version` results are that version's, or
        ResultNotFound.
        """
        request = logo_pb2.RecognizeRequest(
            images=images,
            model_version=model_version,
            min_score=min_score,
            brands=brands,
            max_results=max_results,
        )
        with _ModelCall("logo"), timing.asking("logo"):
            response = await self._call(
                self._logo.Recognize,
                request,
                _timeout_s(timeout_s, images),
                _one([image.digest for image in images]),
            )
        return list(response.outcomes)

    async def register_brand(
        self, name: str, picture: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> logo_pb2.Brand:
        """Add a brand to the tenant's own, from one picture of its logo."""
        request = logo_pb2.RegisterBrandRequest(name=name, picture=picture)
        with _ModelCall("logo"):
            response = await self._call(self._logo.RegisterBrand, request, timeout_s)
        return response.brand

    async def list_brands(
        self,
        *,
        page_size: int = 0,
        page_token: str = "",
        own_only: bool = False,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> logo_pb2.ListBrandsResponse:
        """One page of the brands that the tenant's images are compared with, sorted by name."""
        request = logo_pb2.ListBrandsRequest(
            page_size=page_size, page_token=page_token, own_only=own_only
        )
        with _ModelCall("logo"):
            return await self._call(self._logo.ListBrands, request, timeout_s)

    async def delete_brand(self, name: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Remove one of the tenant's own brands."""
        request = logo_pb2.DeleteBrandRequest(name=name)
        with _ModelCall("logo"):
            await self._call(self._logo.DeleteBrand, request, timeout_s)

    async def moderate(
        self,
        images: Sequence[ImageRef],
        policy: str = "",
        *,
        release: str = "",
        timeout_s: float | None = None,
    ) -> list[moderation_pb2.ModerationOutcome]:
        """Give a verdict on each of up to 128 images, by a policy (empty: `default`).

        With a `release` the verdict is that release's. Raises ReleaseNotFound.
        """
        with timing.asking("moderation"):
            response = await self._call(
                self._moderation.Moderate,
                moderation_pb2.ModerateRequest(images=images, policy=policy, release=release),
                _timeout_s(timeout_s, images),
                _one([image.digest for image in images]),
            )
        return list(response.outcomes)

    async def evaluate(
        self,
        digests: Sequence[str],
        policy: str = "",
        *,
        release: str = "",
        without: Sequence[str] = (),
        replays: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> list[moderation_pb2.ModerationOutcome]:
        """Give a verdict on each of up to 128 images from stored results alone.

        With a `release` the verdict is that release's; the models in `without` count as missing.
        With `replays`, the audit entries that are given again, nothing is recorded.
        """
        with timing.asking("moderation"):
            response = await self._call(
                self._moderation.Evaluate,
                moderation_pb2.EvaluateRequest(
                    digests=digests,
                    policy=policy,
                    release=release,
                    without=without,
                    replays=replays,
                ),
                _timeout_s(timeout_s, digests),
                _one(digests),
            )
        return list(response.outcomes)

    async def list_policies(
        self, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> list[moderation_pb2.Policy]:
        """The policies that verdicts can be asked for."""
        response = await self._call(
            self._moderation.ListPolicies, moderation_pb2.ListPoliciesRequest(), timeout_s
        )
        return list(response.policies)

    async def list_audit_entries(
        self,
        *,
        page_size: int = 0,
        page_token: str = "",
        digest: str = "",
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> moderation_pb2.ListAuditEntriesResponse:
        """One page of the tenant's own verdicts, the newest first. Raises AuditUnavailable."""
        request = moderation_pb2.ListAuditEntriesRequest(
            page_size=page_size, page_token=page_token, digest=digest
        )
        return await self._call(self._moderation.ListAuditEntries, request, timeout_s)

    async def get_model(self, name: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Model:
        """Describe a model by its name. Raises ModelNotFound, ModelUnavailable."""
        if (ask := self._models.get(name)) is None:
            known = ", ".join(process.name for process in catalog.MODELS)
            raise errors.ModelNotFound(
                f"there is no model {name!r}; there are: {known}", field="model"
            )
        with _ModelCall(name):
            return await ask(timeout_s)

    async def _model(
        self, method: _Method[Request, _Described], request: Request, timeout_s: float
    ) -> Model:
        response = await self._call(method, request, timeout_s)
        return response.model

    async def _call(
        self,
        method: _Method[Request, Response],
        request: Request,
        timeout_s: float,
        digest: str = "",
    ) -> Response:
        allowed_s = deadline.for_callees_s(timeout_s)
        if allowed_s <= 0:
            raise errors.DeadlineExceeded("no answer within the deadline")
        metadata = list(self._credential)
        if tenant := tenancy.current():
            metadata.append((tenancy.TENANT_HEADER, tenant))
        if digest:
            metadata.append((DIGEST_HEADER, digest))
        try:
            response = await method(request, timeout=allowed_s, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise status.from_rpc_error(error) from error
        if response is None:  # what grpc.aio makes of bytes that are no such message
            raise errors.Internal("internal error")
        return response


class _ModelCall:
    """Says which model it is that cannot be reached."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if type(error) is errors.Unavailable:
            raise errors.ModelUnavailable(f"model {self._name!r} is not available") from error


def _timeout_s(timeout_s: float | None, items: Sequence[object]) -> float:
    if timeout_s is not None:
        return timeout_s
    return DEFAULT_TIMEOUT_S if len(items) == 1 else DEFAULT_BATCH_TIMEOUT_S


def _one(digests: Sequence[str]) -> str:
    return digests[0] if len(digests) == 1 else ""
