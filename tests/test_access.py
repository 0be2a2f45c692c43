from __future__ import annotations

import logging
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Request, abort, request
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_recurring._dashboard.access import (
    Access,
    AllowAll,
    Decision,
    LocalRequestsOnly,
    decide,
    identity,
    same_origin,
)


def asked(
    address: str | None = "127.0.0.1",
    host: str | None = "localhost:5000",
    headers: dict[str, str] | None = None,
    **environ: Any,
) -> Request:
    """A request as a WSGI server would give it."""
    values: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "5000",
        "wsgi.url_scheme": "http",
    }
    if address is not None:
        values["REMOTE_ADDR"] = address
    if host is not None:
        values["HTTP_HOST"] = host
    for name, value in (headers or {}).items():
        values[f"HTTP_{name.upper().replace('-', '_')}"] = value
    return Request(values | environ)


def test_access_is_ordered() -> None:
    assert Access.NONE < Access.READ < Access.OPERATE


def test_allow_all() -> None:
    assert AllowAll()(asked("203.0.113.9", "example.com")) is Access.OPERATE


# Local requests


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.0.0.53", "127.255.255.254", "::1", "::ffff:127.0.0.1"]
)
@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:5000", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:8000", "[::1]:5000"],
)
def test_direct_local_requests(address: str, host: str) -> None:
    assert LocalRequestsOnly()(asked(address, host)) is Access.OPERATE


def test_a_browsers_own_headers_do_not_matter() -> None:
    headers = {
        "Accept": "text/html",
        "Cookie": "a=b",
        "Referer": "http://localhost:5000/",
        "Origin": "http://localhost:5000",
        "Sec-Fetch-Site": "same-origin",
        "Upgrade-Insecure-Requests": "1",
        "Cache-Control": "no-cache",
        "X-Requested-With": "XMLHttpRequest",
        "HX-Request": "true",
        "DNT": "1",
    }
    assert LocalRequestsOnly()(asked(headers=headers)) is Access.OPERATE


@pytest.mark.parametrize(
    "address",
    [
        "203.0.113.9",
        "10.0.0.1",
        "192.168.1.5",
        "172.17.0.1",
        "128.0.0.1",
        "1.127.0.0",
        "127.0.0.1.example.com",
        "127.0.0.1, 203.0.113.9",
        "2001:db8::1",
        "::ffff:10.0.0.1",
        "::",
        "0.0.0.0",
        "localhost",
        "<local>",
        "",
        None,
    ],
)
def test_requests_from_elsewhere(address: str | None) -> None:
    assert LocalRequestsOnly()(asked(address)) is Access.NONE


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "evil.example:5000",
        "localhost.evil.example",
        "evil-localhost",
        "127.0.0.1.nip.io",
        "127.0.0.1.evil.example:5000",
        "localhost:5000@evil.example",
        "evil.example@localhost",
        "localhost,evil.example",
        "localhost/evil.example",
        "localhost\n",
        "[::1]evil",
        "[::2]",
        "10.0.0.1",
        "0.0.0.0:5000",
        "localhost:",
        "",
        None,
    ],
)
def test_local_requests_by_a_foreign_name(host: str | None) -> None:
    assert LocalRequestsOnly()(asked(host=host)) is Access.NONE


@pytest.mark.parametrize(
    "header",
    [
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Server",
        "X-Forwarded-Client-Cert",
        "X-Original-Forwarded-For",
        "X-Real-IP",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "X-Remote-Addr",
        "X-Original-URL",
        "X-Scheme",
        "X-Request-Start",
        "Via",
        "Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "CF-Ray",
        "CDN-Loop",
        "Fastly-Client-IP",
        "Fly-Client-IP",
        "X-Envoy-External-Address",
        "X-Amzn-Trace-Id",
        "X-Amz-Cf-Id",
        "X-Azure-ClientIP",
        "X-ARR-SSL",
        "X-AppEngine-User-IP",
        "X-Cloud-Trace-Context",
        "Proxy-Connection",
        "Tailscale-User-Login",
        "Ngrok-Trace-Id",
    ],
)
@pytest.mark.parametrize("value", ["127.0.0.1", ""])
def test_a_trace_of_a_proxy(header: str, value: str) -> None:
    assert LocalRequestsOnly()(asked(headers={header: value})) is Access.NONE


