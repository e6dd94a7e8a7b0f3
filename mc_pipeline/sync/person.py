"""What is known about one address in one company: from the tables as last stored, and from the ledger.

Nothing is asked of Odoo or Mailchimp, and nothing is decided here: the rules of ``domain`` are applied to the
stored tables. Sentences carry ids of Odoo, never a name or a whole address.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from mc_pipeline.domain.consent.evidence import BOOLEAN_FIELD
from mc_pipeline.domain.consent.held_addresses import HeldAddresses
from mc_pipeline.domain.consent.opt_outs_into_odoo import CONFLICTS
from mc_pipeline.domain.contacts.contacts import decide
from mc_pipeline.domain.contacts.explanation import ExplanationStep, explain_contact, explain_partner
from mc_pipeline.domain.contacts.gone_partners import (
    GONE,
    HIDDEN,
    OTHER_COMPANY,
    list_customers_elsewhere,
)
from mc_pipeline.domain.contacts.names import NOT_DECIDED
from mc_pipeline.domain.plan.plan import decide_changes
from mc_pipeline.domain.plan.refusal_causes import OUTSIDE_THE_PERSON
from mc_pipeline.ledger import Ledger
from mc_pipeline.ledger.due_in_odoo import CONFLICT
from mc_pipeline.ledger.members import HistoryEntry
from mc_pipeline.ledger.permissions import PermissionRecord
from mc_pipeline.ledger.standing_opt_outs import (
    BLACKLISTED,
    EVIDENCE_WITHDRAWN,
    OPTED_OUT_MEANWHILE,
    OPTED_OUT_OF_COMPANY,
)
from mc_pipeline.masking import mask_email, mask_text
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.contact_inputs import contact_inputs
from mc_pipeline.sync.observing import Audiences
from mc_pipeline.sync.planning import PlanTables, plan_inputs
from mc_pipeline.sync.stored import read_stored
from mc_pipeline.tables import Table
from mc_pipeline.tables.elsewhere import customers_elsewhere_in

SHOWN_SOURCES = frozenset(
    {
        "is_company",
        "language",
        "currency",
        "order_count",
        "total_spent",
        "first_order_date",
        "last_order_date",
        "partner_id",
    }
)
"""Sources of merge fields whose values say nothing that names or places a person; all others are masked."""

_MASK = "•••"
_STANDS = {
    BLACKLISTED: "on Odoo's blacklist",
    OPTED_OUT_OF_COMPANY: "opted out of the company's mailing lists and fields",
    EVIDENCE_WITHDRAWN: "withdrew consent in Odoo",
    OPTED_OUT_MEANWHILE: "opted out while the pipeline was writing",
}
_VERDICTS = {
    "never read": "Nothing is known yet",
    "not found": "Belongs in no audience: no partner of this company has the address",
    **{reason: f"Belongs in no audience: {words}" for reason, words in GONE.items()},
    HIDDEN: "Nothing is known now: the Odoo user is not allowed to see the contact",
    OTHER_COMPANY: "Belongs in no audience: the contact belongs to another company in Odoo",
}


@dataclass(frozen=True)
class Chapter:
    """Steps that belong together, under a title."""

    title: str
    steps: tuple[ExplanationStep, ...]


@dataclass(frozen=True)
class Story:
    """All that is known about an address in a company; ``known`` is false when nothing is.

    ``verdict`` is the answer in one sentence. ``read`` says when the tables were read, and what to do when
    they never were.
    """

    company: str
    verdict: str
    read: str
    chapters: tuple[Chapter, ...] = ()
    known: bool = field(default=False)


def tell_story(
    ledger: Ledger, company: CompanySettings, address: str, planned_at: datetime | None = None
) -> Story:
    """Collect what is known about an address (lower case) in a company.

    Raises:
        RuleError: a setting fits several records of Odoo.
    """
    tables = _Tables(company.key)
    decided = tuple(_decided(ledger, company, tables, address))
    titled = (
        ("Decided from Odoo", decided),
        ("On Odoo's blacklist", _blacklisted(tables, address)),
        ("In Mailchimp, when it was read", _observed(tables, address)),
        ("Left as it is", _not_written(ledger, company, tables, address, planned_at or datetime.now(UTC))),
        ("Last plan", _planned(ledger, company, tables, address)),
        ("Last push", _pushed(company, tables, address)),
        ("Kept by the pipeline", _kept(ledger, company, address)),
        ("Consent and opt-outs of the person", _said(ledger, company, address)),
        ("To be decided, or still unknown", _open(ledger, company, address)),
        ("Marketing permissions", _permissions(ledger, company, address)),
    )
    chapters = tuple(Chapter(title, tuple(steps)) for title, steps in titled)
    known = any(
        step.outcome not in ("not found", "never read") for chapter in chapters for step in chapter.steps
    )
    return Story(
        company.key,
        _verdict(ledger, company, address, decided),
        tables.when_read(),
        tuple(each for each in chapters if each.steps),
        known,
    )


def history(ledger: Ledger, company_keys: set[str], address: str) -> list[HistoryEntry]:
    """Return what happened to a person, under this address and the others of theirs, in order of time."""
    _, others = _others_of_the_person(ledger, address)
    return [entry for entry in ledger.members.history(address, others) if entry.company in company_keys]


def _others_of_the_person(ledger: Ledger, address: str) -> tuple[set[int], set[str]]:
    """The partners for whom an address stands, and the other addresses that stand for them."""
    held = HeldAddresses(ledger.partner_addresses.around([address]), ledger.partner_addresses.successors())
    people = held.people_at(address)
    addresses = {each for person in people for each in held.addresses_of(person)}
    return people, addresses - {address}


class _Tables:
    """The stored tables of a company, each read once."""

    def __init__(self, company: str) -> None:
        self._company = company
        self._read: dict[str, Table | None] = {}

    def __getitem__(self, name: str) -> Table | None:
        if name not in self._read:
            self._read[name] = read_stored(name, self._company)
        return self._read[name]

    def rows(self, name: str, address: str, *columns: str) -> pd.DataFrame:
        """Return the rows that are about an address, by the columns named (``email`` when none is)."""
        table = self[name]
        if table is None:
            return pd.DataFrame()
        about = pd.Series(False, index=table.rows.index)
        for column in columns or ("email",):
            about |= table.rows[column].astype(object) == address
        return table.rows[about]

    def when_read(self) -> str:
        sentences = []
        for name, system in (("odoo_partners", "Odoo"), ("mailchimp_members", "Mailchimp")):
            table = self[name]
            if table is None:
                sentences.append(f"{system} was never read: run mc-pipeline sync {self._company} --plan.")
            else:
                partly = "" if table.complete else f" (not completely: {mask_text(table.incomplete_because)})"
                sentences.append(f"{system} was read {moment(table.observed_at)}{partly}.")
        return " ".join(sentences)


def moment(time: datetime | pd.Timestamp | None) -> str:
    """Write a time in UTC."""
    if time is None or pd.isna(time):
        return "at an unknown time"
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _verdict(
    ledger: Ledger,
    company: CompanySettings,
    address: str,
    decided: Sequence[ExplanationStep],
) -> str:
    """Say where the person belongs and where they are, as the ledger knows it."""
    records = _records(ledger.members.of_email(address))
    present = {
        str(row["audience"]): str(row["last_status"])
        for row in records
        if row["company"] == company.key and _is_there(row["last_status"]) and not row["vanished"]
    }
    belongs = next((step.outcome for step in decided if step.step == "audience"), None)
    if belongs is None:
        verdict = _why_nowhere(decided)
    elif belongs in present:
        verdict = f"Belongs in {belongs}, is there as {present.pop(belongs)}"
    else:
        verdict = f"Belongs in {belongs}, is not there"
    also = [f"in {audience} as {status}" for audience, status in sorted(present.items())]
    return f"{'; '.join([verdict, *also])}."


def _why_nowhere(decided: Sequence[ExplanationStep]) -> str:
    # A duplicate is told apart from its winner, whose reason is the person's.
    aside = sorted(
        (step.outcome == "duplicate", at) for at, step in enumerate(decided) if step.step == "set aside"
    )
    reason = decided[aside[0][1] if aside else -1].outcome
    return _VERDICTS.get(reason, f"Belongs in no audience: {reason.replace('_', ' ')}")


def _decided(
    ledger: Ledger, company: CompanySettings, tables: _Tables, address: str
) -> Iterator[ExplanationStep]:
    partners, orders = tables["odoo_partners"], tables["odoo_orders"]
    if partners is None or orders is None:
        yield ExplanationStep("partner", "never read", "Odoo was not read yet.")
        return
    members = tables["mailchimp_members"]
    audiences = Audiences.of(members, company) if members is not None else Audiences.unread_of(company)
    decision = decide(
        contact_inputs(
            ledger,
            company,
            partners.rows,
            orders.rows,
            elsewhere=customers_elsewhere_in(partners),
            double_optin_audiences=audiences.double_optin,
            known_tags=None,
        )
    )
    steps = explain_contact(decision, address)
    if steps[0].outcome == "not found":
        # As typed in Odoo, where it is no address that mail could be sent to.
        typed = partners.rows["email"].astype(object).map(lambda text: str(text or "").strip().lower())
        for partner in partners.rows.loc[typed == address, "partner_id"]:
            yield from explain_partner(decision, int(partner))
            steps = []
    sentences = [step.sentence for step in steps]
    yield from steps
    if steps and steps[0].outcome == "not found":
        yield from _belongs_elsewhere(ledger, partners, address)
    for row in _records(tables.rows("set_aside", address, "person_email")):
        sentence = f"Partner {row['partner_id']} {row['detail']}. {row['fix']}"
        if sentence not in sentences:
            yield ExplanationStep("set aside", str(row["reason"]), sentence)


def _belongs_elsewhere(ledger: Ledger, partners: Table, address: str) -> Iterator[ExplanationStep]:
    """List a customer of orders here who belongs to another company, which may have read the address."""
    elsewhere = customers_elsewhere_in(partners)
    holders = {row.partner_id for row in ledger.partner_addresses.of([address]) if row.left_at is None}
    rows = list_customers_elsewhere({number: elsewhere[number] for number in holders & elsewhere.keys()})
    for row in _records(rows):
        sentence = f"Partner {row['partner_id']} {row['detail']}. {row['fix']}"
        yield ExplanationStep("set aside", str(row["reason"]), sentence)


def _blacklisted(tables: _Tables, address: str) -> Iterator[ExplanationStep]:
    for row in _records(tables.rows("odoo_blacklist", address)):
        state = "opted out" if row["active"] else "removed"
        said = "Opted out of all marketing" if row["active"] else "Opted out, and removed since"
        sentence = f"{said}; row {row['blacklist_id']}, changed {moment(row['write_date'])}."
        yield ExplanationStep("blacklist", state, sentence)


def _observed(tables: _Tables, address: str) -> Iterator[ExplanationStep]:
    for row in _records(tables.rows("mailchimp_members", address)):
        parts = [f"Last changed {moment(row['last_changed'])}"]
        if _is_there(row["unsubscribe_reason"]):
            parts.append(f"reason given: {row['unsubscribe_reason']}")
        parts.append(f"tags: {', '.join(row['tags']) or 'none'}")
        yield ExplanationStep(str(row["audience"]), str(row["status"]), f"{mask_text('; '.join(parts))}.")


def _not_written(
    ledger: Ledger, company: CompanySettings, tables: _Tables, address: str, planned_at: datetime
) -> Iterator[ExplanationStep]:
    """Say why a contact is not created or not changed, as a plan of now would.

    Not where the last plan changes the member: the stored audience is as it was before.
    """
    names = ("contacts", "mailchimp_members", "odoo_partners", "set_aside", "odoo_blacklist")
    contacts, members, partners, aside, blacklist = (tables[name] for name in names)
    if contacts is None or members is None or partners is None or aside is None or blacklist is None:
        return
    if tables.rows("contacts", address).empty:
        return
    planned = tables.rows("audience_plan", address, "email", "new_email")
    changing = set(planned["audience"]) if len(planned) else set()
    plan_tables = PlanTables(
        contacts=contacts, set_aside=aside, partners=partners, blacklist=blacklist, members=members
    )
    last_event = ledger.consent.last_event_id()
    changes = decide_changes(
        plan_inputs(ledger, company, plan_tables, last_event=last_event, made_at=planned_at)
    )
    left = changes.not_written
    # Names that are not decided stay as they are, whatever else the plan changes.
    as_planned = ~left["audience"].isin(changing) | (left["reason"] == NOT_DECIDED)
    for row in _records(left[(left["email"] == address) & as_planned]):
        yield ExplanationStep(str(row["audience"]), str(row["reason"]), _sentence(str(row["detail"])))
    waiting = changes.consented_not_subscribed
    for row in _records(waiting[waiting["email"] == address]):
        sentence = f"Consented in Odoo {moment(row['consented_at'])}, not subscribed: {row['because']}."
        yield ExplanationStep(str(row["audience"]), "not subscribed", sentence)


def _planned(
    ledger: Ledger, company: CompanySettings, tables: _Tables, address: str
) -> Iterator[ExplanationStep]:
    plan = tables["audience_plan"]
    if plan is None:
        return
    rows = tables.rows("audience_plan", address, "email", "new_email")
    for row in _records(rows.sort_values("sequence") if len(rows) else rows):
        sentence = f"{_sentence(row['because'])} {_change(row, company)}"
        if row["held_back_because"]:
            sentence += f" Held back: {mask_text(row['held_back_because'])}."
        yield ExplanationStep(row["audience"], _operation(row), sentence)
    if len(rows):
        yield _state_of_plan(ledger, company.key, rows["plan_id"].iloc[0])


def _state_of_plan(ledger: Ledger, company: str, plan_id: str) -> ExplanationStep:
    record = ledger.plans.get(plan_id)
    waiting = {each.plan_id for each in ledger.plans.waiting(company)}
    applied = "" if record is None or record.applied_at is None else f"Applied {moment(record.applied_at)}"
    if plan_id in waiting:
        rest = f"{applied}, except for what waits for approval" if applied else "Waits for approval"
        return ExplanationStep("plan", plan_id, f"{rest}: mc-pipeline approve {plan_id}")
    if applied:
        return ExplanationStep("plan", plan_id, f"{applied}.")
    return ExplanationStep("plan", plan_id, f"Not applied yet: mc-pipeline sync {company}")


def _pushed(company: CompanySettings, tables: _Tables, address: str) -> Iterator[ExplanationStep]:
    for row in _records(tables.rows("mailchimp_unsubscribes", address)):
        sentence = f"Unsubscribed because of {row['cause']}, from {row['status_before']}: {row['outcome']}."
        yield ExplanationStep(row["audience"], "unsubscribe", _with_detail(sentence, row["detail"]))
    rows = tables.rows("audience_push", address, "email", "new_email")
    for row in _records(rows.sort_values("sequence") if len(rows) else rows):
        sentence = f"{_sentence(_operation(row))} {_change(row, company)}".strip()
        yield ExplanationStep(row["audience"], row["outcome"], _with_detail(sentence, row["detail"]))


def _kept(ledger: Ledger, company: CompanySettings, address: str) -> Iterator[ExplanationStep]:
    """List the ledger's record of the member in every audience of the company."""
    refused_for_good = ledger.consent.refused_for_good([address])
    for row in _records(ledger.members.of_email(address)):
        if row["company"] != company.key:
            continue
        facts = []
        if row["created_by_us"]:
            facts.append(f"Created by the pipeline as {row['created_status']}, {moment(row['created_at'])}")
        elif _is_there(row["last_status"]):
            facts.append("Not created by the pipeline")
        if row["archived_by_us"]:
            facts.append("archived by the pipeline")
        if row["ever_subscribed"]:
            facts.append("was subscribed")
        if row["opted_out"]:
            facts.append("opted out once, so consent in Odoo no longer counts")
        if row["absent_reads"]:
            facts.append(f"missed by {row['absent_reads']} complete reads")
        if row["vanished"]:
            facts.append("permanently deleted in Mailchimp")
        if facts:
            status = row["last_status"] if _is_there(row["last_status"]) else "not a member"
            yield ExplanationStep(row["audience"], status, f"{'; '.join(facts)}.")
        if _is_there(row["rejection_key"]):
            words = ": ".join(
                str(each) for each in (row["rejection_title"], row["rejection_detail"]) if _is_there(each)
            )
            again = (
                "it is never sent again, only the person can sign up again"
                if address in refused_for_good
                else "the cause is in the audience or the account; retried when it may be corrected"
                if row["rejection_cause"] in OUTSIDE_THE_PERSON
                else f"tried again after {moment(row['retry_at'])}"
                if _is_there(row["retry_at"])
                else "tried again when what is sent changes"
            )
            sentence = f"Mailchimp refused it: {mask_text(words).rstrip('.')}; {again}."
            yield ExplanationStep(row["audience"], "rejected", sentence)


