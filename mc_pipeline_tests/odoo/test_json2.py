"""JSON-2 as it is spoken: what is sent, which transport is taken, and every answer that is not a result."""

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
    OdooFieldMissingError,
    OdooModelMissingError,
    OdooRecordMissingError,
    OdooServerError,
    OdooValidationError,
    OdooVersionError,
)
from mc_pipeline_tests.odoo.byte_server import (
    CLOSE,
    COMPANIES,
    KEY_ACCEPTED,
    LOGGED_IN,
    LOGGED_IN_19,
    LOGGED_IN_JSON2,
    SILENCE,
    VERSION_19,
    WEB_VERSION,
    closed_port,
    http,
    json2_error,
    page,
    plain,
    result,
    serve,
)
from mc_pipeline_tests.odoo.connection import SECRET, OdooAt, Patience

NO_KEY = json2_error("401 Unauthorized", "werkzeug.exceptions.Unauthorized", "Invalid apikey")
NO_DATABASE = page(
    "404 Not Found",
    "404 Not Found",
    "<p>No database is selected and the requested URL was not found in the server-wide controllers.</p>",
)
TO_LOGIN = page("303 See Other", "Redirecting...", "", "Location: /web/login?redirect=%2Fjson%2F2%2Fx%3F")


def over_json2(url, retry=None, company_ids=(1,), **settings):
    policy = retry or Patience().policy
    return connect(OdooAt(url, api="json2", **settings), company_ids, retry=policy)


def test_every_call_is_an_object_of_named_arguments_with_key_database_and_companies():
    answers = [[3], 1, [], [], {}, True, True, [8], [8, 9], True]
    with serve(*LOGGED_IN_JSON2, *map(plain, answers)) as server:
        client = over_json2(server.url + "/", database="second")
        client.search("res.partner", [("name", "=", "x")], limit=5, order="id", offset=10)
        client.search_count("res.partner", [])
        client.search_read("res.partner", [], ["name"])
        client.with_companies([2]).read("res.partner", [1], ["name"])
        client.fields_get("res.partner")
        assert client.has_group("base.group_user") is True
        client.execute("mail.blacklist", "write", [3], {"active": True})
        assert client.execute("mail.blacklist", "create", {"email": "x@example.com"}) == 8
        assert client.execute("mail.blacklist", "create", [{"email": "x"}, {"email": "y"}]) == [8, 9]
        client.execute("sale.order", "action_confirm", [4])
    asked = [(path, body) for path, _, body in server.requests[len(LOGGED_IN_JSON2) :]]
    context = {"context": {"allowed_company_ids": [1], "active_test": False, "lang": "en_US"}}
    second = {"context": {"allowed_company_ids": [2], "active_test": False, "lang": "en_US"}}
    window = {"limit": 5, "order": "id", "offset": 10}
    attributes = ["type", "relation", "string", "store"]
    assert asked == [
        ("/json/2/res.partner/search", {"domain": [["name", "=", "x"]], **window, **context}),
        ("/json/2/res.partner/search_count", {"domain": [], **context}),
        ("/json/2/res.partner/search_read", {"domain": [], "fields": ["name"], "load": "", **context}),
        ("/json/2/res.partner/read", {"ids": [1], "fields": ["name"], "load": "", **second}),
        ("/json/2/res.partner/fields_get", {"allfields": [], "attributes": attributes, **context}),
        ("/json/2/res.users/has_group", {"ids": [7], "group_ext_id": "base.group_user", **context}),
        ("/json/2/mail.blacklist/write", {"ids": [3], "vals": {"active": True}, **context}),
        ("/json/2/mail.blacklist/create", {"vals_list": [{"email": "x@example.com"}], **context}),
        ("/json/2/mail.blacklist/create", {"vals_list": [{"email": "x"}, {"email": "y"}], **context}),
        ("/json/2/sale.order/action_confirm", {"ids": [4], **context}),
    ]
    for path, headers, body in server.requests[1:]:
        assert isinstance(body, dict), f"Odoo ignores any other body of {path} without a word"
        assert headers["authorization"] == f"Bearer {SECRET}"
        assert headers["x-odoo-database"] == "second"
        assert headers["content-type"] == "application/json"
        assert "cookie" not in headers


