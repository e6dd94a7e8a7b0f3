"""Reading an audience loses nobody, whatever people do meanwhile, and says so when it cannot prove it."""

import json
import math

import pandas as pd
import pytest

from mc_pipeline.mailchimp import errors
from mc_pipeline.mailchimp.members import STATUSES, get_member, read_members
from mc_pipeline_tests.mailchimp.exact_server import Asked, answer, exact_server, problem
from mc_pipeline_tests.mailchimp.moving_audience import MovingAudience

LIST = "1a2b3c4d5e"


def audience_of(**counts: int) -> MovingAudience:
    audience = MovingAudience()
    for status, count in counts.items():
        for number in range(count):
            audience.add(f"{status}{number}@example.com", status)
    audience.tick(3600)
    return audience


def states(read) -> dict[str, str]:
    return dict(zip(read.rows["email"], read.rows["status"], strict=True))


def is_main_page(asked: Asked, status: str, offset: int = 0) -> bool:
    return (
        asked.query.get("status") == status
        and "before_last_changed" in asked.query
        and asked.query["offset"] == str(offset)
    )


def test_every_status_is_asked_for_and_read(connect):
    audience = audience_of(**{status: number + 1 for number, status in enumerate(STATUSES)})
    with exact_server(audience) as server:
        read = read_members(connect(server.url), LIST)
    assert read.complete
    assert read.incomplete_because == ""
    assert read.rows["status"].value_counts().to_dict() == {s: n + 1 for n, s in enumerate(STATUSES)}


@pytest.mark.parametrize("members", [0, 1, 999, 1000, 1001, 2500])
def test_the_number_of_calls_grows_with_the_audience_only(connect, members):
    with exact_server(audience_of(subscribed=members)) as server:
        read = read_members(connect(server.url), LIST)
        assert len(read.rows) == members
        assert len(server.asked) <= math.ceil(members / 1000) + 19
        assert all("fields" in asked.query and "status" in asked.query for asked in server.asked)


def test_a_row_has_the_agreed_columns_and_types(connect):
    audience = MovingAudience()
    audience.add(
        "Jane.DOE@Example.com",
        "unsubscribed",
        merge_fields={"LNAME": "Dœ", "FNAME": "Jane", "ADDRESS": {"zip": "1", "addr1": "x"}},
        tags=[{"id": 7, "name": "VIP"}],
        tags_count=1,
        unsubscribe_reason="No longer interested",
        language="",
    )
    audience.tick()
    with exact_server(audience) as server:
        rows = read_members(connect(server.url), LIST).rows
    row = rows.iloc[0]
    assert list(rows.columns) == [
        "list_id", "email", "email_address", "subscriber_hash", "contact_id", "status",
        "merge_fields_json", "tags", "language", "last_changed", "timestamp_signup", "timestamp_opt",
        "unsubscribe_reason", "source", "permissions_json",
    ]  # fmt: skip
    assert (row["list_id"], row["email"], row["email_address"]) == (
        LIST,
        "jane.doe@example.com",
        "Jane.DOE@Example.com",
    )
    assert row["merge_fields_json"] == '{"ADDRESS":{"addr1":"x","zip":"1"},"FNAME":"Jane","LNAME":"Dœ"}'
    assert row["tags"] == ["VIP"]
    assert row["unsubscribe_reason"] == "No longer interested"
    assert pd.isna(row["language"])
    assert pd.isna(row["timestamp_signup"])
    assert row["last_changed"] == pd.Timestamp("2026-05-01T08:00:00Z")
    assert str(rows["last_changed"].dtype) == "datetime64[us, UTC]"


def test_an_empty_audience_has_the_same_columns_and_types(connect):
    with exact_server(audience_of(subscribed=1)) as full, exact_server(MovingAudience()) as empty:
        expected = read_members(connect(full.url), LIST).rows
        read = read_members(connect(empty.url), LIST)
    assert read.complete
    assert len(read.rows) == 0
    assert read.rows.dtypes.to_dict() == expected.dtypes.to_dict()