def _said(ledger: Ledger, company: CompanySettings, address: str) -> Iterator[ExplanationStep]:
    """List the consent that the person was subscribed on, their opt-outs, and their other addresses."""
    people, others = _others_of_the_person(ledger, address)
    audience_of = {audience.list_id: key for key, audience in company.audiences.items()}
    theirs = {address, *others}
    for used in ledger.used_evidence.concerned(audience_of, emails=theirs, partner_ids=people):
        given = f", given {moment(used.consented_at)}" if used.consented_at else ", without a date in Odoo"
        record = (
            f"partner {used.record_id}"
            if used.kind == BOOLEAN_FIELD
            else f"mailing subscription {used.record_id}"
            if used.record_id
            else f"mailing list {used.source_id}"
        )
        yield ExplanationStep(
            audience_of[used.list_id],
            "consent used",
            f"Relied on {used.source} ({record} in Odoo){given}, for {mask_email(used.email)}, "
            f"{moment(used.used_at)}.",
        )
    for out in ledger.standing_opt_outs.of(company.key, [address]):
        what = out.because or _STANDS[out.cause]
        yield ExplanationStep(
            audience_of.get(out.list_id, "every audience"),
            "out",
            f"{_sentence(what)} Since {moment(out.said_at)}.",
        )
    if others:
        masked = ", ".join(mask_email(each) for each in sorted(others))
        partners = ", ".join(map(str, sorted(people)))
        yield ExplanationStep(
            "other addresses",
            str(len(others)),
            f"Partner {partners} has or had these as well: {masked}. Opt-outs and consent under them "
            "count here too.",
        )