@pytest.mark.parametrize(
    ("method", "args", "kwargs"),
    [
        ("some_method", ["a text"], {}),
        ("some_method", [[1], "b"], {}),
        ("search", [[], ["name"]], {}),
        ("write", [[1], {"name": "x"}], {"vals": {}}),
    ],
)
def test_an_argument_without_a_name_is_never_sent(method, args, kwargs):
    with serve(*LOGGED_IN_JSON2) as server:
        client = over_json2(server.url)
        with pytest.raises(TypeError, match=r"must be named|twice"):
            client.execute("res.partner", method, *args, **kwargs)
    assert len(server.requests) == len(LOGGED_IN_JSON2)


def test_one_connection_serves_many_calls():
    with serve(*LOGGED_IN_JSON2, plain([1])) as server:
        client = over_json2(server.url)
        for _ in range(20):
            client.search("res.partner", [])
    assert server.connections == 1


def test_cookies_are_not_kept_since_odoo_refuses_a_session_beside_the_database_header():
    cookie = http("200 OK", b'{"version": "19.0"}', "application/json", "Set-Cookie: session_id=abc; Path=/")
    with serve(cookie, *KEY_ACCEPTED, COMPANIES, plain([])) as server:
        over_json2(server.url).search("res.partner", [])
    assert all("cookie" not in headers for _, headers, _ in server.requests)


