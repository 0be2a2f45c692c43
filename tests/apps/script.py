"""An application that serves itself: ``script.py HOW PORT``."""

from __future__ import annotations

import asyncio
import sys

from flask_recurring._flask import serving
from tests.apps.served import create_app, probe, scheduler


def main(how: str, port: int) -> None:
    if how == "unnoticed":
        serving.WATCH_TIME = 0.5
    app = create_app()
    match how:
        case "run":
            app.run(port=port)
        case "debug":
            app.run(port=port, debug=True)
        case "waitress":
            import waitress  # type: ignore[import-untyped]

            waitress.serve(app, host="127.0.0.1", port=port, threads=2)
        case "wsgiref" | "unnoticed" | "told":
            from wsgiref.simple_server import make_server

            server = make_server("127.0.0.1", port, app)
            if how == "told":
                assert scheduler.start()
            server.serve_forever()
        case "uvicorn":
            import uvicorn
            from asgiref.wsgi import WsgiToAsgi

            asgi = WsgiToAsgi(app)  # type: ignore[no-untyped-call]
            asyncio.run(uvicorn.Server(uvicorn.Config(asgi, port=port)).serve())
        case "nothing":
            probe()
        case "client":
            assert app.test_client().get("/").status_code == 200
            probe()
        case _:
            raise SystemExit(f"unknown: {how}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