def test_all_tags_are_read_where_the_member_shows_fifty(connect):
    audience = MovingAudience()
    names = [f"tag {number}" for number in range(1203)]
    few = audience.add("few@example.com", "subscribed", tags=[{"name": "VIP"}], tags_count=1)
    many = audience.add(
        "many@example.com", "subscribed", tags=[{"name": n} for n in names[:50]], tags_count=1203
    )
    audience.tags = {many["id"]: names, few["id"]: ["VIP"]}
    audience.tick()
    with exact_server(audience) as server:
        rows = read_members(connect(server.url), LIST).rows.set_index("email")
        assert sum(asked.path.endswith("/tags") for asked in server.asked) == 2
    assert rows.loc["many@example.com", "tags"] == names
    assert rows.loc["few@example.com", "tags"] == ["VIP"]


def test_somebody_who_leaves_a_status_between_two_pages_hides_nobody(connect):
    """The page boundary moves: the first of the second page would be skipped."""
    audience = audience_of(subscribed=1500)

    def unsubscribe_first(audience, asked, number):
        if is_main_page(asked, "subscribed", 1000) and audience.now.hour == 9:
            audience.tick(3600)
            audience.change("subscribed0@example.com", status="unsubscribed")

    audience.before_request = unsubscribe_first
    with exact_server(audience) as server:
        read = read_members(connect(server.url), LIST)
    assert read.complete
    assert len(read.rows) == 1500
    assert states(read)["subscribed0@example.com"] == "unsubscribed"


def test_somebody_erased_between_two_pages_hides_nobody(connect):
    """The erased one still counts as read, the skipped one does not: the numbers alone would agree."""
    audience = audience_of(subscribed=1500)

    def erase_first(audience, asked, number):
        if is_main_page(asked, "subscribed", 1000) and audience.now.hour == 9:
            audience.tick(3600)
            audience.remove("subscribed0@example.com")

    audience.before_request = erase_first
    with exact_server(audience) as server:
        read = read_members(connect(server.url), LIST)
    assert read.complete
    assert states(read) == audience.statuses()


def test_a_changed_address_is_the_same_person_and_needs_no_second_reading(connect):
    audience = audience_of(subscribed=3)

    def rename(audience, asked, number):
        if number == 5:
            audience.tick(60)
            audience.change("subscribed0@example.com", email_address="new@example.com")

    audience.before_request = rename
    with exact_server(audience) as server:
        read = read_members(connect(server.url), LIST)
        assert len(server.asked) == 19
    assert states(read) == audience.statuses()


def test_one_who_leaves_and_one_who_enters_between_two_pages_hide_nobody(connect):
    """The count stays the same: only a window that nobody can enter shows that something moved."""
    audience = audience_of(subscribed=1500, pending=1)

    def swap(audience, asked, number):
        if is_main_page(asked, "subscribed", 1000) and audience.now.hour == 9:
            audience.tick(3600)
            audience.change("subscribed0@example.com", status="unsubscribed")
            audience.change("pending0@example.com", status="subscribed")

    audience.before_request = swap
    with exact_server(audience) as server:
        read = read_members(connect(server.url), LIST)
    assert read.complete
    assert len(read.rows) == 1501
    assert states(read)["subscribed1000@example.com"] == "subscribed"
    assert states(read)["pending0@example.com"] == "subscribed"


