"""Each call of a run beside each kind of trouble: the calls are found in the journals of an undisturbed run.

The run of the matrix does everything a run can do: it loads one audience for the first time while another
one, loaded before, changes in every way. Calls that are new to the product are in the matrix by themselves.
"""

import copy
import json
import re
import shutil
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
from pydantic import SecretStr

from mc_pipeline.defs.jobs import WRITING_ASSETS
from mc_pipeline.ledger.errors import LedgerError
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.odoo.errors import OdooError
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sandbox.journal import JournalEntry
from mc_pipeline.sandbox.mailchimp.api import known_operations
from mc_pipeline.settings import Settings, load_settings
from mc_pipeline_tests.properties.oracle import RETAIL, WHOLESALE
from mc_pipeline_tests.properties.runs import BlockedError, Run
from mc_pipeline_tests.properties.small_world import LISTS, ORDERED, SECRETS, SmallWorld, small_world

ANY_SYSTEM = (
    "reset_before",
    "reset_after",
    "empty_429",
    "json_500",
    "html_502",
    "html_403",
    "truncated",
    "slow_after",
    "wrong_content_type",
)
KINDS: dict[str, tuple[str, ...]] = {
    "mailchimp": ANY_SYSTEM,
    "odoo": (*ANY_SYSTEM, "restarted", "serialization_failure", "database_gone"),
}
"""The kinds of trouble that each system can have, for every call; those of a database not for the one call
that Odoo answers without it, the question for its version."""

GROUPS: tuple[tuple[str, ...], ...] = (
    ("reset_before", "empty_429", "html_502"),
    ("reset_after", "truncated", "wrong_content_type"),
    ("json_500", "restarted", "serialization_failure"),
    ("slow_after",),
    ("html_403",),
    ("database_gone",),
)
"""All kinds; those of a group can happen to one call one after the other within one run."""

_WITHOUT_DATABASE = frozenset({"version"})
_OF_A_DATABASE = frozenset({"serialization_failure", "database_gone"})
_SLOW_SECONDS, _PATIENCE_SECONDS, _RESTART_SECONDS = 2.0, 0.3, 0.03
_TIME = re.compile(r"_at$|_at_foreign$|^(create|write)_date$")
_API = "/3.0"


@dataclass(frozen=True, order=True)
class Call:
    """One kind of request: ``POST /lists/{list_id}`` of Mailchimp, ``res.partner.read`` of Odoo.

    ``count`` is how often the undisturbed run makes it.
    """

    system: str
    name: str
    method: str
    path: str = ""
    body: str = ""
    count: int = 1


@dataclass(frozen=True, order=True)
class Cell:
    """One call in one kind of trouble; ``last``: at the last time that the run makes it, not at the first."""

    call: Call
    kind: str
    last: bool = False

    def __str__(self) -> str:
        return f"{self.call.name} × {self.kind}" + (" (last)" if self.last else "")

    def fault(self) -> Fault:
        return Fault(
            kind=self.kind,  # type: ignore[arg-type]
            match_method=self.call.method,
            match_path_regex=self.call.path,
            match_body_regex=self.call.body,
            skip=self.call.count - 1 if self.last else 0,
            seconds=_RESTART_SECONDS if self.kind == "restarted" else _SLOW_SECONDS,
        )


