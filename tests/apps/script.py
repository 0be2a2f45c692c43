"""An application that serves itself: ``script.py run|debug|waitress|wsgiref|nothing PORT``."""

from __future__ import annotations

import sys

from tests.apps.served import create_app, probe


def main(how: str, port: int) -> None:
    app = create_app()
    match how:
        case "run":
            app.run(port=port)
        case "debug":
            app.run(port=port, debug=True)
        case "waitress":
            import waitress  # type: ignore[import-untyped]

            waitress.serve(app, host="127.0.0.1", port=port, threads=2)
        case "wsgiref":
            from wsgiref.simple_server import make_server

            make_server("127.0.0.1", port, app).serve_forever()
        case "nothing":
            probe()
        case "client":
            assert app.test_client().get("/").status_code == 200
            probe()
        case _:
            raise SystemExit(f"unknown: {how}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
