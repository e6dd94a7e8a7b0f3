"""Each trouble beside each opt-out, by itself and while people are loaded for the first time (rule 5.1).

What can be carried is carried in the same run. What cannot is named by a failed check, with its place, in the
system's words and without an address, and the first run after the trouble carries it.
"""

import itertools
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace

import dagster as dg
import pytest

from mc_pipeline.definitions import build_defs
from mc_pipeline.ledger import Intent
from mc_pipeline.sandbox.faults import Fault, FaultKind
from mc_pipeline.sandbox.mailchimp.people import People
from mc_pipeline_tests.properties.fault_matrix import _Kept
from mc_pipeline_tests.properties.oracle import RETAIL, WHOLESALE
from mc_pipeline_tests.properties.runs import Run, _call
from mc_pipeline_tests.properties.small_world import COMPANY, ORDERED, SmallWorld, small_world

ANN, BEN, CLEO, STAYING = "ann@example.com", "ben@example.com", "cleo@example.com", "staying@example.com"
NEWCOMERS = tuple(f"newcomer{number}@example.com" for number in range(4))
BOTH = frozenset({WHOLESALE, RETAIL})
CHECKS = ("mailchimp_opt_outs_checks", "odoo_opt_outs_checks", "mailchimp_unsubscribes_checks")
LOCKED_SECONDS = 1.0


@dataclass
class Town:
    """A small world, what ends with the trouble (``open``), and when deliveries of webhooks come."""

    world: SmallWorld
    open: ExitStack
    deliver: Callable[[], object] = lambda: None
    deliver_late: Callable[[], object] = lambda: None


# --- the trouble ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trouble:
    """One kind of trouble: ``prepare`` comes before the opt-out, ``begin`` behind it.

    deaf         audiences of which nothing can be heard, and into which nothing can be written
    unread       what the check opt_outs_are_read says all the same, or of those
    no_partners, no_blacklist, no_writes   what of Odoo does not work
    words        what the system says
    runs         so many runs happen in the trouble
    """

    begin: Callable[[Town], object] = lambda town: None
    prepare: Callable[[Town], object] = lambda town: None
    deaf: frozenset[str] = frozenset()
    unread: str = ""
    no_partners: bool = False
    no_blacklist: bool = False
    no_writes: bool = False
    words: str = ""
    runs: int = 1
    returns_before: bool = False


def _fault(kind: FaultKind, path: str = RETAIL) -> Callable[[Town], object]:
    def begin(town: Town) -> None:
        town.world.mailchimp.faults.add(Fault(kind, match_path_regex=path, times=None))
        town.open.callback(town.world.mailchimp.faults.clear)

    return begin


def _deleted(town: Town) -> None:
    audiences = town.world.mailchimp.state.audiences
    deleted = audiences.pop(RETAIL)
    town.open.callback(lambda: audiences.update({RETAIL: deleted}))


def _denied(model: str, *operations: str) -> Callable[[Town], object]:
    def begin(town: Town) -> None:
        odoo = town.world.odoo
        (administrator,) = odoo.search("res.users", [("login", "=", "admin")])
        for operation in operations:
            odoo.deny(administrator, model, operation)
        town.open.callback(odoo.database.accounts[administrator].denied.clear)

    return begin


def _webhooks(deliver: Callable[[SmallWorld], object], *, late: bool = False) -> Callable[[Town], object]:
    """Both webhooks of every audience; ``deliver`` says what comes of their deliveries, in time or late."""

    def prepare(town: Town) -> None:
        town.open.enter_context(town.world.webhooks())
        if late:
            town.deliver_late = lambda: deliver(town.world)
        else:
            town.deliver = lambda: deliver(town.world)

    return prepare


def _receiver_down(town: Town) -> None:
    with town.world.webhooks():
        town.open.callback(town.world.mailchimp.state.webhook_deliveries.clear)
    town.deliver = lambda: _none_arrives(town.world)


def _none_arrives(world: SmallWorld) -> None:
    assert set(world.mailchimp.deliver_webhooks()) <= {0}


def _all_arrive(world: SmallWorld, times: int = 1) -> None:
    assert set(world.mailchimp.deliver_webhooks(times=times)) <= {200}


def _last_is_lost(world: SmallWorld) -> None:
    del world.mailchimp.state.webhook_deliveries[-1:]
    _all_arrive(world)


