"""A first load is over when it is known of all writes of the approved first plan what became of them."""

import pandas as pd
import pytest

from mc_pipeline.domain.plan.first_load_ends import still_loading

RELEASED = {"k1"}


def loading(operation: str, outcome: str, *, key: str = "k9", detail: str = "", unread=(), open_lists=()):
    rows = pd.DataFrame(
        [("list1", operation, key, outcome, detail), ("list2", "create", "k2", "applied", "")],
        columns=["list_id", "operation", "row_key", "outcome", "detail"],
    )
    return still_loading(
        rows, RELEASED, known_details={"its member is not there"}, unread=unread, open_lists=open_lists
    )


@pytest.mark.parametrize("outcome", ["applied", "unchanged", "rejected", "deferred"])
@pytest.mark.parametrize("operation", ["create", "tag", "permit"])
def test_what_mailchimp_took_or_refused_is_known(operation, outcome):
    assert loading(operation, outcome, key="k1") == set()


@pytest.mark.parametrize("outcome", ["unknown", "not_sent"])
@pytest.mark.parametrize("operation", ["create", "tag", "permit"])
def test_what_was_not_sent_or_not_answered_is_still_to_come(operation, outcome):
    assert loading(operation, outcome) == {"list1"}


@pytest.mark.parametrize("outcome", ["held_back", "waits"])
@pytest.mark.parametrize(
    ("operation", "key", "lasts"),
    [
        ("create", "k9", True),
        ("create", "k1", True),
        ("tag", "k1", True),
        ("archive", "k9", False),
        ("change_email", "k9", False),
    ],
    ids=[
        "somebody who is not there yet",
        "a creation of the first plan",
        "a tag of the first plan",
        "an archiving that was never part of it",
        "a change of address that was never part of it",
    ],
)
def test_what_waits_counts_when_it_belongs_to_the_first_load(operation, key, lasts, outcome):
    assert loading(operation, outcome, key=key) == ({"list1"} if lasts else set())


def test_a_tag_whose_member_was_refused_is_known():
    assert loading("tag", "held_back", key="k1", detail="its member is not there") == set()


def test_an_audience_that_was_not_read_or_has_open_writes_is_not_loaded():
    assert loading("tag", "applied", unread={"list3"}, open_lists={"list4"}) == {"list3", "list4"}
