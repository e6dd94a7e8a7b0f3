"""What JSON-2 says to a request as it is sent: the traps that a client must know.

The same on the stand-in and on a real Odoo 19 or newer.
"""

import json

import pytest
import requests

from mc_pipeline.odoo.session import version_of

NO_KEY = "User not authenticated, use an API Key with a Bearer Authorization header."
NO_DATABASE = "No database is selected and the requested URL was not found"


@pytest.fixture(scope="session")
def ask(odoo_with_json2):
    """Send a request, with the right key, database and content type unless told otherwise."""
    settings = odoo_with_json2.settings
    session = requests.Session()

    def send(path, body=None, *, raw=None, method="POST", **headers):
        named = {
            "Authorization": f"Bearer {odoo_with_json2.api_key}",
            "X-Odoo-Database": settings.database,
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        content = raw if raw is not None else json.dumps({} if body is None else body)
        return session.request(
            method, settings.url + path, data=content, headers=named, allow_redirects=False, timeout=60
        )

    yield send
    session.close()


PARTNERS = "/json/2/res.partner"


@pytest.mark.parametrize(
    ("path", "body", "status", "name", "message"),
    [
        ("/json/2/nope.model/search", {"domain": []}, 404, "werkzeug.exceptions.NotFound",
         "the model 'nope.model' does not exist"),
        (f"{PARTNERS}/nope", {}, 404, "werkzeug.exceptions.NotFound",
         "The method 'res.partner.nope' does not exist"),
        (PARTNERS, {}, 404, "werkzeug.exceptions.NotFound", "Did you mean POST /json/2/<model>/<method>?"),
        ("/json/2", {}, 404, "werkzeug.exceptions.NotFound", "Did you mean POST /json/2/<model>/<method>?"),
        (f"{PARTNERS}/search/x", {}, 404, "werkzeug.exceptions.NotFound",
         "Did you mean POST /json/2/<model>/<method>?"),
        ("/json/2/mail.blacklist/_add", {}, 403, "odoo.exceptions.AccessError",
         "Private methods (such as 'mail.blacklist._add') cannot be called remotely."),
        (f"{PARTNERS}/exists", {"ids": [1]}, 403, "odoo.exceptions.AccessError",
         "Private methods (such as 'res.partner.exists') cannot be called remotely."),
        (f"{PARTNERS}/search", {"ids": [1], "domain": []}, 422, "werkzeug.exceptions.UnprocessableEntity",
         "cannot call res.partner.search with ids"),
        (f"{PARTNERS}/search", {}, 422, "werkzeug.exceptions.UnprocessableEntity",
         "missing a required argument: 'domain'"),
        (f"{PARTNERS}/search", {"domain": [], "nope": 1}, 422, "werkzeug.exceptions.UnprocessableEntity",
         "got an unexpected keyword argument 'nope'"),
        (f"{PARTNERS}/read", {"ids": [1], "fields": ["id"], "nope": 1}, 422,
         "werkzeug.exceptions.UnprocessableEntity", "got an unexpected keyword argument 'nope'"),
        (f"{PARTNERS}/search_read", {"domain": [["id", "=", 0]], "fields": ["id"], "nope": 1}, 500,
         "builtins.TypeError", "BaseModel._read_format() got an unexpected keyword argument 'nope'"),
        (f"{PARTNERS}/read", {"ids": [1], "fields": ["nope"]}, 500, "builtins.ValueError",
         "Invalid field 'nope' on 'res.partner'"),
        (f"{PARTNERS}/search", {"domain": [["nope", "=", 1]]}, 500, "builtins.ValueError",
         "Invalid field res.partner.nope in condition ('nope', '=', 1)"),
        (f"{PARTNERS}/search", {"domain": [], "order": "nope"}, 500, "builtins.ValueError",
         "Invalid field 'nope' on model 'res.partner'"),
        (f"{PARTNERS}/search", {"domain": [["name", "~~", "x"]]}, 500, "builtins.ValueError",
         "Invalid operator in condition ('name', '~~', 'x')"),
        (f"{PARTNERS}/search", {"domain": "x"}, 500, "builtins.TypeError",
         "Domain() invalid argument type for domain: 'x'"),
        ("/json/2/sale.order/search", {"domain": [], "context": {"allowed_company_ids": [987654]}}, 403,
         "odoo.exceptions.AccessError", "Access to unauthorized or invalid companies."),
        ("/json/2/mail.blacklist/create", {"vals_list": [{"email": "not an email"}]}, 422,
         "odoo.exceptions.UserError", "Invalid email address “not an email”"),
        ("/json/2/mail.blacklist/create", {"vals_list": [{}]}, 500, "builtins.KeyError", "email"),
        ("/json/2/res.users/has_group", {"ids": [2], "group": "base.group_user"}, 422,
         "werkzeug.exceptions.UnprocessableEntity", "missing a required argument: 'group_ext_id'"),
    ],
)  # fmt: skip
def test_a_refusal_is_reported_by_status_and_exception(ask, path, body, status, name, message):
    answer = ask(path, body)
    content = answer.json()
    assert (answer.status_code, content["name"], content["message"]) == (status, name, message)
    assert list(content) == ["name", "message", "arguments", "context", "debug"]
    whose = [message, status] if name.startswith("werkzeug.") else [message]
    assert content["arguments"] == whose
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


def test_records_that_do_not_exist_are_missing_to_a_write_and_not_to_a_read(ask):
    answer = ask(f"{PARTNERS}/write", {"ids": [99999999], "vals": {"name": "x"}})
    assert (answer.status_code, answer.json()["name"]) == (404, "odoo.exceptions.MissingError")
    assert "res.partner(99999999,)" in answer.json()["message"]
    assert ask(f"{PARTNERS}/read", {"ids": [99999999], "fields": ["name"]}).json() == []
    assert ask(f"{PARTNERS}/write", {"vals": {"name": "x"}}).json() is True


def test_a_missing_mandatory_value_is_unprocessable(ask):
    answer = ask("/json/2/res.partner.category/create", {"vals_list": [{"color": 1}]})
    assert (answer.status_code, answer.json()["name"]) == (422, "odoo.exceptions.ValidationError")


@pytest.mark.parametrize("body", [[[]], [[["code", "=", "BE"]]], "x", None, 7])
def test_a_body_that_is_no_object_is_ignored_without_a_word(ask, body):
    raw = json.dumps(body)
    assert ask(f"{PARTNERS}/search", raw=raw).json()["message"] == "missing a required argument: 'domain'"
    everything = ask("/json/2/res.country/search_read", raw=raw).json()
    assert len(everything) > 1
    assert len(everything[0]) > 5, "no domain, no limit, every field"


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        (None, NO_KEY),
        ("Basic YWRtaW46YWRtaW4=", NO_KEY),
        ("Bearer admin", "Invalid apikey"),
        ("bearer " + "0" * 40, "Invalid apikey"),
    ],
)
def test_only_an_api_key_is_a_login(ask, authorization, message):
    answer = ask("/json/2/res.users/context_get", Authorization=authorization)
    assert answer.status_code == 401
    assert (answer.json()["name"], answer.json()["message"]) == ("werkzeug.exceptions.Unauthorized", message)
    assert answer.headers["WWW-Authenticate"].strip() == "Bearer"


