"""The least that a click to a first message can cost with these libraries: view -> task -> group_send -> websocket.

As a Celery app (``celery -A tests.bench.floor worker``) and as an ASGI app (``uvicorn tests.bench.floor:application``):
a minimal Django with one view and one consumer, on the Redis that FLOOR_REDIS names.
"""

from __future__ import annotations

import os
from typing import Any

import django
from asgiref.sync import async_to_sync
from celery import Celery
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

REDIS = os.environ.get("FLOOR_REDIS", "redis://127.0.0.1:6379/0")
GROUP = "floor"

if not settings.configured:
    settings.configure(
        SECRET_KEY="floor",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=["channels"],
        CHANNEL_LAYERS={
            "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS]}}
        },
    )
    django.setup()

app = Celery("floor", broker=REDIS.replace("unix://", "redis+socket://"))
app.conf.update(task_ignore_result=True, task_default_queue="floor", worker_prefetch_multiplier=1)


@app.task(name="floor.tell")
def tell() -> None:
    """The bare task: one message to the group."""
    async_to_sync(get_channel_layer().group_send)(GROUP, {"type": "told"})


@app.task(name="floor.nothing")
def nothing() -> None:
    """The bare task that does nothing."""


def start(_request: HttpRequest) -> HttpResponse:
    """The bare view."""
    tell.delay()
    return HttpResponse(status=202)


class Told(AsyncWebsocketConsumer):  # type: ignore[misc]
    """The bare websocket."""

    async def connect(self) -> None:
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()

    async def told(self, _event: dict[str, Any]) -> None:
        await self.send(text_data="told")


urlpatterns = [path("start/", start)]
application = ProtocolTypeRouter(
    {"http": get_asgi_application(), "websocket": URLRouter([path("ws/", Told.as_asgi())])}
)