def test_a_netrc_file_does_not_replace_the_key(tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with serve(*LOGGED_IN_JSON2) as server:
        over_json2(server.url)
    assert server.requests[1][1]["authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize(
    ("script", "transport", "note"),
    [
        pytest.param(
            [VERSION_19, *KEY_ACCEPTED, COMPANIES],
            "json2",
            "over JSON-2: Odoo accepts the API key there",
            id="19 with a key",
        ),
        pytest.param([*LOGGED_IN], "jsonrpc", "over JSON-RPC: Odoo 18.0 has no JSON-2", id="18"),
        pytest.param(
            [VERSION_19, NO_KEY, *LOGGED_IN_19[1:]],
            "jsonrpc",
            "over JSON-RPC: odoo.secret is not a valid API key",
            id="19 with a password",
        ),
        pytest.param(
            [VERSION_19, NO_DATABASE, *LOGGED_IN_19[1:]],
            "jsonrpc",
            "no such database to JSON-2 under this host",
            id="the database is hidden from JSON-2",
        ),
        pytest.param(
            [VERSION_19, page("403 Forbidden", "Blocked"), *LOGGED_IN_19[1:]],
            "jsonrpc",
            "page “Blocked”",
            id="a proxy keeps JSON-2 out",
        ),
        pytest.param(
            [VERSION_19, TO_LOGIN, *LOGGED_IN_19[1:]], "jsonrpc", "/web/login", id="redirected to the login"
        ),
        pytest.param(
            [VERSION_19, page("404 Not Found", "Odoo"), *LOGGED_IN_19[1:]],
            "jsonrpc",
            "HTTP 404",
            id="the module rpc is not there",
        ),
    ],
)
def test_auto_takes_json2_where_odoo_is_new_enough_and_takes_the_secret(script, transport, note):
    with serve(*script) as server:
        client = connect(OdooAt(server.url), [1, 2], retry=Patience().policy)
    assert client.transport == transport
    assert client.with_companies([2]).transport == transport
    assert note in client.transport_note
    assert SECRET not in client.transport_note
    assert len(server.requests) == len(script)
    assert client.user_company_ids == (1, 2)


def test_auto_does_not_send_a_secret_that_can_be_no_key_as_one():
    with serve(*LOGGED_IN_19) as server:
        client = connect(OdooAt(server.url, secret=SecretStr("pass wörd")), [1], retry=Patience().policy)
    assert client.transport == "jsonrpc"
    assert [path for path, _, _ in server.requests if path.startswith("/json/")] == []


def test_auto_tries_json2_again_while_the_server_restarts():
    patience = Patience()
    restarting = page("502 Bad Gateway", "502 Bad Gateway")
    with serve(VERSION_19, restarting, restarting, *KEY_ACCEPTED, COMPANIES) as server:
        client = connect(OdooAt(server.url), [1], retry=patience.policy)
    assert client.transport == "json2"
    assert len(patience.waits) == 2


def test_auto_does_not_hide_a_server_that_went_away():
    with (
        serve(VERSION_19, CLOSE) as server,
        pytest.raises(OdooConnectionError, match="closed the connection"),
    ):
        connect(OdooAt(server.url), [1], retry=Patience(attempts=2).policy)
    assert server.methods()[1:] == ["res.users.context_get"] * 2


def test_a_forced_transport_is_taken_and_said():
    with serve(*LOGGED_IN_JSON2) as server:
        assert over_json2(server.url).transport_note == "over JSON-2: odoo.api says so"
    with serve(*LOGGED_IN_19) as server:
        client = connect(OdooAt(server.url, api="jsonrpc"), [1], retry=Patience().policy)
        assert (client.transport, client.transport_note) == ("jsonrpc", "over JSON-RPC: odoo.api says so")
    assert all(not path.startswith("/json/") for path, _, _ in server.requests)


@pytest.mark.parametrize("api", ["auto", "json2"])
def test_a_key_of_another_user_is_refused_over_any_transport(api):
    owner = plain([{"id": 7, "login": "somebody@example.com"}])
    first = VERSION_19 if api == "auto" else WEB_VERSION
    with (
        serve(first, KEY_ACCEPTED[0], owner) as server,
        pytest.raises(OdooAuthenticationError, match=r"not the one of user i•••@example.com") as raised,
    ):
        connect(OdooAt(server.url, api=api), [1], retry=Patience().policy)
    assert "somebody" not in str(raised.value)
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        pytest.param(
            [page("404 Not Found", "Odoo")],
            OdooVersionError,
            ["new in Odoo 19", "auto or jsonrpc", "HTTP 404"],
            id="17",
        ),
        pytest.param(
            [TO_LOGIN], OdooServerError, ["/web/login", "HTTP 303", "new in Odoo 19"], id="18 at /json"
        ),
        pytest.param(
            [WEB_VERSION, TO_LOGIN],
            OdooServerError,
            ["/web/login", "HTTP 303", "new in Odoo 19"],
            id="redirected by a login page",
        ),
        pytest.param([plain({"status": "ok"})], OdooVersionError, ["odoo.url"], id="something else's JSON"),
        pytest.param([plain({"version": "18.3"})], OdooVersionError, ["18.3", "Odoo 19"], id="18.3"),
        pytest.param(
            [WEB_VERSION, NO_KEY],
            OdooAuthenticationError,
            ["no password", "90 days", "odoo.secret", "Preferences / Security"],
            id="a password, or a key that has ended",
        ),
        pytest.param(
            [WEB_VERSION, NO_DATABASE],
            OdooDatabaseError,
            ["'production'", "odoo.database", "dbfilter"],
            id="no such database",
        ),
        pytest.param(
            [WEB_VERSION, page("404 Not Found", "Odoo")],
            OdooServerError,
            ["HTTP 404", "odoo.api"],
            id="no JSON-2 although 19",
        ),
        pytest.param(
            [WEB_VERSION, page("415 Unsupported Media Type", "415 Unsupported Media Type")],
            OdooServerError,
            ["HTTP 415", "Content-Type"],
            id="the content type was lost",
        ),
        pytest.param(
            [WEB_VERSION, page("403 Forbidden", "Access Denied")],
            OdooServerError,
            ["HTTP 403", "Access Denied", "/json/2"],
            id="forbidden by a server before it",
        ),
        pytest.param(
            [WEB_VERSION, page("401 Unauthorized", "Sign in")],
            OdooServerError,
            ["HTTP 401", "Authorization"],
            id="a proxy wants a login of its own",
        ),
        pytest.param(
            [WEB_VERSION, page("200 OK", "Sign in | Proxy")],
            OdooServerError,
            ["web page", "Sign in | Proxy"],
            id="a login page",
        ),
        pytest.param(
            [WEB_VERSION, http("400 Bad Request", b'{"error": "no"}')],
            OdooServerError,
            ["HTTP 400"],
            id="another server's JSON",
        ),
        pytest.param(
            [WEB_VERSION, plain([])], OdooServerError, ["the user of the API key"], id="no user is named"
        ),
        pytest.param(
            [WEB_VERSION, *KEY_ACCEPTED, plain([])], OdooServerError, ["companies"], id="no companies named"
        ),
        pytest.param(
            # Asked twice: without archived companies and, to say what is wrong, with them.
            [WEB_VERSION, *KEY_ACCEPTED, *[plain([{"id": 7, "company_ids": [2]}])] * 2],
            OdooAccessError,
            ["company 1", "allowed companies"],
            id="a company the user lacks",
        ),
    ],
)
def test_what_is_not_as_the_settings_say_is_refused_in_one_line_with_the_fix(script, kind, words):
    with serve(*script) as server, pytest.raises(OdooError) as raised:
        over_json2(server.url)
    message = str(raised.value)
    assert type(raised.value) is kind
    assert [word for word in words if word not in message] == []
    assert "\n" not in message
    for private in (SECRET, "secret-debug", "integration@example.com"):
        assert private not in message
    assert len(server.requests) == len(script), "a redirect is not followed, a refusal not asked for again"


