"""Connecting to something that is not quite the Odoo of the settings: one clear line with the fix."""

import logging

import pytest
from pydantic import SecretStr

from mc_pipeline.odoo.client import connect
from mc_pipeline.odoo.errors import (
    OdooAccessError,
    OdooAuthenticationError,
    OdooConnectionError,
    OdooDatabaseError,
    OdooError,
    OdooServerError,
    OdooVersionError,
)
from mc_pipeline_tests.odoo.byte_server import (
    CLOSE,
    LOGGED_IN,
    SILENCE,
    VERSION,
    closed_port,
    error,
    http,
    result,
    serve,
)
from mc_pipeline_tests.odoo.connection import SECRET, OdooAt, Patience

LOGIN_PAGE = http(
    "200 OK", b"<!DOCTYPE html><html><head><title>Sign in | Proxy</title></head></html>", "text/html"
)
NO_DATABASE = error(
    "psycopg2.OperationalError",
    'connection to server at "10.1.2.3", port 5432 failed: FATAL:  database "production" does not exist\n',
)


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        pytest.param(
            [LOGIN_PAGE], OdooServerError, ["web page", "Sign in | Proxy", "odoo.url"], id="login page"
        ),
        pytest.param(
            [http("404 Not Found", b"<html><title>404</title></html>", "text/html")],
            OdooServerError,
            ["HTTP 404", "without /web"],
            id="not found",
        ),
        pytest.param(
            [http("403 Forbidden", b"no", "text/plain")], OdooServerError, ["HTTP 403"], id="forbidden"
        ),
        pytest.param(
            [http("401 Unauthorized", b"", "text/plain", "WWW-Authenticate: Basic")],
            OdooServerError,
            ["login of its own", "401"],
            id="proxy login",
        ),
        pytest.param(
            [http("502 Bad Gateway", LOGIN_PAGE, "text/html")],
            OdooServerError,
            ["HTTP 502"],
            id="bad gateway",
        ),
        pytest.param([http("200 OK", b"")], OdooServerError, ["empty body"], id="empty body"),
        pytest.param(
            [http("200 OK", b'{"jsonrpc": "2.0", "resu')], OdooServerError, ["odoo.url"], id="cut JSON"
        ),
        pytest.param([http("200 OK", b'{"status": "ok"}')], OdooServerError, ["odoo.url"], id="other JSON"),
        pytest.param([http("200 OK", b"[1]")], OdooServerError, ["odoo.url"], id="a JSON list"),
        pytest.param([CLOSE], OdooConnectionError, ["closed the connection"], id="closes at once"),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\nConnection: close\r\n\r\n{"],
            OdooConnectionError,
            ["closed the connection"],
            id="cut body",
        ),
        pytest.param([result({"server_version": "16.0"})], OdooVersionError, ["16.0", "17.0"], id="too old"),
        pytest.param([result({})], OdooServerError, ["version"], id="no version"),
        pytest.param(
            [VERSION, NO_DATABASE], OdooDatabaseError, ["'production'", "odoo.database"], id="no database"
        ),
        pytest.param(
            [VERSION, error("psycopg2.errors.UndefinedTable", 'relation "res_users" does not exist')],
            OdooDatabaseError,
            ["no Odoo database"],
            id="a database of something else",
        ),
        pytest.param(
            [VERSION, error("builtins.KeyError", "res.users")],
            OdooDatabaseError,
            ["no Odoo database", "odoo.database"],
            id="an empty database",
        ),
        pytest.param(
            [VERSION, error("psycopg2.errors.UndefinedColumn", "column res_users.x does not exist")],
            OdooDatabaseError,
            ["another version"],
            id="a database of another version",
        ),
        pytest.param(
            [VERSION, result(False)],
            OdooAuthenticationError,
            ["i•••@example.com", "odoo.secret", "API key"],
            id="wrong password",
        ),
        pytest.param(
            [VERSION, result(7), error("odoo.exceptions.AccessDenied", "Access Denied")],
            OdooAuthenticationError,
            ["odoo.secret"],
            id="expired key",
        ),
        pytest.param(
            [*LOGGED_IN[:3], result([{"id": 7, "company_ids": [2, 3]}])],
            OdooAccessError,
            ["company 1", "2, 3", "allowed companies"],
            id="a company the user lacks",
        ),
        pytest.param([*LOGGED_IN[:3], result([])], OdooServerError, ["companies"], id="no companies named"),
    ],
)
def test_a_server_that_is_not_as_the_settings_say_is_refused_with_the_fix(script, kind, words):
    with serve(*script) as server, pytest.raises(OdooError) as raised:
        connect(OdooAt(server.url), [1], retry=Patience(attempts=2).policy)
    message = str(raised.value)
    assert type(raised.value) is kind
    assert [word for word in words if word not in message] == []
    assert "\n" not in message
    for private in (SECRET, "10.1.2.3", "5432", "secret-debug", "integration@example.com"):
        assert private not in message


