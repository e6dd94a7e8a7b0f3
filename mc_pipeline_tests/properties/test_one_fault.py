"""A run breaks only where it is broken: each place broken by itself, all else as if it were not.

Judged after one run: what both systems hold, and each write on the way, but for what hangs on the broken
place. Then it is mended, and the end is the same as that of a run in which nothing had been broken.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.settings.models import Guard
from mc_pipeline_tests.properties.fault_matrix import _differences
from mc_pipeline_tests.properties.one_fault import (
    CHANGED_DAY,
    FIRST_LOAD,
    SITUATIONS,
    Town,
    differing_writes,
    elsewhere,
    state_of,
    town_of,
    writes_since,
)
from mc_pipeline_tests.properties.oracle import WHOLESALE
from mc_pipeline_tests.properties.small_world import COMPANY, SmallWorld

STORE = f"store-of-{WHOLESALE}"
NOTHING = r"(?!)"
MOVING = r"(turning|cleo)@example\.com"
NEWCOMERS = r"(newfirm|dan|eve|turning|cleo)@example\.com"
SUBSCRIBED = r"(firm|ann|eve)@example\.com"


@dataclass(frozen=True)
class Place:
    """A place that breaks, and what hangs on it: expressions for atoms of the state and of the writes.

    ``people``: names of customers whose orders hang on it as well.
    """

    name: str
    breaks: Callable[[SmallWorld], None]
    state: str
    writes: str
    people: tuple[str, ...] = ()
    mend: Callable[[SmallWorld], None] = lambda world: None
    situations: tuple[str, ...] = SITUATIONS
    is_reported: bool = True


def _always(kind: str, path: str, method: str | None = None, body: str = "") -> Callable[[SmallWorld], None]:
    def add(world: SmallWorld) -> None:
        world.mailchimp.faults.add(
            Fault(kind, match_method=method, match_path_regex=path, match_body_regex=body, times=None)  # type: ignore[arg-type]
        )

    return add


def _field_of_another_type(world: SmallWorld) -> None:
    for field in world.mailchimp.audience(WHOLESALE).merge_fields.values():
        if field.tag == "ORDERS":
            field.type = "text"


def _field_of_its_type(world: SmallWorld) -> None:
    for field in world.mailchimp.audience(WHOLESALE).merge_fields.values():
        if field.tag == "ORDERS":
            field.type = "number"


def _store_answers_errors(world: SmallWorld) -> None:
    _always("json_500", f"/ecommerce/stores/{STORE}")(world)
    _always("json_500", "/ecommerce/stores$", "POST", STORE)(world)


def _damage_a_month(world: SmallWorld) -> None:
    files = sorted((world.folder / "tables" / "store_orders" / COMPANY).glob("*.parquet"))
    assert files, "there is a month's file to damage"
    files[0].write_bytes(b"PAR1 and then nothing that anybody could read")


def _guards(world: SmallWorld, **limits: Guard) -> None:
    company = world.settings.companies[COMPANY]
    guards = company.guards.model_copy(update=limits)
    companies = {**world.settings.companies, COMPANY: company.model_copy(update={"guards": guards})}
    world.settings = world.settings.model_copy(update={"companies": companies})


def _no_archives(world: SmallWorld) -> None:
    _guards(world, archived=Guard(percent=0, at_least=0))


def _no_orders_lowered(world: SmallWorld) -> None:
    _guards(world, orders_lowered=Guard(percent=0, at_least=0))


def _plan_of_mailchimp_is_full(world: SmallWorld) -> None:
    world.mailchimp.limit_contacts(1)


def _plan_of_mailchimp_takes_more(world: SmallWorld) -> None:
    world.mailchimp.limit_contacts(None)


PLACES = [
    Place(
        "the list of an audience",
        _always("html_503", f"/lists/{WHOLESALE}"),
        # People who would be subscribed are held everywhere: who opted out there is not known. So no first
        # load ends.
        state=rf"^{WHOLESALE} |^store {STORE}|^mail.blacklist refusing|{MOVING}|{SUBSCRIBED}",
        writes=rf"^{WHOLESALE} |\bstore {STORE}|{MOVING}|{SUBSCRIBED}|is_syncing",
        people=("Turning", "Cleo", "Ann", "Eve"),
    ),
    Place(
        "the page of its members",
        _always("truncated", f"/lists/{WHOLESALE}/members"),
        state=rf"^{WHOLESALE} |^store {STORE}|^mail.blacklist refusing|{MOVING}|{SUBSCRIBED}",
        writes=rf"^{WHOLESALE} |\bstore {STORE}|{MOVING}|{SUBSCRIBED}|is_syncing",
        people=("Turning", "Cleo", "Ann", "Eve"),
    ),
    Place(
        "a merge field of another type",
        _field_of_another_type,
        state=rf"^{WHOLESALE} ",
        writes=rf"^{WHOLESALE} \S+ (create|PATCH)|^{WHOLESALE} merge-fields",
        mend=_field_of_its_type,
        situations=(CHANGED_DAY,),
    ),
    Place(
        "a tag",
        _always("json_500", rf"/lists/{WHOLESALE}/(segments|members/\w+/tags)", "POST"),
        state=rf"^{WHOLESALE} ",
        writes=rf"^{WHOLESALE} \S+ (members_to_|POST tags)|^{WHOLESALE} segments",
        # The tags of a first load go through /batches, whose operations no fault reaches.
        situations=(CHANGED_DAY,),
    ),
    Place(
        "a store",
        _store_answers_errors,
        state=rf"^store {STORE}",
        writes=rf"\bstore {STORE}",
        people=("Turning", "Cleo"),
    ),
    Place(
        "a product",
        _always("json_500", f"/ecommerce/stores/{STORE}/products", "POST", "Lamp|Chair"),
        state=rf"^store {STORE} products",
        writes=rf"^store {STORE} products",
        people=("Lighting",),
    ),
    Place(
        "the contacts of the plan",
        _plan_of_mailchimp_is_full,
        state=NEWCOMERS,
        writes=rf"{NEWCOMERS}|merge-fields|is_syncing",
        people=("Newfirm", "Dan", "Eve", "Turning", "Cleo"),
        mend=_plan_of_mailchimp_takes_more,
        situations=(CHANGED_DAY,),
    ),
    Place(
        "a guard of the audiences",
        _no_archives,
        state=rf"{NEWCOMERS}|(closing|ben)@example\.com",
        writes=rf"{NEWCOMERS}|(closing|ben)@example\.com",
        people=("Newfirm", "Dan", "Eve", "Turning", "Cleo"),
        situations=(CHANGED_DAY,),
    ),
    Place(
        "a guard of the stores",
        _no_orders_lowered,
        state=NOTHING,
        writes=NOTHING,
        people=("Firm Limited", "Ann King"),
        situations=(CHANGED_DAY,),
    ),
    Place(
        "a month's file",
        _damage_a_month,
        state=NOTHING,
        writes=NOTHING,
        situations=(CHANGED_DAY,),
        is_reported=False,
    ),
]


@pytest.fixture(scope="module", params=SITUATIONS)
def town(request: pytest.FixtureRequest) -> Iterator[Town]:
    with town_of(request.param) as town:
        yield town


def _concerned(expression: str, world: SmallWorld, people: tuple[str, ...]) -> re.Pattern[str]:
    """An expression with the customers and orders of these people in either store."""
    if not people:
        return re.compile(expression)
    partners = world.odoo.search("res.partner", [("name", "in", list(people))])
    orders = world.odoo.search("sale.order", [("partner_id", "in", partners)])
    of_people = "|".join(
        [*(rf"{name.lower()}@example\.com" for name in people), *(f"o{each}" for each in orders)]
    )
    return re.compile(rf"{expression}|^store \S+ .*\b({of_people})\b")


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(place, id=place.name, marks=pytest.mark.quick if place.name == "a tag" else ())
        for place in PLACES
    ],
)
def test_what_does_not_hang_on_the_broken_place_is_as_if_nothing_were_broken(
    place: Place, town: Town, record_property: Callable[[str, int], None]
):
    if town.situation not in place.situations:
        pytest.skip(f"{place.name}: not before a {town.situation}")
    world = town.world
    town.begin_again()
    people, settings = place.people, world.settings
    place.breaks(world)
    before = world.mailchimp.journal.last_number
    run = town.run()
    world.mailchimp.faults.clear()

    assert run.failure is None, run.failure
    written = differing_writes(town.writes, writes_since(world, before))
    assert not elsewhere(written, _concerned(place.writes, world, people))
    differing = _differences(town.state, state_of(world))
    assert not elsewhere(differing, _concerned(place.state, world, people))
    said = [f"{each.trouble.sentence} {each.trouble.what_to_do}" for each in town.troubles()]
    assert bool(said) is place.is_reported, said
    assert not [each for each in said if "@" in each]

    place.mend(world)
    world.settings = settings
    world.run_until_done()
    assert not _differences(town.end, state_of(world))
    world.check_nothing_is_left_to_do()
    assert not world.violations()
    record_property("cells of the fault table", 1)


def test_the_table_has_every_kind_of_place_in_both_situations(town: Town):
    cells = [place for place in PLACES if town.situation in place.situations]
    assert len(cells) >= (10 if town.situation == CHANGED_DAY else 4)
    assert town.writes, "an undisturbed run writes"
    assert town.situation in (FIRST_LOAD, CHANGED_DAY)