def test_a_proxy_that_leaves_no_header_but_speaks_http_1_0() -> None:
    assert LocalRequestsOnly()(asked(SERVER_PROTOCOL="HTTP/1.0")) is Access.NONE


@pytest.mark.parametrize(
    ("headers", "address", "expected"),
    [
        ({}, "127.0.0.1", Access.OPERATE),
        ({}, "203.0.113.9", Access.NONE),
        ({"X-Forwarded-For": "127.0.0.1"}, "127.0.0.1", Access.NONE),
        ({"X-Forwarded-For": "127.0.0.1"}, "203.0.113.9", Access.NONE),
        ({"X-Forwarded-Host": "localhost"}, "127.0.0.1", Access.NONE),
    ],
)
def test_with_proxy_fix(headers: dict[str, str], address: str, expected: Access) -> None:
    app = Flask("app")
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_host=1)  # type: ignore[method-assign]
    seen: list[Access] = []

    @app.get("/")
    def page() -> str:
        seen.append(LocalRequestsOnly()(request))
        return ""

    app.test_client().get("/", headers=headers, environ_base={"REMOTE_ADDR": address})
    assert seen == [expected]


@pytest.mark.parametrize("key", ["REMOTE_ADDR", "HTTP_HOST"])
def test_what_proxy_fix_has_rewritten(key: str) -> None:
    environ: dict[str, Any] = {"werkzeug.proxy_fix.orig": {key: "elsewhere", "SCRIPT_NAME": "/x"}}
    assert LocalRequestsOnly()(asked(**environ)) is Access.NONE


def test_the_test_client_is_local() -> None:
    app = Flask("app")
    with app.test_request_context("/", environ_base={"REMOTE_ADDR": "127.0.0.1"}):
        assert LocalRequestsOnly()(request) is Access.OPERATE


# Decisions


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([Access.OPERATE], Access.OPERATE),
        ([Access.READ], Access.READ),
        ([Access.NONE], Access.NONE),
        ([True], Access.OPERATE),
        ([False], Access.NONE),
        ([Access.OPERATE, Access.READ], Access.READ),
        ([Access.READ, True], Access.READ),
        ([True, True], Access.OPERATE),
        ([True, False, True], Access.NONE),
        ([Access.READ, Access.NONE, Access.OPERATE], Access.NONE),
        ([Decision(Access.READ), True], Access.READ),
        ([Decision(True), Decision(False)], Access.NONE),
    ],
)
def test_the_lowest_answer_counts(answers: list[Any], expected: Access) -> None:
    hooks = [lambda request, answer=answer: answer for answer in answers]
    for debug in (False, True):
        assert decide(hooks, asked("203.0.113.9"), debug=debug).access is expected
    assert decide(iter(hooks), asked(), debug=False).access is expected


def test_hooks_get_the_request() -> None:
    given = asked()
    assert decide([lambda request: request is given], given, debug=False).access is Access.OPERATE


def test_no_hook_is_asked_after_a_refusal() -> None:
    def never(request: Request) -> bool:
        raise AssertionError

    assert decide([lambda request: False, never], asked(), debug=False).access is Access.NONE


@pytest.mark.parametrize(
    ("given", "debug", "expected"),
    [
        (asked(), True, Access.OPERATE),
        (asked(), False, Access.NONE),
        (asked("203.0.113.9"), True, Access.NONE),
        (asked("203.0.113.9"), False, Access.NONE),
        (asked(host="evil.example"), True, Access.NONE),
        (asked(headers={"X-Forwarded-For": "127.0.0.1"}), True, Access.NONE),
    ],
)
def test_without_hooks(given: Request, debug: bool, expected: Access) -> None:
    assert decide((), given, debug=debug).access is expected


def test_a_decision_says_who_it_is_and_how_to_prove_it() -> None:
    def hook(*answer: Any, **more: Any) -> Any:
        return lambda request: Decision(*answer, **more)

    ann, basic = hook(True, user="ann"), hook(False, challenge="Basic")
    assert decide([AllowAll(), ann], asked(), debug=False) == Decision(Access.OPERATE, "ann")
    assert decide([ann, basic], asked(), debug=False) == Decision(Access.NONE, "ann", "Basic")
    assert decide([hook(True, user=0)], asked(), debug=False).user == "0"
    # Who may look needs no other name and password.
    willing = hook(Access.READ, challenge="Basic")
    assert decide([willing], asked(), debug=False) == Decision(Access.READ)