def _open(ledger: Ledger, company: CompanySettings, address: str) -> Iterator[ExplanationStep]:
    """List where both systems disagree, and what Mailchimp is still to be asked."""
    for due in ledger.due_in_odoo.of(company.key, CONFLICT):
        if due.email == address:
            yield ExplanationStep("conflict", due.conflict.replace("_", " "), CONFLICTS[due.conflict])
    for key, audience in company.audiences.items():
        for question in ledger.opt_out_questions.open(audience.list_id):
            if question.email == address:
                sentence = (
                    f"Changed {moment(question.changed_at)} and {question.status} as before: whether they "
                    "opted out in between is asked by the next run. Until then they are not subscribed."
                )
                yield ExplanationStep(key, "in question", sentence)


def _permissions(ledger: Ledger, company: CompanySettings, address: str) -> Iterator[ExplanationStep]:
    """List which marketing permissions were given on which evidence, seen, and withdrawn."""
    names = {audience.list_id: key for key, audience in company.audiences.items()}
    asked = {
        text.casefold(): text
        for audience in company.audiences.values()
        if audience.consent is not None
        for text in audience.consent.marketing_permissions
    }
    for each in ledger.permissions.of_email(company.key, address):
        facts = []
        if each.given_at is not None and each.lost_at is None:
            facts.append(f"given by the pipeline {moment(each.given_at)}{_on_evidence(each)}")
        elif each.given_at is None:
            facts.append("seen in Mailchimp, not given by the pipeline")
        if each.withdrawn_at is not None:
            facts.append(
                f"withdrawn, as seen {moment(each.withdrawn_at)}: it is not given again in any audience of "
                "the company, unless on consent dated later"
            )
        if each.lost_at is not None:
            facts.append(
                f"sent by the pipeline{_on_evidence(each)}, and the answer was lost: it is unknown "
                "whether it was given, so it is not sent again, unless on consent dated later; look at the "
                "member in Mailchimp"
            )
        state = "given" if each.enabled else "unknown" if each.lost_at is not None else "withdrawn"
        name = asked.get(each.permission, each.permission)
        yield ExplanationStep(
            f"{name} in {names.get(each.list_id, each.list_id)}", state, _sentence("; ".join(facts))
        )
    for row in _records(ledger.members.of_email(address)):
        if row["company"] == company.key and row["permitted"]:
            sentence = "An earlier version of mc-pipeline gave the permissions that the settings named then."
            yield ExplanationStep(str(row["audience"]), "given", sentence)


