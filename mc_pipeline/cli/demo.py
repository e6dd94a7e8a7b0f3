"""``mc-pipeline demo``: the whole job on sandbox servers, as a story whose promises are checked."""

import sys
import tempfile
import time
from collections.abc import Callable
from html import unescape
from pathlib import Path

import click
from rich.console import Console
from rich.rule import Rule

from mc_pipeline.cli.home import dagster_instance
from mc_pipeline.cli.running import CompanyRun, Outcome, run_company
from mc_pipeline.cli.stand_ins import StandIns, stand_ins
from mc_pipeline.cli.sync import report
from mc_pipeline.masking import mask_email
from mc_pipeline.sandbox.journal import JournalEntry
from mc_pipeline.settings import CompanySettings, Settings, load_settings

_READING_METHODS = (
    "search",
    "search_read",
    "search_count",
    "read",
    "fields_get",
    "context_get",
    "has_group",
    "read_group",
    "formatted_read_group",
)
_NEVER_MAILED = ("unsubscribed", "cleaned", "archived")


@click.command()
@click.option(
    "--partners",
    type=click.IntRange(min=300),
    default=2000,
    show_default=True,
    help="Approximate number of partners in Odoo.",
)
def demo(partners: int) -> None:
    """Run the whole job on invented people: two companies, four audiences, an opt-out, a refund.

    Exit code 1 when a promise is not kept.
    """
    console = Console()
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="mc_pipeline_demo_") as folder,
        stand_ins(Path(folder), partners=partners) as servers,
    ):
        broken = _Story(console, servers, load_settings()).tell()
    console.print(Rule())
    for promise in broken:
        console.print(f"[red]Broken promise:[/] {promise}", highlight=False)
    console.print(f"The demo took {time.monotonic() - began:.0f} seconds. To look around yourself: make dev")
    sys.exit(1 if broken else 0)


