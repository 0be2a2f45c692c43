"""The application of ``served`` behind ASGI's adapter, as uvicorn takes it."""

from __future__ import annotations

from asgiref.wsgi import WsgiToAsgi

from tests.apps.served import create_app

app = WsgiToAsgi(create_app())  # type: ignore[no-untyped-call]
