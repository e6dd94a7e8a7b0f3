"""Who opted out of an audience of another company is subscribed nowhere on older consent (rules 1.2 and 5.6).

Also when that company was never synced: its audiences are heard before anybody is subscribed, and while one
of them cannot be heard, those who would be subscribed are held, and nobody else is.
"""

from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr

from mc_pipeline.sandbox.faults import Fault
from mc_pipeline_tests.properties.oracle import RETAIL, SECOND
from mc_pipeline_tests.properties.runs import Run
from mc_pipeline_tests.properties.small_world import (
    COMPANY,
    ORDERED,
    SECOND_COMPANY,
    SmallWorld,
    small_world,
)

ANN, BOB, CLEO = "ann@example.com", "bob@example.com", "cleo@example.com"


@pytest.fixture
def world() -> Iterator[SmallWorld]:
    """Ann and Bob consented, Cleo did not; all three are members of the other company's audience."""
    with small_world(second_company=True) as world:
        for email in (ANN, BOB, CLEO):
            partner = world.odoo.add_partner(name="Ann Ash", email=email)
            world.odoo.add_order(partner, 100.0, date_order=ORDERED)
            world.mailchimp.sign_up(SECOND, email)
        for email in (ANN, BOB):
            world.odoo.subscribe(world.newsletter, email)
        yield world


def sync(world: SmallWorld) -> Run:
    """Sync the first company in whatever trouble; a person approves what waits."""
    run = world.run()
    while run.needs_approval and world.approve_what_waits(run):
        run = world.run()
    return run


def statuses(world: SmallWorld) -> dict[str, str | None]:
    return {email: world.mailchimp.status(RETAIL, email) for email in (ANN, BOB, CLEO)}


def test_an_audience_that_no_run_ever_heard_is_heard_before_anybody_is_subscribed(world: SmallWorld):
    world.mailchimp.unsubscribe(SECOND, ANN)
    assert sync(world).succeeded
    assert statuses(world) == {ANN: "transactional", BOB: "subscribed", CLEO: "transactional"}
    assert not world.violations()


@pytest.mark.quick
def test_somebody_who_opted_out_since_the_other_company_was_synced_is_heard_too(world: SmallWorld):
    world.settings = _keeping_to_itself(world)
    assert world.run(company=SECOND_COMPANY, only_opt_outs=True).succeeded
    world.mailchimp.unsubscribe(SECOND, ANN)
    assert sync(world).succeeded
    assert ANN not in world.odoo.database.blacklisted()
    assert statuses(world) == {ANN: "transactional", BOB: "subscribed", CLEO: "transactional"}


def _keeping_to_itself(world: SmallWorld):
    """The other company's opt-outs are no opt-outs of this one (``opt_out_scope: company``)."""
    companies = dict(world.settings.companies)
    companies[SECOND_COMPANY] = companies[SECOND_COMPANY].model_copy(update={"opt_out_scope": "company"})
    return world.settings.model_copy(update={"companies": companies})


def _deleted(world: SmallWorld) -> Callable[[], object]:
    audience = world.mailchimp.state.audiences.pop(SECOND)
    return lambda: world.mailchimp.state.audiences.update({SECOND: audience})


def _unavailable(world: SmallWorld) -> Callable[[], object]:
    world.mailchimp.faults.add(Fault("html_503", match_path_regex=SECOND, times=None))
    return world.mailchimp.faults.clear


def _refused_key(world: SmallWorld) -> Callable[[], object]:
    """The other company has a key of its own, which Mailchimp does not know."""
    right = world.settings
    accounts = dict(right.mailchimp)
    wrong = SecretStr("00000000000000000000000000000000-us1")
    accounts["other"] = accounts["main"].model_copy(update={"api_key": wrong})
    companies = dict(right.companies)
    companies[SECOND_COMPANY] = companies[SECOND_COMPANY].model_copy(update={"mailchimp": "other"})
    world.settings = right.model_copy(update={"mailchimp": accounts, "companies": companies})
    return lambda: setattr(world, "settings", right)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [(_deleted, "404"), (_unavailable, "503"), (_refused_key, "API key")],
    ids=["never found", "503", "wrong key"],
)
def test_while_it_cannot_be_heard_people_are_held_and_listed_with_it(
    world: SmallWorld, trouble: Callable[[SmallWorld], Callable[[], object]], words: str
):
    world.mailchimp.unsubscribe(SECOND, ANN)
    for _ in range(2):
        run = _run_without(world, trouble)
        assert statuses(world) == {ANN: None, BOB: None, CLEO: "transactional"}
        pushed = run.tables["audience_push"].rows
        held = pushed[(pushed["outcome"] == "held_back") & (pushed["operation"] == "create")]
        assert set(held["email"]) == {ANN, BOB}
        assert held["detail"].str.contains(f"audience second of {SECOND_COMPANY}", regex=False).all()
        assert held["detail"].str.contains(words, regex=False).all()
    assert sync(world).succeeded
    assert statuses(world) == {ANN: "transactional", BOB: "subscribed", CLEO: "transactional"}
    assert not world.violations()


def _run_without(world: SmallWorld, trouble: Callable[[SmallWorld], Callable[[], object]]) -> Run:
    """Sync while the other company's audience cannot be heard; approvals come in between."""
    mend: list[Callable[[], object]] = []
    while True:
        run = world.run(begin=lambda: mend.append(trouble(world)))
        mend.pop()()
        if not run.needs_approval:
            assert run.succeeded, run.failure
            return run
        assert world.approve_what_waits(run, COMPANY)