class Matrix:
    """A town as it is before the run, the calls of the run, and what it leaves behind undisturbed."""

    def __init__(self, world: SmallWorld) -> None:
        self.world = world
        self.api = world.settings.odoo.api
        _prepare(world)
        self._kept = _Kept(world)
        run = world.run()
        assert run.succeeded, run.failure
        self.calls = _calls(self._kept.since(world))
        self._end = _state(world)
        world.check_everybody_is_where_they_belong()

    def cells(self, kind: str, *, last: bool = False) -> list[Cell]:
        """The cells of one kind of trouble: one for each call that can have it."""
        return [
            Cell(call, kind, last)
            for call in self.calls
            if kind in KINDS[call.system]
            and not (kind in _OF_A_DATABASE and call.name in _WITHOUT_DATABASE)
            and not (last and call.count == 1)
        ]

    def begin_again(self) -> None:
        """Make everything as it was before the run."""
        self._kept.restore(self.world)

    def live_through(self, cells: Iterable[Cell]) -> None:
        """Run in the trouble of these cells until all of it happened, then in peace, and judge the end.

        Every run succeeds, waits for a person, or fails with a clear reason. Trouble that did not come up,
        because another one turned the run away from its call, gets runs of its own.
        """
        waiting = list(cells)
        while waiting:
            met = self._live_through(waiting)
            assert met, f"no run makes the calls {', '.join(map(str, waiting))}"
            waiting = [cell for cell in waiting if cell not in met]

    def _live_through(self, cells: list[Cell]) -> set[Cell]:
        world = self.world
        self.begin_again()
        faults = {cell: cell.fault() for cell in cells}
        for cell, fault in faults.items():
            (world.odoo if cell.call.system == "odoo" else world.mailchimp).faults.add(fault)
        met, before, run = 0, -1, None
        with _impatient(world) if any(cell.kind == "slow_after" for cell in cells) else nullcontext():
            while before < met < len(cells):
                run = world.run(go_on_from=_may_go_on_from(run))
                before, met = met, sum(fault.fired for fault in faults.values())
                _check_reason(run, world)
                if run.needs_approval:
                    world.approve_what_waits(run)
        if run is None or not run.succeeded or _differences(self._end, _state(world)):
            world.run_until_done()
        self.judge_end(cells)
        return {cell for cell, fault in faults.items() if fault.fired}

    def judge_end(self, cells: Iterable[Cell]) -> None:
        """Both systems are as after the undisturbed run, nothing is left to do, and nobody was harmed."""
        what = ", ".join(map(str, cells))
        differences = _differences(self._end, _state(self.world))
        assert not differences, f"the end is another: {differences} after {what}"
        self.world.check_nothing_is_left_to_do()
        violations = self.world.violations()
        assert not violations, f"{violations} after {what}"


@contextmanager
def fault_matrix(api: str = "jsonrpc") -> Iterator[Matrix]:
    """Found a town and make the matrix of its run; ``api`` is how Odoo is spoken to."""
    with small_world() as world:
        world.attempts, world.longest_pause = 6, _RESTART_SECONDS
        world.settings = _with_stores(world)
        if api != "jsonrpc":
            (administrator,) = world.odoo.search("res.users", [("login", "=", "admin")])
            key = SecretStr(world.odoo.add_api_key(administrator))
            odoo = world.settings.odoo.model_copy(update={"secret": key, "api": api})
            world.settings = world.settings.model_copy(update={"odoo": odoo})
        yield Matrix(world)


def _with_stores(world: SmallWorld) -> Settings:
    """The town's settings, with a store for each audience."""
    text = (world.folder / "companies.yaml").read_text()
    for list_id in LISTS:
        store = f"store: {{id: store-of-{list_id}, name: {list_id}, currency: EUR}}"
        text = text.replace(f"list_id: {list_id}\n", f"list_id: {list_id}\n        {store}\n")
    config = world.folder / "with_stores.yaml"
    config.write_text(text)
    return load_settings(config, SECRETS)


# --- the town before the run ------------------------------------------------------------------------


def _prepare(world: SmallWorld) -> None:
    """Wholesale is loaded, then everything changes; retail waits for its first load, which is approved."""
    odoo, mailchimp = world.odoo, world.mailchimp
    desk = odoo.create("product.product", {"name": "Desk", "default_code": "DESK"})

    def buy(partner: int, amount: float) -> int:
        line = {"product_id": desk, "name": "Desk", "product_uom_qty": 2, "price_unit": amount / 2}
        return odoo.add_order(partner, date_order=ORDERED, lines=[line])

    def customer(name: str, *, is_company: bool, spent: float = 100.0) -> int:
        partner = odoo.add_partner(name=name, email=f"{name.lower()}@example.com", is_company=is_company)
        buy(partner, spent)
        return partner

    names = "Renamed Moved Leaving Quitting Consenting Buying Optingout Complaining Never".split()
    firms = {name: customer(name, is_company=True) for name in names}
    odoo.subscribe(world.newsletter, "quitting@example.com")
    odoo.subscribe(world.newsletter, "optingout@example.com")
    odoo.blacklist("never@example.com")
    odoo.unblacklist("never@example.com")
    world.run_until_done()
    mailchimp.sign_up(RETAIL, "no@example.com")
    mailchimp.unsubscribe(RETAIL, "no@example.com")

    odoo.edit_partner(firms["Renamed"], name="Renamed Limited")
    odoo.edit_partner(firms["Moved"], email="moved.away@example.com")
    for name in ("Leaving", "Quitting"):
        odoo.archive_partner(firms[name])
    odoo.subscribe(world.newsletter, "consenting@example.com")
    odoo.credit_invoice(odoo.invoice_order(buy(firms["Buying"], 5000.0)), quantity=1)
    mailchimp.unsubscribe(WHOLESALE, "optingout@example.com")
    odoo.blacklist("buying@example.com")
    customer("Newcomer", is_company=True)
    for name, spent in (("Ann", 10.0), ("Ben", 1500.0), ("No", 20.0)):
        customer(name, is_company=False, spent=spent)
    odoo.subscribe(world.newsletter, "ann@example.com")
    assert world.approve_what_waits(world.run_up_to_the_push())
    # Whoever opts out now gets into Odoo in the run: one with a new row, one with a row that was archived.
    mailchimp.complain(WHOLESALE, "complaining@example.com")
    mailchimp.unsubscribe(WHOLESALE, "never@example.com")