@pytest.mark.parametrize("moment", range(1, 19))
@pytest.mark.parametrize("to", ["unsubscribed", "archived", "subscribed", "gone", "renamed", "new"])
def test_one_change_at_any_moment_of_the_reading_ends_in_one_true_row(connect, moment, to):
    audience = audience_of(**dict.fromkeys(STATUSES, 2))
    before = audience.statuses()

    def change(audience, asked, number):
        if number != moment:
            return
        audience.tick(30)
        if to == "gone":
            audience.remove("transactional0@example.com")
        elif to == "renamed":
            audience.change("transactional0@example.com", email_address="new@example.com")
        elif to == "new":
            audience.add("new@example.com", "subscribed")
        else:
            audience.change("transactional0@example.com", status=to)

    audience.before_request = change
    with exact_server(audience) as server:
        read = read_members(connect(server.url), LIST)
    assert read.complete
    assert len(states(read)) == len(read.rows)
    after = audience.statuses()
    # What happens after the last look at a status is the next reading's business; nobody is lost by it.
    assert states(read) == after or (moment > 8 and states(read) == before)


def test_somebody_who_moves_twice_around_the_reader_is_found(connect):
    """Archived is read before they arrive there, subscribed after they left: no page shows them."""
    audience = audience_of(subscribed=3)

    def dodge(audience, asked, number):
        if asked.query.get("status") == "subscribed" and number == 2:
            audience.change("subscribed1@example.com", status="pending")
        if asked.query.get("status") == "pending" and "before_last_changed" in asked.query:
            audience.tick(30)
            audience.change("subscribed1@example.com", status="subscribed")

    audience.before_request = dodge
    with exact_server(audience) as server:
        read = read_members(connect(server.url), LIST)
    assert read.complete
    assert states(read)["subscribed1@example.com"] == "subscribed"


def test_an_audience_that_never_rests_is_incomplete_with_its_reason(connect):
    audience = audience_of(subscribed=1200)

    def churn(audience, asked, number):
        audience.tick(5)
        audience.add(f"new{number}@example.com", "subscribed")

    audience.before_request = churn
    with exact_server(audience) as server:
        read = read_members(connect(server.url), LIST)
        assert len(server.asked) < 120
    assert not read.complete
    assert "subscribed" in read.incomplete_because
    assert "Mailchimp counts" in read.incomplete_because


def test_a_mailchimp_that_counts_more_than_it_shows_is_incomplete(connect):
    audience = audience_of(subscribed=5, cleaned=2)

    def lie(asked):
        given = audience(asked)
        return given.replace(b'"total_items": 2', b'"total_items": 3')

    with exact_server(lie) as server:
        read = read_members(connect(server.url), LIST)
    assert not read.complete
    assert "cleaned: 2 " in read.incomplete_because
    assert len(read.rows) == 7


def test_a_clock_of_ours_that_is_wrong_loses_nobody(connect):
    """Windows end by Mailchimp's clock: here it is years behind ours."""
    audience = audience_of(subscribed=1100)
    with exact_server(audience) as server:
        read = read_members(connect(server.url), LIST)
        before = {
            asked.query["before_last_changed"] for asked in server.asked if "before_last" in asked.target
        }
    assert read.complete
    assert len(read.rows) == 1100
    assert all(text.startswith("2026-05-01T") for text in before)


def test_a_page_without_its_members_is_an_error_and_no_empty_audience(connect):
    with exact_server(answer(200, {})) as server, pytest.raises(errors.MailchimpServerError):
        read_members(connect(server.url), LIST)


def test_a_wrong_list_id_is_one_clear_error(connect):
    given = problem(404, "Resource Not Found", "The requested resource could not be found.")
    with exact_server(given) as server, pytest.raises(errors.MailchimpNotFoundError, match=LIST):
        read_members(connect(server.url), LIST)


def test_a_member_who_is_not_there_is_none(connect):
    with exact_server(problem(404, "Resource Not Found"), answer(404, b"", None)) as server:
        client = connect(server.url)
        assert get_member(client, LIST, "ab") is None
        with pytest.raises(errors.MailchimpError):
            get_member(client, LIST, "ab")


def test_json_text_is_canonical(connect):
    with exact_server(audience_of(subscribed=1)) as server:
        text = read_members(connect(server.url), LIST).rows["merge_fields_json"].iloc[0]
    assert text == json.dumps(json.loads(text), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
