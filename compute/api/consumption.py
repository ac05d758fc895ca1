"""What uses a quota, over the API."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from compute.services.consumption import consumers, consumption
from portal.common.actor import Actor, Door
from portal.common.api import ListView
from portal.common.http import actor_of
from portal.common.paging import NewestFirst
from portal.common.strict import PageQuery, StrictUuid
from tenants.models import QuotaCharge


class OwnerSerializer(serializers.Serializer):
    id = serializers.UUIDField(source="pk")
    username = serializers.CharField()
    display_name = serializers.CharField()


class ConsumerSerializer(serializers.Serializer):
    kind = serializers.CharField(help_text="`vm`, `disk`, `image`, `template`.")
    id = serializers.UUIDField(source="uid")
    name = serializers.CharField(help_text="Empty where one may not see the thing.")
    machine = serializers.UUIDField(allow_null=True, help_text="The machine of a disk.")
    amount = serializers.IntegerField(help_text="In the unit that the dimension's name ends in.")
    owner = OwnerSerializer(allow_null=True, help_text="Whose share it is of.")


class ConsumersQuery(PageQuery):
    """Which page, and of whose use."""

    user = StrictUuid(required=False, help_text="Of this user's share alone.")


class LargestFirst(NewestFirst):
    """Ordered by amount; what is used in all, of what limit, and by what one does not see, stands beside the page."""

    field = "amount"
    sums: ClassVar = {"used": "integer", "limit": "integer", "others": "integer"}

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """With the sums."""
        found = super().get_paginated_response_schema(schema)
        found["properties"] |= {name: {"type": kind, "nullable": name == "limit"} for name, kind in self.sums.items()}
        return found | {"required": [*found["required"], *self.sums]}


class DataCenterConsumers(ListView):
    """What uses a dimension of a data center's quota, the largest first: everything for who runs it, one's own for others."""

    guarded = True
    queries: ClassVar = {"GET": ConsumersQuery}
    serializer_class = ConsumerSerializer
    pagination_class = LargestFirst
    queryset = QuotaCharge.objects.none()

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """A page of them."""
        actor = _actor(request)
        found = consumption(actor, self.kwargs["uid"], self.kwargs["dimension"], user_uid=self.query.get("user"))
        page = list(self.paginate_queryset(found.charges) or [])
        answer = self.get_paginated_response(ConsumerSerializer(consumers(actor, page), many=True).data)
        answer.data |= {name: getattr(found, name) for name in LargestFirst.sums}
        return answer


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
