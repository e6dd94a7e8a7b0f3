"""What the official client gets wrong, each against a real server that answers exact bytes."""

import base64
import pickle
import threading
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from mailchimp_marketing import Client as OfficialClient

from mc_pipeline.mailchimp import errors
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.push.last_look import CalledOffError
from mc_pipeline_tests.mailchimp.conftest import API_KEY
from mc_pipeline_tests.mailchimp.exact_server import HANG, RESET, answer, exact_server, problem

AKAMAI = (
    "<HTML><HEAD><TITLE>Access Denied</TITLE></HEAD>"
    "<BODY>You don't have permission. Reference #18.ab</BODY></HTML>"
)
MEMBER = {"id": "ab", "email_address": "jane@example.com", "status": "transactional"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (answer(429, b"", None), errors.MailchimpRateLimitError),
        (answer(429, b"", "application/json"), errors.MailchimpRateLimitError),
        (answer(429, problem(429, "Too Many Requests")[-1:]), errors.MailchimpRateLimitError),
        (answer(403, b"", None), errors.MailchimpRateLimitError),
        (answer(500, b"", None), errors.MailchimpServerError),
        (answer(502, "<html>Bad Gateway</html>", "text/html"), errors.MailchimpServerError),
        (answer(500, b'{"title": "Intern', "application/json"), errors.MailchimpServerError),
        (answer(400, b"", None), errors.MailchimpError),
        (answer(404, b"", None), errors.MailchimpError),
        (answer(401, b"", None), errors.MailchimpAuthenticationError),
        (answer(403, AKAMAI, "text/html"), errors.MailchimpBlockedError),
        (answer(503, AKAMAI, "text/html"), errors.MailchimpBlockedError),
        (answer(503, "<html>maintenance</html>", "text/html"), errors.MailchimpServerError),
        (answer(302, b"", None, Location="https://elsewhere.example/"), errors.MailchimpError),
        (problem(401, "API Key Invalid", "Your API key may be invalid"), errors.MailchimpAuthenticationError),
        (problem(403, "Forbidden", "You don't have permission"), errors.MailchimpPermissionError),
        (problem(404, "Resource Not Found", "not found"), errors.MailchimpNotFoundError),
        (problem(500, "Internal Server Error", "again"), errors.MailchimpServerError),
        (
            problem(400, "Invalid Resource", "Please provide a valid email address."),
            errors.MailchimpInvalidError,
        ),
    ],
    ids=lambda value: (
        value.__name__ if isinstance(value, type) else value[:40].decode("latin1").split("\r")[0]
    ),
)
def test_an_error_answer_of_whatever_body_raises_its_own_error(connect, given, expected):
    with exact_server(given) as server:
        client = connect(server.url)
        with pytest.raises(errors.MailchimpError) as caught:
            client.ping.get()
    assert type(caught.value) is expected
    assert str(caught.value)


def test_the_official_client_takes_an_empty_error_for_a_success():
    """The reason for the tests above; when this fails, the official client has changed."""
    with exact_server(answer(429, b"", None)) as server:
        official = OfficialClient({"api_key": API_KEY})
        official.api_client.host = server.url + "/3.0"
        assert official.ping.get().status_code == 429


@pytest.mark.parametrize(
    "given",
    [
        answer(200, b"", None),
        answer(200, b"", "application/json"),
        answer(200, "<html><body>Welcome to our network</body></html>", "text/html"),
        answer(200, b'{"health_status": "o', "application/json"),
        answer(200, b'"fine"', "application/json"),
        answer(200, b"null", "application/json"),
        answer(200, b"\xff\xfe\x00", "application/json"),
        answer(200, {"a": 1})[:-3],
    ],
    ids=["empty", "empty json", "html", "cut json", "text", "null", "no utf-8", "cut bytes"],
)
def test_a_success_status_without_a_readable_body_is_never_a_success(connect, given):
    given = given.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    with exact_server(given) as server:
        client = connect(server.url)
        with pytest.raises(errors.MailchimpServerError):
            client.ping.get()
        with pytest.raises(errors.MailchimpUnknownOutcomeError):
            client.lists.create_segment("1a2b", {"name": "VIP", "static_segment": []})