def test_the_key_says_who_asks(ask):
    context = ask("/json/2/res.users/context_get").json()
    assert set(context) == {"lang", "tz", "uid"}
    myself = {"ids": [context["uid"]], "group_ext_id": "base.group_user"}
    assert ask("/json/2/res.users/has_group", myself).json() is True


def test_a_database_that_is_not_offered_is_a_page_without_the_word_json(ask):
    answer = ask("/json/2/res.users/context_get", X_Odoo_Database="no_such_database")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert NO_DATABASE in answer.text


def test_the_only_database_needs_no_name(ask):
    assert ask("/json/2/res.users/context_get", X_Odoo_Database=None).status_code == 200


@pytest.mark.parametrize("content_type", ["text/plain", None, "application/x-www-form-urlencoded"])
def test_another_content_type_is_a_page(ask, content_type):
    answer = ask("/json/2/res.users/context_get", Content_Type=content_type)
    assert answer.status_code == 415
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Accept"] == "application/json"
    assert "415 Unsupported Media Type" in answer.text


def test_a_charset_beside_the_content_type_does_no_harm_and_an_empty_body_needs_none(ask):
    accepted = ask("/json/2/res.users/context_get", Content_Type="application/json; charset=utf-8")
    assert accepted.status_code == 200
    assert ask("/json/2/res.users/context_get", raw="", Content_Type=None).status_code == 200


def test_a_body_that_is_no_json_is_a_bad_request_after_the_key_was_checked(ask):
    answer = ask("/json/2/res.users/context_get", raw="{nope")
    assert (answer.status_code, answer.json()["name"]) == (400, "werkzeug.exceptions.BadRequest")
    assert answer.json()["message"].startswith("could not parse the body as json: Expecting property name")
    assert ask("/json/2/res.users/context_get", raw="{nope", Authorization=None).status_code == 401


def test_a_get_is_answered_with_the_right_form(ask):
    answer = ask(f"{PARTNERS}/search", raw="", method="GET", Content_Type=None)
    assert (answer.status_code, answer.json()["message"]) == (
        404,
        "Did you mean POST /json/2/<model>/<method>?",
    )


def test_creating_always_gives_a_list(ask):
    for values in ({"name": "One"}, [{"name": "One"}], [{"name": "One"}, {"name": "Two"}]):
        made = ask("/json/2/res.partner.category/create", {"vals_list": values}).json()
        assert len(made) == (len(values) if isinstance(values, list) else 1)


@pytest.mark.parametrize("path", ["/web/version", "/json/version"])
def test_the_version_is_reported_without_a_login(odoo_with_json2, ask, path):
    answer = ask(path, raw="", method="GET", Authorization=None, X_Odoo_Database=None, Content_Type=None)
    answered = answer.json()
    assert set(answered) == {"version_info", "version"}
    assert version_of(answered["version"]) == odoo_with_json2.client.version
    online = odoo_with_json2.client.version[1] > 0
    assert answered["version"].startswith("saas~") is online
    assert str(answered["version_info"][0]).startswith("saas~") is online