class _Kept:
    """Everything that a run may change, as it was: both systems, journals, ledger, tables and story."""

    def __init__(self, world: SmallWorld) -> None:
        self._odoo, self._mailchimp = world.odoo.snapshot(), world.mailchimp.snapshot()
        self._journals = [list(system.journal.entries) for system in (world.odoo, world.mailchimp)]
        self._story = copy.deepcopy((world.story, world.former, world.opted_out, world.tagged_by_hand))
        self._folder = TemporaryDirectory()
        shutil.copytree(world.folder, self._folder.name, dirs_exist_ok=True)

    def since(self, world: SmallWorld) -> list[tuple[str, JournalEntry]]:
        """What was asked of the two systems since then."""
        systems: dict[str, Any] = {"odoo": world.odoo, "mailchimp": world.mailchimp}
        return [
            (name, entry)
            for (name, system), before in zip(systems.items(), self._journals, strict=True)
            for entry in system.journal.entries[len(before) :]
            if entry.source == "api" and entry.batch_id is None
        ]

    def restore(self, world: SmallWorld) -> None:
        systems: tuple[Any, Any] = (world.odoo, world.mailchimp)
        snapshots = (self._odoo, self._mailchimp)
        for system, snapshot, entries in zip(systems, snapshots, self._journals, strict=True):
            system.faults.clear()
            system.restore(snapshot)
            system.journal.entries[:] = entries
        world.story, world.former, world.opted_out, world.tagged_by_hand = copy.deepcopy(self._story)
        for each in world.folder.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        shutil.copytree(self._folder.name, world.folder, dirs_exist_ok=True)


@contextmanager
def _impatient(world: SmallWorld) -> Iterator[None]:
    """Clients that wait for no answer longer than a moment."""
    patient = world.settings
    odoo = patient.odoo.model_copy(update={"timeout_seconds": _PATIENCE_SECONDS})
    mailchimp = {
        key: account.model_copy(update={"timeout_seconds": _PATIENCE_SECONDS})
        for key, account in patient.mailchimp.items()
    }
    world.settings = patient.model_copy(update={"odoo": odoo, "mailchimp": mailchimp})
    try:
        yield
    finally:
        world.settings = patient
        world.odoo.faults.clear()
        world.mailchimp.faults.clear()


# --- the calls of a run -----------------------------------------------------------------------------


def _calls(entries: Iterable[tuple[str, JournalEntry]]) -> list[Call]:
    """The distinct calls in these entries, with how often each was made."""
    counted = Counter(
        _call_of_odoo(entry) if system == "odoo" else _call_of_mailchimp(entry) for system, entry in entries
    )
    return sorted(replace(call, count=count) for call, count in counted.items())


def _call_of_odoo(entry: JournalEntry) -> Call:
    if entry.path != "/jsonrpc":
        name = "version" if "version" in entry.path else f"{entry.action} (JSON-2)"
        return Call("odoo", name, entry.method, f"^{re.escape(entry.path)}$")
    service, _, method = str(entry.action).rpartition(".")
    called = f'"{re.escape(service)}", "{method}"' if service != "common" else f'"method": "{method}"'
    return Call("odoo", str(entry.action), entry.method, "^/jsonrpc$", called)