def _on_evidence(record: PermissionRecord) -> str:
    if record.evidence_at is None:
        return ""
    source = f" in {record.evidence_source}" if record.evidence_source else ""
    return f", on consent{source} of {moment(record.evidence_at)}"


def _operation(row: Mapping[str, Any]) -> str:
    operation = str(row["operation"]).replace("_", " ")
    if _is_there(row["tag"]):
        return f"{operation} {row['tag']}"
    return f"{operation} as {row['status']}" if _is_there(row["status"]) else operation


def _change(row: Mapping[str, Any], company: CompanySettings) -> str:
    """Say what changes, before and after; whatever could name or place the person is masked."""
    audience = company.audiences.get(row["audience"])
    sources = dict(audience.merge_fields) if audience else {}
    before, after = _flat(row["before_json"]), _flat(row["after_json"])
    changes = []
    for name, value in after.items():
        kind, _, tag = name.partition(" ")
        if name == "email_address":
            old, new = mask_email(row["email"]), mask_email(str(value))
        elif kind == "field" and sources.get(tag) not in SHOWN_SOURCES:
            old, new = (_MASK if text not in (None, "") else "empty" for text in (before.get(name), value))
        else:
            old, new = _shown(before.get(name)), _shown(value)
        if row["operation"] == "create":
            if name not in ("email_address", "status"):
                changes.append(f"{tag or name} {new}")
        else:
            changes.append(f"{tag or name} {old} → {new}")
    return f"{', '.join(changes)}." if changes else ""


def _flat(text: str | None) -> dict[str, Any]:
    values = json.loads(text or "{}")
    fields = values.pop("merge_fields", {}) if isinstance(values, dict) else {}
    return {**values, **{f"field {tag}": value for tag, value in fields.items()}}


def _shown(value: Any) -> str:
    return "empty" if value in (None, "") else mask_text(str(value))


def _with_detail(sentence: str, detail: Any) -> str:
    return f"{sentence} {_sentence(str(detail))}" if _is_there(detail) else sentence


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _is_there(value: Any) -> bool:
    return value is not None and not pd.isna(value) and value != ""


def _sentence(text: str) -> str:
    text = mask_text(text).strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
