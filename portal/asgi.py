"""HTTP and every websocket route."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings.dev")
http = get_asgi_application()  # loads the apps, so before anything that needs their models

from django.urls import path, re_path  # noqa: E402

from compute.consumers import ConsoleConsumer  # noqa: E402
from portal.bodies import BoundedBodies  # noqa: E402
from portal.consumers import JobConsumer, PageConsumer, VmsConsumer, no_such_socket  # noqa: E402

websocket = URLRouter(
    [
        path("ws/page/", PageConsumer.as_asgi()),
        path("ws/jobs/<uuid:uid>/", JobConsumer.as_asgi()),
        path("ws/vms/", VmsConsumer.as_asgi()),
        path("ws/consoles/<uuid:uid>/", ConsoleConsumer.as_asgi()),  # type: ignore[arg-type]
        re_path("", no_such_socket),  # type: ignore[arg-type]
    ]
)
bounded = BoundedBodies(
    http,
    limit=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
    part_limit=settings.IMAGE_CHUNK_BYTES,
    form_limit=settings.IMAGE_FORM_BYTES,
)
application = ProtocolTypeRouter({"http": bounded, "websocket": websocket})