@pytest.mark.parametrize("given", [answer(204, b"", None), answer(200, {}), answer(200, b"{}", "text/html")])
def test_nothing_to_say_is_none(connect, given):
    with exact_server(given) as server:
        assert connect(server.url).lists.delete_list_member("1a2b", "ab") is None


@pytest.mark.parametrize("content_type", ["text/html", "application/problem+json", "text/plain", None])
def test_json_is_read_under_any_content_type(connect, content_type):
    with exact_server(answer(200, {"health_status": "ok"}, content_type)) as server:
        assert connect(server.url).ping.get() == {"health_status": "ok"}


def test_a_problem_document_is_read_although_its_content_type_is_not_json(connect):
    detail = "jane.doe@example.com looks fake or invalid, please enter a real email address."
    fields = [{"field": "LTV", "message": "Please enter a number"}]
    given = problem(400, "Invalid Resource", detail, fields, X_Request_Id="abc-123", Retry_After="7")
    with exact_server(given) as server, pytest.raises(errors.MailchimpInvalidError) as caught:
        connect(server.url).lists.update_list_member("1a2b", "ab", {"merge_fields": {"LTV": "x"}})
    error = caught.value
    assert (error.status, error.title, error.detail) == (400, "Invalid Resource", detail)
    assert error.errors == fields
    assert error.request_id == "abc-123"
    assert error.headers["Retry-After"] == "7"
    assert (error.method, error.path) == ("PATCH", "/lists/1a2b/members/ab")


def test_an_errors_text_says_what_was_sent_and_what_to_do_and_masks_addresses(connect):
    detail = "jane.doe@example.com is already a list member. Use PUT to insert or update list members."
    given = problem(400, "Member Exists", detail, X_Request_Id="abc-123")
    with exact_server(given) as server, pytest.raises(errors.MailchimpMemberExistsError) as caught:
        connect(server.url).lists.update_list_member("1a2b", "jane.doe@example.com", {"language": "de"})
    text = str(caught.value)
    assert "PATCH /lists/1a2b/members/" in text
    assert "Member Exists" in text
    assert caught.value.advice in text
    assert "abc-123" in text
    assert "j•••@example.com" in text
    assert "jane.doe" not in text + repr(caught.value) + "".join(map(str, caught.value.args))
    assert "jane.doe@example.com" in caught.value.detail


def test_every_error_survives_pickling():
    given = [
        error_class(400, "T", "d@example.com", [{"field": "F"}], "GET", "/x", "req", {"Retry-After": "7"}, 3)
        for error_class in [errors.MailchimpError, *_subclasses(errors.MailchimpError)]
        if error_class is not CalledOffError
    ]
    for error in [*given, CalledOffError([7], "opted out")]:
        error_class = type(error)
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is error_class
        assert vars(copy) == vars(error)
        assert str(copy) == str(error) != ""


def _subclasses(base):
    for subclass in base.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def test_member_data_of_an_unreadable_success_is_not_quoted(connect):
    cut = answer(200, b'{"members": [{"FNAME": "Geraldine", "addr1": "Main')
    with exact_server(cut) as server, pytest.raises(errors.MailchimpServerError) as caught:
        connect(server.url).ping.get()
    assert "Geraldine" not in str(caught.value) + caught.value.detail


def test_ids_that_contain_server_go_out_unchanged(connect):
    with exact_server(answer(200, {"id": "odoo-server-1"})) as server:
        connect(server.url).ecommerce.get_store("odoo-server-1")
        assert server.asked[0].target.startswith("/3.0/ecommerce/stores/odoo-server-1")


def test_the_official_client_corrupts_ids_that_contain_server():
    with exact_server(answer(200, {"id": "x"})) as server:
        official = OfficialClient({"api_key": API_KEY})
        official.api_client.host = server.url + "/3.0"
        official.ecommerce.get_store("odoo-server-1")
        assert server.asked[0].path == "/ecommerce/stores/odoo-us7-1"


@pytest.mark.parametrize("bad_id", ["S/2024/001", "", ".", "..", "../members"])
def test_ids_that_would_change_the_route_are_refused_unsent(connect, bad_id):
    with exact_server() as server:
        client = connect(server.url)
        with pytest.raises(errors.ForbiddenRequestError, match="must not be empty"):
            client.ecommerce.get_order("store", bad_id)
        with pytest.raises(errors.ForbiddenRequestError, match="must not be empty"):
            client.lists.delete_list_member("1a2b", bad_id)
        assert server.asked == []