class Truthy:
    def __bool__(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "None (does it lack a return?)"),
        (1, "a int"),
        (2, "a int"),
        (0, "a int"),
        ("yes", "a str"),
        (2.0, "a float"),
        (Truthy(), "a Truthy"),
        (Access, "a EnumType"),
        ((True,), "a tuple"),
        (Decision(2), "a Decision"),  # type: ignore[arg-type]
    ],
)
def test_another_answer_is_a_refusal(
    caplog: pytest.LogCaptureFixture, answer: Any, told: str
) -> None:
    def hook(request: Request) -> Any:
        return answer

    assert decide([hook], asked(), debug=True).access is Access.NONE
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "test_another_answer" in record.getMessage()
    assert f"answered {told}, so access is refused" in record.getMessage()


def abort_401(request: Request) -> bool:
    abort(401)


def fail(request: Request) -> bool:
    raise ZeroDivisionError("hush")


@pytest.mark.parametrize("hook", [fail, abort_401, lambda: True])
def test_a_hook_that_fails_is_a_refusal(caplog: pytest.LogCaptureFixture, hook: Any) -> None:
    assert decide([AllowAll(), hook], asked(), debug=True).access is Access.NONE
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "failed, so access is refused" in record.getMessage()


def test_an_async_hook_is_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    async def hook(request: Request) -> bool:
        return True

    assert decide([hook], asked(), debug=True).access is Access.NONE  # type: ignore[list-item]
    assert "is async" in caplog.text


# Identity


class User:
    def __init__(self, is_authenticated: bool) -> None:
        self.is_authenticated = is_authenticated

    def get_id(self) -> str:
        return "kim"


@pytest.fixture
def app() -> Iterator[Flask]:
    app = Flask("app")
    with app.app_context():
        yield app


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (asked(), None),
        # What anybody can write, and nobody has verified.
        (asked(headers={"Authorization": "Basic dTpw"}), None),
        (asked(headers={"Authorization": "Bearer x"}), None),
        (asked(REMOTE_USER="kim"), "kim"),
        (asked(REMOTE_USER=""), None),
        (asked(headers={"Remote-User": "kim"}), None),
        (asked(headers={"Cookie": "session=x"}), None),
    ],
)
def test_identity(app: Flask, given: Request, name: str | None) -> None:
    assert identity(given) == name


@pytest.mark.parametrize(("user", "name"), [(User(True), "kim"), (User(False), None), (None, None)])
def test_identity_of_flask_login(
    app: Flask, monkeypatch: pytest.MonkeyPatch, user: User | None, name: str | None
) -> None:
    module = types.ModuleType("flask_login")
    module.current_user = user  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flask_login", module)
    assert identity(asked()) is None, "Flask-Login is not set up on the app"
    app.login_manager = object()  # type: ignore[attr-defined]
    assert identity(asked()) == name


