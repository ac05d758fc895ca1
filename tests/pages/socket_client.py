"""A websocket client that talks to the ASGI application itself. (Channels' own comes only with another server.)"""

from __future__ import annotations

from typing import Any

from asgiref.testing import ApplicationCommunicator


class SocketClient:
    """One socket; what arrives is text, or the code with which it was closed."""

    def __init__(self, application: Any, path: str, *, headers: list[tuple[bytes, bytes]]) -> None:
        scope = {"type": "websocket", "path": path, "query_string": b"", "headers": headers, "subprotocols": []}
        self._app = ApplicationCommunicator(application, scope)

    async def connect(self) -> None:
        await self._app.send_input({"type": "websocket.connect"})
        message = await self._app.receive_output(5)
        assert message["type"] == "websocket.accept", message

    async def say(self, text: str) -> None:
        await self._app.send_input({"type": "websocket.receive", "text": text})

    async def hear(self) -> str:
        message = await self._app.receive_output(5)
        assert message["type"] == "websocket.send", message
        return str(message["text"])

    async def silent(self, seconds: float) -> bool:
        return bool(await self._app.receive_nothing(seconds))

    async def close_code(self) -> int:
        while True:
            message = await self._app.receive_output(5)
            if message["type"] == "websocket.close":
                return int(message["code"])

    async def leave(self) -> None:
        await self._app.send_input({"type": "websocket.disconnect", "code": 1000})
        await self._app.wait(5)