class _Story:
    def __init__(self, console: Console, servers: StandIns, settings: Settings) -> None:
        self._console = console
        self._servers = servers
        self._settings = settings
        self._instance = dagster_instance()
        self._broken: list[str] = []

    def tell(self) -> list[str]:
        """Run the chapters; return the promises that were not kept."""
        world = self._servers.world
        self._chapter(
            "The world",
            f"{world.partners:,} partners and {world.orders:,} orders of {len(world.companies)} companies in "
            "Odoo; four audiences in Mailchimp with people who subscribed, unsubscribed, bounced or were "
            "archived.",
        )
        opted_out = self._opted_out()
        self._first_run()
        self._second_run()
        self._third_run()
        self._an_opt_out_by_webhook()
        self._a_refund()
        revived = {person for person in opted_out if self._status(*person) in ("subscribed", "pending")}
        self._promise(
            not revived, f"{len(opted_out):,} people had opted out, bounced or were archived; none came back"
        )
        self._only_consenting_people_were_mailed()
        return self._broken

    def _only_consenting_people_were_mailed(self) -> None:
        """An audience may greet people who join as subscribed; the plan said so before it was approved."""
        from mc_pipeline.sync.stored import read_stored

        consenting: set[str] = set()
        for company in self._settings.companies:
            contacts = read_stored("contacts", company)
            if contacts is not None:
                rows = contacts.rows
                consenting |= set(rows.loc[rows["status_for_new"] == "subscribed", "email"])
        mails = self._servers.mailchimp.mails
        self._promise(
            all(mail.kind == "welcome" and mail.email in consenting for mail in mails),
            f"{len(mails)} people got the welcome mail of an audience, all with dated consent; no other mail "
            "went out",
        )

    def _first_run(self) -> None:
        self._chapter(
            "First run: a plan that waits",
            "The first load of an audience is never pushed unseen: a person looks at the plan and approves "
            "it.",
        )
        for company in self._settings.companies:
            run = self._sync(company)
            self._promise(
                run.outcome is Outcome.WAITS_FOR_APPROVAL, f"the first load of {company} waits for approval"
            )
            self._promise(
                not self._writes(lambda entry: not _is_opt_out(entry)),
                "nothing but opt-outs was written before",
            )
        self._chapter("A person approves", "The same as: mc-pipeline approve PLAN_ID")
        from mc_pipeline.ledger import Ledger

        with Ledger.open() as ledger:
            for record in ledger.plans.waiting():
                ledger.plans.approve(record.plan_id, by="demo", reason="looked at the plan")
                self._console.print(
                    f"  {record.plan_id}  {record.company}  {record.row_count:,} changes", highlight=False
                )
            old = ledger.old_opt_outs.waiting()
            for each in old:
                ledger.old_opt_outs.approve(each.plan_id, by="demo", reason="they said no")
                self._console.print(
                    f"  {each.plan_id}  {each.company}  {each.people:,} people who opted out of "
                    f"{each.audience} long ago go onto Odoo's blacklist",
                    highlight=False,
                )
        before = self._opted_out_in_odoo()
        for company in self._settings.companies:
            run = self._sync(company)
            self._promise(run.outcome is Outcome.DONE, f"the approved plan of {company} was pushed")
        added = self._opted_out_in_odoo() - before
        self._promise(
            bool(added), f"{len(added)} people who had opted out in Mailchimp are on Odoo's blacklist now"
        )
        self._last_names_stand_once()
        stores = self._servers.mailchimp.state.stores.values()
        orders = sum(len(store.orders) for store in stores)
        self._promise(orders > 0, f"{len(stores)} stores hold {orders:,} orders at their kept revenue")

    def _last_names_stand_once(self) -> None:
        """Odoo has one name; a greeting of first and last name must not show the last one twice."""
        from mc_pipeline.domain.contacts.names import NameFields, has_last_name_twice

        fields = {
            audience.list_id: NameFields.of(audience)
            for company in self._settings.companies.values()
            for audience in company.audiences.values()
        }
        named = [
            (member.merge_fields, fields[list_id])
            for list_id in fields
            for member in self._servers.mailchimp.audience(list_id).members.values()
            if member.status != "archived" and member.merge_fields.get("LNAME")
        ]
        twice = sum(has_last_name_twice(present, where) for present, where in named)
        self._promise(
            bool(named) and not twice,
            f"{len(named)} members had given their last name: it appears in their names once",
        )

    def _second_run(self) -> None:
        self._chapter("Second run: nothing changed", "So nothing is written, to either system.")
        self._clear_journals()
        for company in self._settings.companies:
            run = self._sync(company)
            self._promise(run.outcome is Outcome.DONE, f"{company} is synced again")
        reads = len(self._servers.mailchimp.journal.requests)
        self._promise(not self._writes(), f"0 write requests; {reads:,} reads of Mailchimp")

    def _third_run(self) -> None:
        person = self._servers.world.someone_subscribed_with_partner
        self._chapter(
            "Third run: somebody unsubscribes, and their record is edited in Odoo",
            f"{mask_email(person.email)} clicks on unsubscribe; a colleague corrects the name in Odoo.",
        )
        self._clear_journals()
        assert person.partner_id is not None
        self._servers.odoo.edit_partner(person.partner_id, name=f"Dr {person.name}")
        self._servers.mailchimp.unsubscribe(person.list_id, person.email)
        clicked = time.monotonic()
        run = self._sync(person.company)
        seconds = time.monotonic() - clicked
        self._promise(run.outcome is Outcome.DONE, f"{person.company} is synced")
        self._promise(
            self._is_opted_out_in_odoo(person.email),
            f"on Odoo's blacklist {seconds:.0f} seconds after the click, found by polling (the sensor "
            "polls every minute)",
        )
        why = self._why_opted_out_in_odoo(person.email)
        self._promise("Mailchimp audience" in why, f"a note on the entry says why: {why}")
        writes = [entry for entry in self._servers.mailchimp.journal.writes if "/members" in entry.path]
        self._promise(bool(writes), "the new name was sent")
        self._promise(not any("status" in (entry.body or {}) for entry in writes), "no status was sent")
        self._promise(
            self._status(person.list_id, person.email) == "unsubscribed", "and the person stays unsubscribed"
        )

    def _an_opt_out_by_webhook(self) -> None:
        from mc_pipeline.cli.receiving import receiving
        from mc_pipeline.cli.webhooks import opt_outs_runner
        from mc_pipeline.sync.systems import Systems

        company = next(iter(self._settings.companies.values()))
        list_id, email = self._somebody_subscribed_in(company)
        self._chapter(
            "Somebody unsubscribes, and a webhook reports it",
            f"mc-pipeline webhooks serve --apply is running when {mask_email(email)} clicks on unsubscribe.",
        )
        systems = Systems(self._settings)
        try:
            client = systems.mailchimp(company)
            with receiving(company, client, opt_outs_runner(self._settings)) as carried_out:
                clicked = time.monotonic()
                self._servers.mailchimp.unsubscribe(list_id, email)
                self._servers.mailchimp.deliver_webhooks()
                carried_out()
                seconds = time.monotonic() - clicked
        finally:
            systems.close()
        self._promise(
            self._is_opted_out_in_odoo(email),
            f"on Odoo's blacklist {seconds:.1f} seconds after the click, reported by a signed webhook",
        )

    def _a_refund(self) -> None:
        from mc_pipeline.sync.stored import read_stored

        company = next(iter(self._settings.companies))
        orders = read_stored("store_orders", company)
        assert orders is not None
        due = orders.rows[(orders.rows["excluded_because"] == "") & (orders.rows["goods_total"] > 0)]
        latest_first = due.sort_values(["processed_at", "order_id"], ascending=False)
        order = next(
            row
            for row in latest_first.to_dict("records")
            if not self._servers.odoo.search(
                "sale.order.line", [("order_id", "=", int(row["order_id"])), ("qty_invoiced", ">", 0)]
            )
        )
        self._chapter(
            "A refund",
            f"All of {order['name']} is sent back: an invoice and a credit note are posted in Odoo.",
        )
        invoice = self._servers.odoo.invoice_order(int(order["order_id"]))
        self._servers.odoo.credit_invoice(invoice)
        self._clear_journals()
        run = self._sync(company, only_changes=True)
        self._promise(run.outcome is Outcome.DONE, f"{company} is synced, reading only what changed")
        sent = [entry.path for entry in self._servers.mailchimp.journal.writes if "/ecommerce/" in entry.path]
        self._promise(
            bool(sent) and all(f"/orders/{order['foreign_order_id']}" in path for path in sent),
            f"{len(sent)} requests corrected this order in its store, and no other",
        )
        store = self._servers.mailchimp.state.stores[order["store_id"]]
        corrected = store.orders[order["foreign_order_id"]]
        self._promise(
            float(corrected["order_total"]) == 0,
            f"it had {order['order_total']:,.2f} {order['currency']}, and now counts as zero",
        )
        for key in self._settings.companies:
            reconciled = read_stored("revenue_reconciliation", key)
            assert reconciled is not None
            differing = reconciled.rows[reconciled.rows["differs_because"] != ""]
            self._promise(
                reconciled.complete and differing.empty,
                f"{key}: the stores match Odoo's kept revenue, order by order (mc-pipeline reconcile {key})",
            )

    def _somebody_subscribed_in(self, company: CompanySettings) -> tuple[str, str]:
        """Choose a subscribed member whom Odoo knows as a customer."""
        from mc_pipeline.sync.stored import read_stored

        contacts = read_stored("contacts", company.key)
        assert contacts is not None
        return next(
            (company.audiences[audience].list_id, email)
            for audience, email in zip(contacts.rows["audience"], contacts.rows["email"], strict=True)
            if self._status(company.audiences[audience].list_id, email) == "subscribed"
        )

    def _opted_out_in_odoo(self) -> set[int]:
        return set(self._servers.odoo.search("mail.blacklist", [("active", "=", True)]))

    def _why_opted_out_in_odoo(self, email: str) -> str:
        """The newest note on the address's row of the blacklist, as text."""
        odoo = self._servers.odoo
        rows = odoo.search("mail.blacklist", [("email", "=", email), ("active", "=", True)])
        notes = [note for row in rows for note in odoo.notes("mail.blacklist", row)]
        return unescape(notes[-1]).removeprefix("<p>").removesuffix("</p>") if notes else ""

    def _is_opted_out_in_odoo(self, email: str) -> bool:
        return bool(
            self._servers.odoo.search("mail.blacklist", [("email", "=", email), ("active", "=", True)])
        )

    def _sync(self, company: str, *, only_changes: bool = False) -> CompanyRun:
        self._console.print(f"[bold]{company}[/]")
        run = run_company(self._settings, company, self._instance, self._console, only_changes=only_changes)
        report(self._console, self._settings, run, plan_only=False)
        return run

    def _writes(self, wanted: Callable[[JournalEntry], bool] = lambda entry: True) -> list[JournalEntry]:
        to_mailchimp = self._servers.mailchimp.journal.writes
        to_odoo = [entry for entry in self._servers.odoo.journal.writes if _changes_odoo(entry)]
        return [entry for entry in (*to_mailchimp, *to_odoo) if wanted(entry)]

    def _clear_journals(self) -> None:
        self._servers.mailchimp.journal.clear()
        self._servers.odoo.journal.clear()

    def _opted_out(self) -> set[tuple[str, str]]:
        return {
            (list_id, email)
            for company in self._servers.world.companies.values()
            for list_id in company.audiences.values()
            for email, status in self._servers.mailchimp.statuses(list_id).items()
            if status in _NEVER_MAILED
        }

    def _status(self, list_id: str, email: str) -> str | None:
        return self._servers.mailchimp.status(list_id, email)

    def _chapter(self, title: str, words: str) -> None:
        self._console.print(Rule(title, align="left"))
        self._console.print(words, highlight=False)
        self._console.print()

    def _promise(self, kept: bool, promise: str) -> None:
        mark = "[green]✓[/]" if kept else "[red]✗[/]"
        self._console.print(f"  {mark} {promise}", highlight=False)
        if not kept:
            self._broken.append(promise)


def _changes_odoo(entry: JournalEntry) -> bool:
    """Every call of Odoo is a POST: the method that it names distinguishes reads from writes."""
    parameters = (entry.body or {}).get("params", {})
    if parameters.get("service") != "object":
        return False
    return parameters["args"][4] not in _READING_METHODS


def _is_opt_out(entry: JournalEntry) -> bool:
    if entry.path.endswith("/batches"):
        return all('"unsubscribed"' in operation.get("body", "") for operation in entry.body["operations"])
    return (entry.body or {}) == {"status": "unsubscribed"}