@pytest.mark.parametrize("odd_id", ["a b", "ü", "50%", "a?b=c", "a#b", "{store_id}", "j+d@example.com"])
def test_other_signs_in_ids_are_encoded(connect, odd_id):
    with exact_server(answer(200, {"id": "x"})) as server:
        connect(server.url).ecommerce.get_order("shop", odd_id)
        assert server.asked[0].path == f"/ecommerce/stores/shop/orders/{odd_id}"


def test_booleans_dates_and_texts_in_a_query_are_written_as_mailchimp_reads_them(connect):
    with exact_server(answer(200, {"members": []})) as server:
        client = connect(server.url)
        client.lists.batch_list_members(
            "1a2b", {"members": [], "update_existing": False}, skip_merge_validation=True
        )
        client.lists.get_list_members_info(
            "1a2b",
            since_last_changed=datetime(2026, 5, 1, 8, 0, 0, 123, tzinfo=UTC),
            vip_only=False,
            fields="members.id,total_items",
            status=None,
        )
        client.lists.get_list_members_info("1a2b", fields=["members.id", "total_items"])
    assert server.asked[0].query == {"skip_merge_validation": "true"}
    assert server.asked[1].query == {
        "since_last_changed": "2026-05-01T08:00:00+00:00",
        "vip_only": "false",
        "fields": "members.id,total_items",
    }
    assert server.asked[2].query == {"fields": "members.id,total_items"}


def test_decimals_and_dates_in_a_body_become_json(connect):
    body = {"merge_fields": {"SPENT": Decimal("12.30"), "LAST": date(2026, 5, 1)}}
    body["timestamp_signup"] = datetime(2026, 5, 1, 8, tzinfo=UTC)
    with exact_server(answer(200, MEMBER)) as server:
        connect(server.url).lists.update_list_member("1a2b", "ab", body)
    assert server.asked[0].json == {
        "merge_fields": {"SPENT": 12.3, "LAST": "2026-05-01"},
        "timestamp_signup": "2026-05-01T08:00:00+00:00",
    }


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (datetime(2026, 5, 1), "datetime without timezone"),
        (float("nan"), "not a finite number"),
        (Decimal("Infinity"), "not a finite number"),
        ({1, 2}, "is a set"),
        (b"x", "is a bytes"),
        (object(), "is a object"),
    ],
    ids=["naive", "nan", "infinity", "set", "bytes", "object"],
)
def test_a_value_without_json_form_is_named_by_its_place_and_never_sent(connect, value, named):
    with exact_server() as server:
        with pytest.raises(errors.MailchimpNotSentError, match=named) as caught:
            connect(server.url).lists.update_list_member("1a2b", "ab", {"merge_fields": {"SPENT": value}})
        assert "body.merge_fields.SPENT" in str(caught.value)
        assert server.asked == []


def test_an_unknown_argument_is_a_type_error_before_anything_is_sent(connect):
    with exact_server() as server:
        with pytest.raises(TypeError, match="skip_everything"):
            connect(server.url).lists.batch_list_members("1a2b", {}, skip_everything=True)
        assert server.asked == []


def test_a_post_without_body_sends_none(connect):
    with exact_server(answer(204, b"", None)) as server:
        connect(server.url).lists.delete_list_member_permanent("1a2b", "ab")
        assert server.asked[0].body == b""


def test_tags_under_the_wrong_key_are_refused_instead_of_dropped_silently(connect):
    with exact_server(answer(204, b"", None)) as server:
        client = connect(server.url)
        for body in ({"name": "VIP", "status": "active"}, [{"name": "VIP"}], {"tags": []}, {"tags": ["VIP"]}):
            with pytest.raises(errors.ForbiddenRequestError):
                client.lists.update_list_member_tags("1a2b", "ab", body)
        assert server.asked == []


def test_an_error_carries_its_cause_when_nothing_was_sent(connect):
    with exact_server() as server:
        url = server.url
    with pytest.raises(errors.MailchimpNotSentError, match="no connection was made"):
        connect(url).ping.get()