@pytest.mark.parametrize(
    ("location", "fix"),
    [
        ("https://127.0.0.1:8443/web/webclient/version_info", "set odoo.url to https://127.0.0.1:8443"),
        ("https://odoo.example.org/", "set odoo.url to the address Odoo has now"),
        ("/web/database/selector", "odoo.database"),
        ("", "odoo.url"),
    ],
)
def test_a_redirect_is_not_followed_since_the_secret_is_in_the_body(location, fix):
    redirect = http("301 Moved Permanently", b"", "text/html", f"Location: {location}")
    with serve(redirect) as server, pytest.raises(OdooServerError, match=r"redirects") as raised:
        connect(OdooAt(server.url), [1], retry=Patience().policy)
    assert fix in str(raised.value)
    assert len(server.requests) == 1


def test_a_sub_path_in_the_address_is_kept_in_a_redirect_to_https():
    redirect = http("308 Permanent Redirect", b"", "text/html", "Location: https://127.0.0.1/erp/jsonrpc")
    with serve(redirect) as server, pytest.raises(OdooServerError) as raised:
        connect(OdooAt(server.url + "/erp/"), [1], retry=Patience().policy)
    assert "set odoo.url to https://127.0.0.1/erp" in str(raised.value)


def test_a_server_under_a_sub_path_is_spoken_to_there():
    with serve(*LOGGED_IN, result([5])) as server:
        with connect(OdooAt(server.url + "/erp/"), [1], retry=Patience().policy) as client:
            assert client.search("res.partner", []) == [5]
        assert {path for path, _, _ in server.requests} == {"/erp/web/webclient/version_info", "/erp/jsonrpc"}


def test_a_server_that_does_not_listen_is_tried_again_and_then_named():
    patience = Patience(attempts=4)
    port = closed_port()
    with pytest.raises(OdooConnectionError, match=rf"127\.0\.0\.1:{port} cannot be reached") as raised:
        connect(OdooAt(f"http://127.0.0.1:{port}"), [1], retry=patience.policy)
    assert not raised.value.may_have_been_applied
    assert len(patience.waits) == 3


def test_a_host_that_does_not_exist_is_named():
    with pytest.raises(OdooConnectionError, match=r"odoo\.invalid cannot be reached: check the host"):
        connect(OdooAt("http://odoo.invalid"), [1], retry=Patience(attempts=1).policy)


def test_a_server_that_never_answers_ends_in_a_timeout():
    with (
        serve(SILENCE) as server,
        pytest.raises(OdooConnectionError, match=r"did not answer in time.*timeout_seconds"),
    ):
        connect(OdooAt(server.url, timeout_seconds=0.05), [1], retry=Patience(attempts=2).policy)
    assert len(server.requests) == 2


def test_https_against_a_server_that_speaks_http_is_reported():
    with serve(VERSION) as server, pytest.raises(OdooConnectionError, match="does not speak HTTPS"):
        connect(OdooAt(server.url.replace("http:", "https:")), [1], retry=Patience(attempts=1).policy)


@pytest.mark.parametrize("url", ["odoo.example.com", "ftp://odoo.example.com", "http://"])
def test_an_address_that_is_none_is_refused_before_anything_is_sent(url):
    with pytest.raises(OdooConnectionError, match=r"odoo\.url must be an address such as https://"):
        connect(OdooAt(url), [1], retry=Patience().policy)


def test_credentials_inside_the_address_never_show():
    url = f"http://nobody:pass-word@127.0.0.1:{closed_port()}"
    with pytest.raises(OdooConnectionError) as raised:
        connect(OdooAt(url), [1], retry=Patience(attempts=1).policy)
    assert "pass-word" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "version"),
    [("17.0", (17, 0)), ("18.0+e-20250520", (18, 0)), ("saas~18.3", (18, 3)), ("19.0a1", (19, 0))],
)
def test_the_version_is_read_from_every_form_odoo_writes_it_in(text, version):
    with serve(result({"server_version": text}), *LOGGED_IN[1:]) as server:
        client = connect(OdooAt(server.url, api="jsonrpc"), [1], retry=Patience().policy)
    assert client.version == version


def test_neither_the_secret_nor_records_are_logged_even_at_level_debug(caplog):
    records = [{"id": 1, "email": "jane@example.com"}]
    with caplog.at_level(logging.DEBUG), serve(*LOGGED_IN, result(records)) as server:
        client = connect(OdooAt(server.url), [1], retry=Patience().policy)
        assert client.read("res.partner", [1], ["email"]) == records
        assert SECRET not in repr(client)
    assert SECRET not in caplog.text
    assert "jane@example.com" not in caplog.text


def test_the_settings_secret_is_asked_only_to_log_in():
    with serve(*LOGGED_IN) as server:
        client = connect(OdooAt(server.url, secret=SecretStr("k" * 40)), [1, 2], retry=Patience().policy)
        assert client.user_company_ids == (1, 2)
        assert client.company_ids == (1, 2)
    assert server.methods() == [
        "/web/webclient/version_info",
        "login",
        "res.users.context_get",
        "res.users.read",
    ]