def test_a_user_loader_that_fails_knows_nobody(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        @property
        def is_authenticated(self) -> bool:
            raise ConnectionError

    module = types.ModuleType("flask_login")
    module.current_user = Broken()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flask_login", module)
    app.login_manager = object()  # type: ignore[attr-defined]
    assert identity(asked()) is None
    assert "could not tell who is signed in" in caplog.text


def test_the_real_flask_login(app: Flask) -> None:
    flask_login = pytest.importorskip("flask_login")

    class Person(flask_login.UserMixin):  # type: ignore[name-defined, misc]
        id = "kim"

    manager = flask_login.LoginManager(app)
    app.secret_key = "x"
    manager.user_loader(lambda key: Person())
    with app.test_request_context():
        assert identity(request) is None
        flask_login.login_user(Person())
        assert identity(request) == "kim"


# Origins


def posted(host: str = "app.example", scheme: str = "http", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    values = {"REQUEST_METHOD": "POST", "wsgi.url_scheme": scheme}
    return asked("203.0.113.9", host, named, **values)


@pytest.mark.parametrize(
    ("site", "same"),
    [
        ("same-origin", True),
        ("same-site", False),
        ("cross-site", False),
        ("none", False),
        ("", False),
        ("Same-Origin", False),
        ("same-origin, cross-site", False),
        ("unheard-of", False),
    ],
)
def test_what_the_browser_says_counts(site: str, same: bool) -> None:
    assert same_origin(posted(Sec_Fetch_Site=site)) is same
    assert same_origin(posted(Sec_Fetch_Site=site, Origin="http://app.example")) is same
    # A page without referrers sends this to its own origin too.
    assert same_origin(posted(Sec_Fetch_Site=site, Origin="null")) is same


@pytest.mark.parametrize(
    ("scheme", "host", "origin"),
    [
        ("http", "app.example", "http://app.example"),
        ("http", "app.example", "http://app.example:80"),
        ("http", "app.example:80", "http://app.example"),
        ("http", "App.Example", "http://app.example"),
        ("http", "app.example:8000", "http://app.example:8000"),
        ("https", "app.example", "https://app.example"),
        ("https", "app.example:443", "https://app.example"),
        ("http", "[::1]:5000", "http://[::1]:5000"),
        ("http", "xn--bcher-kva.example", "http://xn--bcher-kva.example"),
    ],
)
def test_the_apps_own_origin(scheme: str, host: str, origin: str) -> None:
    assert same_origin(posted(host, scheme, Origin=origin)) is True
    assert same_origin(posted(host, scheme, Referer=f"{origin}/hangfire?x=1")) is True


@pytest.mark.parametrize(
    ("scheme", "host", "origin"),
    [
        ("http", "app.example", "null"),
        ("http", "app.example", ""),
        ("http", "app.example", "http://evil.example"),
        ("http", "app.example", "http://evil.app.example"),
        ("http", "app.example", "http://app.example.evil.example"),
        ("http", "app.example", "http://app.example:8000"),
        ("http", "app.example:8000", "http://app.example"),
        ("http", "app.example", "https://app.example"),
        ("https", "app.example", "http://app.example"),
        ("https", "app.example:80", "http://app.example:80"),
        ("http", "app.example", "http://app.example@evil.example"),
        ("http", "app.example", "http://user@app.example"),
        ("http", "app.example", "http://app.example:port"),
        ("http", "app.example", "http://app.example:99999"),
        ("http", "app.example", "http://[app.example"),
        ("http", "app.example", "http://"),
        ("http", "app.example", "app.example"),
        ("http", "app.example", "//app.example"),
        ("http", "app.example", "file://app.example"),
        ("http", "app.example", "chrome-extension://app.example"),
        ("http", "app.example", "http://app.example, http://evil.example"),
        ("http", "evil@app.example", "http://app.example"),
        ("http", "app.example/x", "http://app.example"),
        ("http", "", "http://"),
        ("http", "", "null"),
    ],
)
def test_another_origin(scheme: str, host: str, origin: str) -> None:
    assert same_origin(posted(host, scheme, Origin=origin)) is False
    assert same_origin(posted(host, scheme, Referer=origin)) is False


def test_an_origin_has_no_path() -> None:
    assert same_origin(posted(Origin="http://app.example/")) is False


def test_an_origin_outweighs_the_referer() -> None:
    own, foreign = "http://app.example", "http://evil.example"
    assert same_origin(posted(Origin=foreign, Referer=f"{own}/")) is False
    assert same_origin(posted(Origin=own, Referer=f"{foreign}/")) is True


def test_what_is_no_browser_passes() -> None:
    assert same_origin(posted()) is True
    app = Flask("app")
    with app.test_request_context("/", method="POST"):
        assert same_origin(request) is True


def test_behind_a_proxy_the_app_needs_to_see_its_own_origin() -> None:
    app = Flask("app")
    seen: list[bool] = []

    @app.post("/")
    def page() -> str:
        seen.append(same_origin(request))
        return ""

    headers = {
        "Origin": "https://app.example",
        "Host": "10.0.0.5:8000",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "app.example",
    }
    app.test_client().post("/", headers=headers)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_proto=1, x_host=1)  # type: ignore[method-assign]
    app.test_client().post("/", headers=headers)
    assert seen == [False, True]
