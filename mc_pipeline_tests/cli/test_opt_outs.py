"""Opt-outs at the terminal while something is broken: what can be carried is, and the rest is an error."""

from collections.abc import Callable, Iterator

import pytest

from mc_pipeline.sandbox.faults import Fault
from mc_pipeline_tests.cli.conftest import configure, mc_pipeline, serve_world
from mc_pipeline_tests.world import World

ANN, BOB, CLEO = "ann@example.com", "bob@example.com", "cleo@example.com"
LISTS = ("first1", "second1", "third1")
AUDIENCES = """
    audiences:
      first: {list_id: first1, when: {any_tag: [First]}}
      second: {list_id: second1, when: {any_tag: [Second]}}
      third: {list_id: third1, when: {}}
"""


@pytest.fixture
def heard(tmp_path) -> Iterator[World]:
    """Three audiences that were heard, each with the same three people, whom Odoo knows."""
    with serve_world(tmp_path) as world:
        configure(world, audiences=AUDIENCES)
        for name in ("First", "Second"):
            world.odoo.add_tag(name)
        for list_id in LISTS:
            world.mailchimp.add_audience(list_id, list_id.title())
        for email in (ANN, BOB, CLEO):
            world.odoo.add_partner(name="Ada Lovelace", email=email)
            for list_id in LISTS:
                world.mailchimp.add_member(list_id, email, "subscribed")
        finished = mc_pipeline("sync", "acme", "--opt-outs")
        assert finished.exit_code == 0, finished.output
        yield world


def statuses(world: World, email: str) -> list[str | None]:
    return [world.mailchimp.status(list_id, email) for list_id in LISTS]


def _delete_first(world: World) -> Callable[[], object]:
    deleted = world.mailchimp.state.audiences.pop("first1")
    return lambda: world.mailchimp.state.audiences.update({"first1": deleted})


def _break_first(kind: str) -> Callable[[World], Callable[[], object]]:
    def break_it(world: World) -> Callable[[], object]:
        world.mailchimp.faults.add(Fault(kind, match_path_regex="/lists/first1", times=None))  # type: ignore[arg-type]
        return world.mailchimp.faults.clear

    return break_it


BROKEN: dict[str, tuple[Callable[[World], Callable[[], object]], str]] = {
    "deleted": (_delete_first, "404"),
    "403 of the network": (_break_first("html_403"), "403"),
    "503": (_break_first("html_503"), "503"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_an_audience_that_cannot_be_read_is_an_error_and_the_others_are_applied(heard: World, broken: str):
    break_it, words = BROKEN[broken]
    heard.mailchimp.unsubscribe("second1", ANN)
    heard.mailchimp.unsubscribe("third1", BOB)
    heard.odoo.blacklist(CLEO)
    mend = break_it(heard)
    finished = mc_pipeline("sync", "acme", "--opt-outs")
    assert finished.exit_code == 1, finished.output
    assert (
        f"Opt-outs cannot be read in first: Mailchimp GET /lists/first1/members: {words}"
        in finished.in_one_line
    )
    assert "Traceback" not in finished.output
    assert "@example.com" not in finished.output
    assert heard.odoo.database.blacklisted() == {ANN, BOB, CLEO}
    mend()
    for email in (ANN, BOB, CLEO):
        assert statuses(heard, email) == ["subscribed", "unsubscribed", "unsubscribed"]

    finished = mc_pipeline("sync", "acme", "--opt-outs")
    assert finished.exit_code == 0, finished.output
    for email in (ANN, BOB, CLEO):
        assert statuses(heard, email) == ["unsubscribed"] * 3


def test_complaints_that_cannot_be_read_delay_no_other_opt_out(heard: World):
    heard.mailchimp.unsubscribe("second1", ANN)
    heard.mailchimp.bounce_hard("third1", BOB)
    heard.odoo.blacklist(CLEO)
    heard.mailchimp.faults.add(Fault("html_503", match_path_regex="/abuse-reports", times=None))
    finished = mc_pipeline("sync", "acme", "--opt-outs")
    assert finished.exit_code == 1, finished.output
    for audience, list_id in zip(("first", "second", "third"), LISTS, strict=True):
        assert (
            f"{audience}, complaints: Mailchimp GET /lists/{list_id}/abuse-reports: 503"
            in finished.in_one_line
        )
    assert heard.odoo.database.blacklisted() == {ANN, BOB, CLEO}
    assert statuses(heard, ANN) == ["unsubscribed"] * 3
    assert statuses(heard, BOB) == ["unsubscribed", "unsubscribed", "cleaned"]
    assert statuses(heard, CLEO) == ["unsubscribed"] * 3

    heard.mailchimp.complain("first1", ANN)
    heard.mailchimp.faults.clear()
    finished = mc_pipeline("sync", "acme", "--opt-outs")
    assert finished.exit_code == 0, finished.output