def test_a_secret_that_can_be_no_key_is_refused_unsent():
    with serve(WEB_VERSION) as server, pytest.raises(OdooAuthenticationError, match="API keys only"):
        over_json2(server.url, secret=SecretStr("pass wörd"))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "name", "message", "kind"),
    [
        ("500 Internal Server Error", "builtins.ValueError", "Invalid field 'nope' on 'res.partner'",
         OdooFieldMissingError),
        ("500 Internal Server Error", "builtins.ValueError",
         "Invalid field res.partner.nope in condition ('nope', '=', 1)", OdooFieldMissingError),
        ("500 Internal Server Error", "builtins.ValueError", "Invalid operator", OdooValidationError),
        ("500 Internal Server Error", "builtins.TypeError",
         "BaseModel._read_format() got an unexpected keyword argument 'nope'", OdooValidationError),
        ("500 Internal Server Error", "builtins.ZeroDivisionError", "division by zero", OdooServerError),
        ("422 Unprocessable Entity", "werkzeug.exceptions.UnprocessableEntity",
         "missing a required argument: 'domain'", OdooValidationError),
        ("422 Unprocessable Entity", "odoo.exceptions.UserError", "Invalid email address “x”",
         OdooValidationError),
        ("422 Unprocessable Entity", "odoo.exceptions.ValidationError", "cannot be completed",
         OdooValidationError),
        ("400 Bad Request", "werkzeug.exceptions.BadRequest", "could not parse", OdooValidationError),
        ("404 Not Found", "werkzeug.exceptions.NotFound", "the model 'nope.model' does not exist",
         OdooModelMissingError),
        ("404 Not Found", "werkzeug.exceptions.NotFound", "The method 'res.partner.nope' does not exist",
         OdooValidationError),
        ("404 Not Found", "odoo.exceptions.MissingError", "Record does not exist or has been deleted.",
         OdooRecordMissingError),
        ("403 Forbidden", "odoo.exceptions.AccessError", "Access to unauthorized or invalid companies.",
         OdooAccessError),
        ("401 Unauthorized", "werkzeug.exceptions.Unauthorized", "Invalid apikey", OdooAuthenticationError),
        ("403 Forbidden", "odoo.http.SessionExpiredException", "Session expired", OdooAuthenticationError),
    ],
)  # fmt: skip
def test_the_name_of_odoos_exception_decides_the_error_whatever_the_status(status, name, message, kind):
    with serve(*LOGGED_IN_JSON2, json2_error(status, name, message)) as server:
        client = over_json2(server.url)
        with pytest.raises(OdooError) as raised:
            client.read("res.partner", [1], ["nope"])
    assert type(raised.value) is kind
    assert (raised.value.name, raised.value.method) == (name, "read")
    assert "secret-debug" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(server.requests) == len(LOGGED_IN_JSON2) + 1, "an answer of Odoo's is final"


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(CLOSE, id="connection closed without an answer"),
        pytest.param(
            json2_error("500 Internal Server Error", "psycopg2.OperationalError", "server closed"),
            id="database restarted",
        ),
        pytest.param(
            json2_error("500 Internal Server Error", "odoo.sql_db.PoolError", "The Connection Pool Is Full"),
            id="no connection to the database free",
        ),
        pytest.param(page("502 Bad Gateway", "502 Bad Gateway"), id="bad gateway"),
        pytest.param(http("503 Service Unavailable", b"", "text/plain", "Retry-After: 7"), id="unavailable"),
        pytest.param(http("429 Too Many Requests", b"", "text/plain"), id="too many requests"),
        pytest.param(http("429 Too Many Requests", b'{"error": "slow"}'), id="too many requests as JSON"),
        pytest.param(http("500 Internal Server Error", b"{}"), id="internal error without a name"),
        pytest.param(http("200 OK", b""), id="empty body"),
        pytest.param(http("200 OK", b'[{"id": 1}, {"id'), id="cut JSON"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\nConnection: close\r\n\r\n[",
            id="shorter than announced",
        ),
    ],
)
def test_a_read_is_repeated_after_passing_trouble_and_a_write_is_not(trouble):
    patience = Patience()
    with serve(*LOGGED_IN_JSON2, trouble, trouble, plain([1])) as server:
        assert over_json2(server.url, patience.policy).search("res.partner", []) == [1]
    assert server.methods()[4:] == ["res.partner.search"] * 3
    assert len(patience.waits) == 2

    with serve(*LOGGED_IN_JSON2, trouble, plain(True)) as server:
        client = over_json2(server.url)
        with pytest.raises((OdooConnectionError, OdooServerError)) as raised:
            client.execute("mail.blacklist", "write", [1], {"active": True})
    assert server.methods()[4:] == ["mail.blacklist.write"]
    assert (raised.value.model, raised.value.method) == ("mail.blacklist", "write")