def test_the_key_goes_out_as_basic_authentication_and_is_in_no_text(connect):
    with exact_server(problem(401, "API Key Invalid")) as server:
        client = connect(server.url)
        with pytest.raises(errors.MailchimpAuthenticationError) as caught:
            client.ping.get()
        assert base64.b64decode(server.asked[0].headers["Authorization"][6:]).decode() == f"user:{API_KEY}"
    assert API_KEY not in repr(client) + str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("key", ["", "nodatacentre", "key-with-two-us7", "key-", "key-us7/evil", "ü-us7"])
def test_a_key_without_data_centre_is_refused_at_once(key):
    with pytest.raises(errors.MailchimpAuthenticationError, match=r"mailchimp\.main") as caught:
        MailchimpClient("main", key)
    assert not key or key not in str(caught.value)


def test_a_key_names_its_data_centre():
    assert MailchimpClient("main", API_KEY).api_client.host == "https://us7.api.mailchimp.com/3.0"


@pytest.mark.parametrize(
    ("base_url", "root"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/3.0"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/3.0"),
        ("http://127.0.0.1:8080/3.0/", "http://127.0.0.1:8080/3.0"),
        ("http://server.example/mailchimp/3.0", "http://server.example/mailchimp/3.0"),
    ],
)
def test_a_stand_in_server_is_named_with_or_without_its_path(base_url, root):
    assert MailchimpClient("main", "any", base_url=base_url).api_client.host == root


@pytest.mark.parametrize("base_url", ["127.0.0.1:8080", "ftp://x", "http://", "http://x/?a=b"])
def test_a_base_url_that_is_none_is_named(base_url):
    with pytest.raises(errors.MailchimpNotSentError, match=r"mailchimp\.main\.base_url"):
        MailchimpClient("main", API_KEY, base_url=base_url)


def test_the_key_is_sent_to_no_other_host(connect):
    with exact_server() as server, exact_server() as other:
        client = connect(server.url)
        with pytest.raises(errors.ForbiddenRequestError, match="own host"):
            client.api_client.request("GET", other.url + "/3.0/ping")
        assert other.asked == []


def test_a_redirect_is_not_followed(connect):
    with exact_server() as other, exact_server(answer(307, b"", None, Location=other.url)) as server:
        with pytest.raises(errors.MailchimpError, match="check base_url"):
            connect(server.url).ping.get()
        assert other.asked == []


def test_cookies_are_not_kept(connect):
    with exact_server(answer(200, {"a": 1}, Set_Cookie="ak_bmsc=tracking; path=/")) as server:
        client = connect(server.url)
        client.ping.get()
        client.ping.get()
        assert "Cookie" not in server.asked[1].headers


def test_connections_are_kept_alive(connect):
    with exact_server() as server:
        client = connect(server.url)
        for _ in range(5):
            client.ping.get()
        assert server.connections == 1


def test_no_more_connections_than_allowed_are_in_use_at_once(connect):
    gate = threading.Event()
    full = threading.Barrier(3, action=gate.set)

    def slow(asked):
        if not gate.is_set():
            full.wait(10)
        return answer(200, {"health_status": "ok"})

    with exact_server(slow) as server:
        client = connect(server.url, max_connections=3)
        threads = [threading.Thread(target=client.ping.get) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(server.asked) == 12
        assert server.most_in_flight == 3
        assert server.connections <= 3


def test_a_slot_is_free_again_after_every_kind_of_failure(connect):
    with exact_server(
        answer(500, b"", None), RESET, problem(404, "Resource Not Found"), answer(200, {"a": 1})
    ) as server:
        client = connect(server.url, max_connections=1, attempts=1)
        for _ in range(3):
            with pytest.raises(errors.MailchimpError):
                client.ping.get()
        assert client.ping.get() == {"a": 1}


def test_a_read_timeout_ends_a_request_that_is_never_answered(connect):
    with exact_server(HANG) as server, pytest.raises(errors.MailchimpServerError, match="no answer in time"):
        connect(server.url, timeout=(1, 0.1), attempts=1).ping.get()


def test_a_closed_client_sends_nothing(connect):
    with exact_server() as server:
        client = connect(server.url)
        client.close()
        with pytest.raises(errors.MailchimpNotSentError, match="stopped"):
            client.ping.get()
        assert server.asked == []