def _locked(town: Town) -> None:
    """Another program holds the ledger's write lock from now on, and lets go of it by itself."""
    is_locked = threading.Event()

    def lock() -> None:
        connection = sqlite3.connect(town.world.folder / "ledger.db", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        is_locked.set()
        threading.Event().wait(LOCKED_SECONDS)
        connection.execute("ROLLBACK")
        connection.close()

    thread = threading.Thread(target=lock)
    thread.start()
    town.open.callback(thread.join)
    assert is_locked.wait(10)


DEAF = frozenset({RETAIL})
NO_RIGHT = "Odoo"
TROUBLE: dict[str, Trouble] = {
    "audience 404": Trouble(_deleted, deaf=DEAF, words="404"),
    "audience 404 for the second time": Trouble(_deleted, deaf=DEAF, words="404", runs=2),
    "audience 403 of the network": Trouble(_fault("html_403"), deaf=DEAF, words="403"),
    "audience 503": Trouble(_fault("html_503"), deaf=DEAF, words="503"),
    "audience 429": Trouble(_fault("empty_429"), deaf=DEAF, words="429"),
    "audience reset": Trouble(_fault("reset_before"), deaf=DEAF, words="Mailchimp GET"),
    "audience truncated": Trouble(_fault("truncated"), deaf=DEAF, words="Mailchimp GET"),
    "abuse reports alone": Trouble(
        _fault("html_503", f"{RETAIL}/abuse-reports"), unread="retail, complaints: ", words="503"
    ),
    "partners not readable": Trouble(_denied("res.partner", "read"), no_partners=True, words=NO_RIGHT),
    "blacklist not readable": Trouble(_denied("mail.blacklist", "read"), no_blacklist=True, words=NO_RIGHT),
    "blacklist not writable": Trouble(
        _denied("mail.blacklist", "create", "write"), no_writes=True, words=NO_RIGHT
    ),
    "webhooks never arrive": Trouble(prepare=_receiver_down),
    "webhooks late": Trouble(prepare=_webhooks(_all_arrive, late=True)),
    "webhooks twice": Trouble(prepare=_webhooks(lambda world: _all_arrive(world, times=2))),
    "webhooks partly lost": Trouble(prepare=_webhooks(_last_is_lost), returns_before=True),
    "ledger locked": Trouble(_locked),
}


# --- the opt-out ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OptOut:
    """``list_id``: the audience of Mailchimp, or empty: Odoo."""

    email: str
    list_id: str = ""

    def make(self, world: SmallWorld, *, returns_before: bool = False) -> None:
        if not self.list_id:
            # Of the newcomers, one whom the first load would subscribe.
            world.odoo.blacklist(self.email)
            world.odoo.blacklist(NEWCOMERS[0])
            return
        people = People(world.mailchimp.state)
        if returns_before:
            people.unsubscribe(self.list_id, self.email)
            world.mailchimp.advance(timedelta(seconds=5))
            people.sign_up(self.list_id, self.email)
            world.mailchimp.advance(timedelta(seconds=5))
        people.unsubscribe(self.list_id, self.email)


OPT_OUTS = {
    "out of the healthy audience": [OptOut(ANN, WHOLESALE)],
    "out of the faulty audience": [OptOut(BEN, RETAIL)],
    "out in Odoo": [OptOut(CLEO)],
}
OPT_OUTS["all three"] = [each for opt_outs in OPT_OUTS.values() for each in opt_outs]


# --- what else is under way -------------------------------------------------------------------------------


def _found_town(world: SmallWorld) -> None:
    """Four people who signed up for both audiences are customers; both audiences were heard."""
    for email in (ANN, BEN, CLEO, STAYING):
        partner = world.odoo.add_partner(name="Ann Ash", email=email)
        world.odoo.add_order(partner, 100.0, date_order=ORDERED)
        for list_id in sorted(BOTH):
            world.mailchimp.sign_up(list_id, email)
    assert world.run(only_opt_outs=True).succeeded


def _loaded(world: SmallWorld) -> None:
    world.run_until_done()


def _load_waits(world: SmallWorld) -> Run:
    for email in NEWCOMERS:
        partner = world.odoo.add_partner(name="New Comer", email=email)
        world.odoo.add_order(partner, 100.0, date_order=ORDERED)
        world.odoo.subscribe(world.newsletter, email)
    return world.run()


def _load_is_approved(world: SmallWorld) -> None:
    assert world.approve_what_waits(_load_waits(world))


@contextmanager
def _load_is_pushed(world: SmallWorld) -> Iterator[None]:
    """Another run has the lease of the company's changes, and has sent writes that nobody answered yet."""
    under_way = [
        Intent(
            list_id=RETAIL,
            audience="retail",
            email=email,
            operation="create",
            body={"email_address": email, "status": "subscribed"},
        )
        for email in NEWCOMERS
    ]
    under_way += [
        Intent(
            list_id=list_id,
            audience="",
            email=email,
            operation="update",
            body={"merge_fields": {"FNAME": "Ann"}},
        )
        for list_id in sorted(BOTH)
        for email in (ANN, BEN, CLEO)
    ]
    systems = world.systems()
    try:
        with systems.ledger.leases.hold(COMPANY, "the push", timedelta(minutes=10)) as lease:
            systems.ledger.intents.record(COMPANY, lease.fence, "the push", under_way)
            yield
    finally:
        systems.close()


@dataclass(frozen=True)
class Beside:
    """What else is under way: how the town comes to it, and what goes on during the runs of a cell.

    ``loads``: people are loaded for the first time.
    """

    prepare: Callable[[SmallWorld], object]
    during: Callable[[SmallWorld], AbstractContextManager[None]] | None = None
    loads: bool = True


BESIDE = {
    "alone": Beside(_loaded, loads=False),
    "beside a first load that waits": Beside(_load_waits),
    "beside a first load that is pushed": Beside(_load_is_approved, _load_is_pushed),
}


# --- the table --------------------------------------------------------------------------------------------


@dataclass
class Towns:
    """One world, and how it is for each of ``BESIDE``."""

    world: SmallWorld
    kept: dict[str, _Kept] = field(default_factory=dict)


@dataclass
class Cells:
    """Lives through cells, one after the other, and judges each."""

    towns: Towns
    checks: list[dg.AssetChecksDefinition]

    def live_through(self, trouble: str, opt_out: str, beside: str) -> None:
        """``trouble``, ``opt_out`` and ``beside`` are names of the three tables above."""
        world, what, opt_outs = self.towns.world, TROUBLE[trouble], OPT_OUTS[opt_out]
        self.towns.kept[beside].restore(world)
        with ExitStack() as around:
            if (during := BESIDE[beside].during) is not None:
                around.enter_context(during(world))
            town = Town(world, around)
            what.prepare(town)
            for said in opt_outs:
                said.make(world, returns_before=what.returns_before)
            town.deliver()
            for _ in range(what.runs):
                with ExitStack() as town.open:
                    run = world.run(only_opt_outs=True, begin=lambda: what.begin(town))
            assert run.succeeded, f"a step failed: {run.failure!r}"
            for said in opt_outs:
                _check_carried(world, what, said, is_known=not BESIDE[beside].loads)
            _check_named(_failed_checks(world, run, self.checks), what, opt_outs)
            town.deliver_late()
            run = world.run(only_opt_outs=True)
            assert not _failed_checks(world, run, self.checks)
            _check_out_everywhere(world, opt_outs)
        assert not world.violations()


@pytest.fixture(scope="module")
def cells_once() -> Iterator[Cells]:
    with small_world() as world:
        _found_town(world)
        founded, towns = _Kept(world), Towns(world)
        for name, beside in BESIDE.items():
            founded.restore(world)
            beside.prepare(world)
            towns.kept[name] = _Kept(world)
        definitions = build_defs(world.settings)
        checks = [each for each in definitions.asset_checks or () if each.op.name in CHECKS]
        assert len(checks) == len(CHECKS)
        yield Cells(towns, checks)


@pytest.fixture
def cells(cells_once: Cells, caplog: pytest.LogCaptureFixture) -> Iterator[Cells]:
    yield cells_once
    assert "@example" not in caplog.text, "an address is in the log"


CELLS = [
    (trouble, opt_out, beside)
    for trouble, opt_out, beside in itertools.product(TROUBLE, OPT_OUTS, BESIDE)
    # A run takes its time: beside a load, and where no opt-out is concerned more than another, all in one.
    if (BESIDE[beside].loads or not TROUBLE[trouble].words) is (opt_out == "all three")
]


@pytest.mark.parametrize(
    ("trouble", "opt_out", "beside"),
    [
        pytest.param(
            *cell,
            id=", ".join(cell).replace(" ", "_"),
            marks=pytest.mark.quick if (cell[0], cell[2]) == ("audience 503", "alone") else (),
        )
        for cell in CELLS
    ],
)
def test_what_can_be_applied_is_and_the_rest_is_named_and_applied_after_the_trouble(
    cells: Cells, trouble: str, opt_out: str, beside: str
):
    cells.live_through(trouble, opt_out, beside)


@pytest.mark.parametrize(
    ("trouble", "opt_out"),
    [
        ("audience 404 for the second time", "out of the faulty audience"),
        ("blacklist not readable", "all three"),
    ],
)
def test_a_load_that_goes_on_after_the_trouble_subscribes_nobody_who_is_out(
    cells: Cells, trouble: str, opt_out: str
):
    cells.live_through(trouble, opt_out, "beside a first load that is pushed")
    world = cells.towns.world
    run = world.run()
    assert run.succeeded, run.failure
    # The first newcomer may be out by now.
    assert {world.mailchimp.status(RETAIL, email) for email in NEWCOMERS[1:]} == {"subscribed"}
    _check_out_everywhere(world, OPT_OUTS[opt_out])
    assert not world.violations()


def _failed_checks(
    world: SmallWorld, run: Run, checks: list[dg.AssetChecksDefinition]
) -> dict[tuple[str, str], str]:
    """What the failed checks of the path say, by asset and check; those about people who decide left out."""
    systems = world.systems()
    try:
        context = SimpleNamespace(partition_key=COMPANY)
        results = [
            result
            for each in checks
            for result in _call(each.op.compute_fn.decorated_fn, context, systems, run.tables)
        ]
    finally:
        systems.close()
    return {
        (result.asset_key.path[-1], result.check_name): str(result.description)
        for result in results
        if not result.passed
    }


def _check_carried(world: SmallWorld, what: Trouble, said: OptOut, *, is_known: bool) -> None:
    """``is_known``: the ledger has the partner, so that it is known without Odoo that it has the address."""
    of_mailchimp = bool(said.list_id)
    heard = said.list_id not in what.deaf if of_mailchimp else not what.no_blacklist
    # Odoo does not say whether it knows her, and the ledger may.
    is_theirs = is_known or not what.no_partners
    can_write = not what.no_blacklist and not what.no_writes
    is_out = {
        "Odoo": not of_mailchimp or (heard and can_write and is_theirs),
        **{
            list_id: list_id == said.list_id
            or (heard and list_id not in what.deaf and (not of_mailchimp or is_theirs))
            for list_id in sorted(BOTH)
        },
    }
    assert _where_out(world, said.email) == is_out
    assert not any(_where_out(world, STAYING).values())


def _check_named(failed: dict[tuple[str, str], str], what: Trouble, opt_outs: list[OptOut]) -> None:
    expected: dict[tuple[str, str], list[str]] = {}
    if what.deaf:
        expected["mailchimp_opt_outs", "opt_outs_are_read"] = ["retail: ", what.words]
        if any(said.list_id != RETAIL for said in opt_outs):
            expected["mailchimp_unsubscribes", "opt_outs_are_carried"] = ["retail: ", what.words]
    if what.unread:
        expected["mailchimp_opt_outs", "opt_outs_are_read"] = [what.unread, what.words]
    of_mailchimp = any(said.list_id for said in opt_outs)
    if what.no_blacklist or (of_mailchimp and (what.no_partners or what.no_writes)):
        expected["odoo_opt_outs", "opt_outs_are_carried"] = [what.words]
    assert failed.keys() == expected.keys(), failed
    for check, words in expected.items():
        description = failed[check]
        assert all(word in description for word in words), description
        assert "@" not in description
        assert "Traceback" not in description


def _where_out(world: SmallWorld, email: str) -> dict[str, bool]:
    return {
        "Odoo": email in world.odoo.database.blacklisted(),
        **{list_id: world.mailchimp.status(list_id, email) == "unsubscribed" for list_id in sorted(BOTH)},
    }


def _check_out_everywhere(world: SmallWorld, opt_outs: list[OptOut]) -> None:
    for said in opt_outs:
        assert all(_where_out(world, said.email).values()), said
    for email in world.odoo.database.blacklisted():
        assert not {world.mailchimp.status(list_id, email) for list_id in BOTH} & {"subscribed", "pending"}
    assert not any(_where_out(world, STAYING).values())