def _call_of_mailchimp(entry: JournalEntry) -> Call:
    path = entry.path.removeprefix(_API) or "/"
    template = next(
        (
            template
            for method, template in sorted(known_operations())
            if method == entry.method and _as_regex(template).fullmatch(path)
        ),
        "/batch-results/{name}",
    )
    prefix = "" if template.startswith("/batch-results") else re.escape(_API)
    pattern = f"^{prefix}{_as_regex(template).pattern}(\\?|$)"
    return Call("mailchimp", f"{entry.method} {template}", entry.method, pattern)


def _as_regex(template: str) -> re.Pattern[str]:
    parts = ("[^/?]+" if part.startswith("{") else re.escape(part) for part in template.split("/"))
    return re.compile("/".join(parts))


def _may_go_on_from(run: Run | None) -> Run | None:
    """A run that failed before the step that failed could write anything: what it read is read."""
    return run if run is not None and run.failed_step and run.failed_step not in WRITING_ASSETS else None


# --- what is judged ---------------------------------------------------------------------------------


def _check_reason(run: Run, world: SmallWorld) -> None:
    """A run that failed names the system, is no error of a library, and gives nobody away."""
    failure = run.failure
    if failure is None or isinstance(failure, BlockedError):
        return
    assert isinstance(failure, dg.Failure | OdooError | MailchimpError | LedgerError), repr(failure)
    message = str(failure.description if isinstance(failure, dg.Failure) else failure)
    assert re.search("Odoo|odoo|Mailchimp|mailchimp", message), message
    shown = "".join(traceback.format_exception(failure)).lower()
    people = {str(row.get("email")).lower() for row in world.odoo.model("res.partner").table.rows.values()}
    given_away = {email for email in people if "@" in email and email in shown}
    assert not given_away, f"{given_away} in {shown}"


def _state(world: SmallWorld) -> dict[str, Any]:
    """Both systems without moments and without the ids that they make up."""
    state = world.mailchimp.state
    found: dict[str, Any] = {}
    for audience in state.audiences.values():
        for member in audience.members.values():
            found[f"{audience.id} {member.email_address}"] = (
                member.status,
                member.merge_fields,
                member.language,
                member.marketing_permissions,
                sorted(world.mailchimp.tags(audience.id, member.email_address)),
                (member.archived_by, member.opted_out_by),
            )
        found[f"{audience.id} fields"] = sorted((f.tag, f.type) for f in audience.merge_fields.values())
        found[f"{audience.id} segments"] = sorted(segment.name for segment in audience.segments.values())
    for store in state.stores.values():
        # Ids of customers are made up by the pipeline, anew in every run that needs one.
        address_of = {each.id: each.email_address for each in store.customers.values()}
        found[f"store {store.id}"] = _timeless(store.details)
        for customer in store.customers.values():
            found[f"store {store.id} {customer.email_address}"] = _timeless({**asdict(customer), "id": None})
        for number, order in store.orders.items():
            buyer = address_of[order["customer_id"]]
            found[f"store {store.id} order {number}"] = _timeless({**order, "customer_id": buyer})
        found[f"store {store.id} products"] = _timeless(store.products)
    found["mails"] = sorted(
        (mail.kind, mail.email, mail.list_id, mail.store_id, mail.order_id) for mail in state.mails
    )
    # A note may be lost in trouble, and none is written twice.
    notes = world.odoo.model("mail.message").table.rows.values()
    counted = Counter((row.get("model"), row.get("res_id"), row.get("body")) for row in notes)
    found["notes written twice"] = [note for note, number in counted.items() if number > 1]
    for name, model in world.odoo.database.models.items():
        if name == "mail.message":
            continue
        rows = ({**row, "id": None} for row in model.table.rows.values())
        found[name] = sorted(json.dumps(_timeless(row), sort_keys=True) for row in rows)
    return found


def _timeless(value: Any) -> Any:
    """A value that JSON can carry, without the moments in it."""
    if isinstance(value, Mapping):
        return {str(key): _timeless(each) for key, each in value.items() if not _TIME.search(str(key))}
    if isinstance(value, list | tuple):
        return [_timeless(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return None if isinstance(value, datetime) else value if isinstance(value, int | float) else str(value)


def _differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: (wanted.get(key), found.get(key))
        for key in sorted({*wanted, *found})
        if wanted.get(key) != found.get(key)
    }