def test_a_write_that_odoo_rolled_back_is_repeated():
    failure = json2_error(
        "500 Internal Server Error", "psycopg2.errors.SerializationFailure", "could not serialize"
    )
    with serve(*LOGGED_IN_JSON2, failure, plain(True)) as server:
        client = over_json2(server.url, Patience().policy)
        assert client.execute("mail.blacklist", "write", [1], {"active": True}) is True
    assert server.methods()[4:] == ["mail.blacklist.write"] * 2


def test_a_read_that_times_out_is_repeated():
    with serve(*LOGGED_IN_JSON2, SILENCE, plain(3)) as server:
        assert over_json2(server.url, timeout_seconds=0.2).search_count("res.partner", []) == 3


def test_a_server_that_does_not_listen_is_tried_again_and_then_named():
    patience, port = Patience(attempts=3), closed_port()
    with pytest.raises(OdooConnectionError, match=rf"127\.0\.0\.1:{port} cannot be reached"):
        over_json2(f"http://127.0.0.1:{port}", patience.policy)
    assert len(patience.waits) == 2


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (lambda client: client.search("res.partner", []), None),
        (lambda client: client.search("res.partner", []), {"result": []}),
        (lambda client: client.search_count("res.partner", []), True),
        (lambda client: client.execute("mail.blacklist", "create", {"email": "x"}), []),
        (lambda client: client.execute("mail.blacklist", "create", {"email": "x"}), 7),
    ],
)
def test_an_answer_of_the_wrong_kind_is_never_taken_as_nothing_found(call, answer):
    with (
        serve(*LOGGED_IN_JSON2, plain(answer)) as server,
        pytest.raises(OdooServerError, match=r"instead of|did not return the id"),
    ):
        call(over_json2(server.url))


def test_neither_the_key_nor_records_are_logged_even_at_level_debug(caplog):
    records = [{"id": 1, "email": "jane@example.com"}]
    with caplog.at_level(logging.DEBUG), serve(*LOGGED_IN_JSON2, plain(records)) as server:
        client = over_json2(server.url)
        assert client.read("res.partner", [1], ["email"]) == records
        assert SECRET not in repr(client)
    assert SECRET not in caplog.text
    assert "jane@example.com" not in caplog.text


def test_json_rpc_answers_are_not_taken_for_json2():
    with (
        serve(WEB_VERSION, result({"uid": 7})) as server,
        pytest.raises(OdooServerError, match="user of the API key"),
    ):
        over_json2(server.url)
