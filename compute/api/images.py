"""Images over the API: begin an upload, send its bytes in order, see how far it is, remove it."""

from __future__ import annotations

import re
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext_lazy
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from compute.choices import ImageFormat, ImageStatus
from compute.models import Image
from compute.operations.images import refusal_text
from compute.services import images
from compute.services.images import ImageRequest
from portal.common.actor import Actor, Door
from portal.common.api import ApiView, ListView, answer_once
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.paging import ByName
from portal.common.strict import PageQuery, StrictInteger, StrictSerializer, StrictString, StrictUuid, checked

NUMBER = re.compile(r"[0-9]{1,15}")
LARGEST = 10**15 - 1


class ImageSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="uid", read_only=True)
    data_center = serializers.UUIDField(source="owner_id", allow_null=True, help_text="null: the institute's.")
    status = serializers.ChoiceField(choices=ImageStatus.choices)
    reason = serializers.SerializerMethodField(help_text="Why it was refused, for people; empty otherwise.")
    warning = serializers.SerializerMethodField(help_text="Why it may not be what its name says; empty otherwise.")
    uploader = serializers.CharField(source="uploader.username", default="")

    class Meta:
        model = Image
        fields = [
            "id",
            "name",
            "data_center",
            "format",
            "size_bytes",
            "received_bytes",
            "virtual_bytes",
            "sha256",
            "status",
            "reason",
            "warning",
            "uploader",
            "created_at",
        ]
        read_only_fields = fields

    def get_reason(self, image: Image) -> str:
        """In the reader's language."""
        return refusal_text(image)

    def get_warning(self, image: Image) -> str:
        """In the reader's language."""
        return images.doubt_of(image)


class NewImageSerializer(StrictSerializer):
    name = StrictString(max_length=200)
    format = serializers.ChoiceField(choices=ImageFormat.values, help_text="What the file is; another is refused.")
    size_bytes = StrictInteger(
        min_value=1,
        max_value=LARGEST,
        help_text="Of the file.",
        error_messages={"min_value": gettext_lazy("The file is empty. Choose one with the bytes of a disk.")},
    )
    sha256 = StrictString(
        default="", allow_blank=True, max_length=64, help_text="Of the file, if known: compared at the end."
    )
    data_center = StrictUuid(default=None, allow_null=True, help_text="Whose it is; null: the institute's.")


class OffsetField(serializers.IntegerField):
    """A number of a byte in a query string: digits and nothing else."""

    def to_internal_value(self, data: Any) -> int:
        """The number; anything else is refused."""
        if not NUMBER.fullmatch(data):
            self.fail("invalid")
        return super().to_internal_value(data)


class OffsetQuery(StrictSerializer):
    """Where these bytes belong."""

    offset = OffsetField(
        min_value=0, max_value=LARGEST, help_text="The number of their first byte in the file, from 0."
    )


class ChunkParser(BaseParser):
    """Bytes as they stand; how many a request may have is bounded before (``portal.bodies``)."""

    media_type = "application/octet-stream"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """All of them."""
        return stream.read(settings.IMAGE_CHUNK_BYTES + 1)


class ImagesQuery(PageQuery):
    """Which images, and which page of them."""

    status = serializers.ChoiceField(choices=ImageStatus.choices, required=False)
    name = StrictString(required=False, max_length=200, help_text="Of this very name.")


class Images(ListView):
    """The images one may see."""

    queries: ClassVar = {"GET": ImagesQuery}

    rehearsed = ("POST",)
    serializer_class = ImageSerializer
    pagination_class = ByName

    def get_queryset(self) -> Any:
        """Through the policy."""
        if not self.request.user:
            return Image.objects.none()
        asked = {name: self.query[name] for name in ("status", "name") if name in self.query}
        return images.images(_actor(self.request)).filter(**asked)

    @extend_schema(request=NewImageSerializer, responses={201: ImageSerializer}, operation_id="images_create")
    def post(self, request: Request) -> Response:
        """Begin an upload: its id, to which the bytes then go. Refused with figures where there is no room for so much."""
        data, actor = checked(NewImageSerializer, request.data), _actor(request)
        wish = ImageRequest(
            data["name"], data["format"], data["size_bytes"], data["data_center"], data["sha256"].lower()
        )
        return answer_once(request, actor, lambda: _made(images.create_image(actor, wish)))


class ImageDetail(ApiView):
    """One image."""

    rehearsed = ("DELETE",)

    @extend_schema(responses=ImageSerializer)
    def get(self, request: Request, uid: UUID) -> Response:
        """How far it is: ``received_bytes`` is the offset to go on from."""
        return Response(ImageSerializer(images.get_image(_actor(request), uid)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, uid: UUID) -> Response:
        """Cancel its upload, or remove it; its bytes go too."""
        images.delete_image(_actor(request), uid)
        return Response(status=status.HTTP_204_NO_CONTENT)


class ImageContent(ApiView):
    """The bytes of an image that is being uploaded."""

    queries: ClassVar = {"PUT": OffsetQuery}
    parser_classes = [ChunkParser]

    @extend_schema(request={"application/octet-stream": OpenApiTypes.BINARY}, responses={200: ImageSerializer})
    def put(self, request: Request, uid: UUID) -> Response:
        """The next bytes, 4 MiB at most. Another offset than ``received_bytes`` is 409, and ``offset`` is the right one."""
        data = request.data if isinstance(request.data, bytes) else b""
        image = images.receive(_actor(request), uid, data, offset=self.query["offset"])
        return Response(ImageSerializer(image).data)


def _made(image: Image) -> Answer:
    return Answer(status.HTTP_201_CREATED, ImageSerializer(image).data, reverse("api:image", args=[image.pk]))


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
