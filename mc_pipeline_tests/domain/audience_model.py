"""A plain model of Mailchimp audiences and of our ledger: what the plan is judged against.

It applies a plan row by row, in its order, and refuses what Mailchimp would refuse or what may never be sent,
so that a plan that harms somebody fails here without any rule of the planner being repeated.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pandas as pd

from mc_pipeline.digests import canonical_json, subscriber_hash
from mc_pipeline.domain.plan.inputs import PlanInputs
from mc_pipeline.domain.plan.leaks import LeakFacts, find_leaks
from mc_pipeline.domain.plan.plan import AudienceChanges, Completeness, decide_changes
from mc_pipeline.settings.models import CompanySettings

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EARLIER = datetime(2026, 1, 1, tzinfo=UTC)
WHOLESALE, RETAIL = "aaaa111111", "bbbb222222"


def company(
    *,
    upgrade: bool = False,
    send_confirmation: bool = False,
    permissions: Iterable[str] = (),
    **more: Any,
) -> CompanySettings:
    """A company with a wholesale and a retail audience; newsletter subscriptions are evidence in both."""
    consent: dict[str, Any] = {"mailing_list": "Newsletter", "upgrade": upgrade}
    if send_confirmation:
        consent = {"mailing_list": "Newsletter", "send_confirmation": True, "max_confirmations": 2}
    if permissions:
        consent["marketing_permissions"] = list(permissions)
    shared = {
        "company": "acme",
        "consent": consent,
        "merge_fields": {"FNAME": "first_name", "CITY": "city", "ORDERS": "order_count"},
    }
    return CompanySettings.model_validate(
        {
            "key": "acme",
            "odoo_company_id": 1,
            "mailchimp": "main",
            "timezone": "Europe/London",
            "audiences": {
                "wholesale": {
                    **shared,
                    "list_id": WHOLESALE,
                    "when": {"company_type": "company"},
                    "tags": {"B2B": "always", "VIP": {"field": "total_spent", "at_least": 5000}},
                },
                "retail": {
                    **shared,
                    "list_id": RETAIL,
                    "tags": {"VIP": {"field": "total_spent", "at_least": 5000}},
                },
            },
            **more,
        }
    )


@dataclass(frozen=True)
class Person:
    """A contact: who should be in which audience."""

    email: str
    partner_id: int = 1
    audience: str = "retail"
    name: str = "Ada"
    fields: Mapping[str, Any] = field(default_factory=lambda: {"FNAME": "Ada", "CITY": "", "ORDERS": 1})
    tags: tuple[str, ...] = ()
    language: str | None = None
    status: str = "transactional"
    evidence: Mapping[str, Any] | None = None
    also: tuple[int, ...] = ()
    order_count: int = 1
    one_name: str = ""


def consent_on(day: datetime, kind: str = "mailing_list") -> dict[str, Any]:
    return {"source": "Newsletter", "kind": kind, "record_id": 7, "address": "", "at": day.isoformat()}


def contacts_table(people: Iterable[Person]) -> pd.DataFrame:
    rows = [
        {
            "email": person.email,
            "partner_id": person.partner_id,
            "partner_ids": [person.partner_id, *person.also],
            "audience": person.audience,
            "name": person.name,
            "one_name": person.one_name,
            "language": person.language,
            "merge_fields_json": canonical_json(dict(person.fields)),
            "tags": list(person.tags),
            "evidence_json": None if person.evidence is None else canonical_json(dict(person.evidence)),
            "status_for_new": person.status,
            "order_count": person.order_count,
        }
        for person in people
    ]
    columns = (
        "email partner_id partner_ids audience name one_name language merge_fields_json tags evidence_json "
        "status_for_new order_count"
    ).split()
    return pd.DataFrame(rows, columns=columns)


PARTNER_FLAGS = ("is_internal_user", "is_employee", "is_own_company", "is_public_or_template_user")


def partners_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """odoo_partners rows; what is not given is an ordinary customer's."""
    filled = [
        {
            "email_normalized": None,
            "parent_id": None,
            "supplier_rank": 0,
            **dict.fromkeys(PARTNER_FLAGS, False),
            **row,
        }
        for row in rows
    ]
    columns = ["partner_id", "email_normalized", "parent_id", "supplier_rank", *PARTNER_FLAGS]
    frame = pd.DataFrame(filled, columns=columns)
    return frame.astype({"partner_id": "int64", "parent_id": "Int64", "supplier_rank": "int64"})


def set_aside_table(rows: Iterable[tuple[int, str | None, str]]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["partner_id", "person_email", "reason"])


def plan_inputs(**known: Any) -> PlanInputs:
    """Inputs of a plan; of what is not given, nothing is known."""
    nobody: frozenset[Any] = frozenset()
    given: dict[str, Any] = {
        **dict.fromkeys(("blacklisted_emails", "opted_out_ever", "subscribed_by_us", "withdrawn"), nobody),
        **dict.fromkeys(("double_optin_list_ids", "first_load_list_ids", "permission_list_ids"), nobody),
        **dict.fromkeys(("lost_evidence", "of_first_load"), nobody),
        **{name: {} for name in ("merge_field_types", "successors", "opted_out_since", "not_taken_back")},
        **{name: {} for name in ("asked_to_confirm", "permissions_said")},
        "held_addresses": (),
        "changed": (),
        "completeness": Completeness(),
        "planned_at": NOW,
    }
    return PlanInputs(**{**given, **known})


@dataclass(frozen=True)
class Member:
    """A member as Mailchimp has it."""

    status: str = "transactional"
    fields: Mapping[str, Any] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    language: str | None = None
    timestamp_opt: datetime | None = None
    permissions: Mapping[str, bool] | None = None


@dataclass(frozen=True)
class Record:
    """What the ledger knows of a member."""

    created_by_us: bool = False
    created_status: str | None = None
    created_at: datetime | None = None
    sent: Mapping[str, Any] | None = None
    returned: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = ()
    archived_by_us: bool = False
    ever_subscribed: bool = False
    opted_out: bool = False
    permitted: bool = False
    partner_id: int | None = None
    name_sent: str | None = None
    last_status: str | None = None
    absent_reads: int = 0
    vanished: bool = False
    rejection_key: str | None = None
    rejection_title: str | None = None
    rejection_cause: str | None = None
    retry_at: datetime | None = None


OURS = Record(
    created_by_us=True, created_status="transactional", created_at=EARLIER, partner_id=1, name_sent="Ada"
)
"""A member that we created as transactional for partner 1, called Ada."""


def normalised(value: Any) -> Any:
    """Mailchimp keeps numbers as text and trims."""
    return value if isinstance(value, dict) else " ".join(str(value).split())


@dataclass
class Audiences:
    """All audiences of a company with our ledger beside them."""

    members: dict[tuple[str, str], Member] = field(default_factory=dict)
    records: dict[tuple[str, str], Record] = field(default_factory=dict)
    asked: dict[tuple[str, str], datetime] = field(default_factory=dict)
    said: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def members_table(self) -> pd.DataFrame:
        audience_of = {WHOLESALE: "wholesale", RETAIL: "retail"}
        rows = [
            {
                "audience": audience_of.get(list_id, "another"),
                "list_id": list_id,
                "email": email,
                "subscriber_hash": subscriber_hash(email),
                "status": member.status,
                "merge_fields_json": canonical_json(dict(member.fields)),
                "tags": sorted(member.tags),
                "language": member.language,
                "timestamp_opt": member.timestamp_opt,
                "permissions_json": None
                if member.permissions is None
                else canonical_json(member.permissions),
            }
            for (list_id, email), member in self.members.items()
        ]
        columns = (
            "audience list_id email subscriber_hash status merge_fields_json tags language timestamp_opt "
            "permissions_json"
        ).split()
        return pd.DataFrame(rows, columns=columns)

    def records_table(self) -> pd.DataFrame:
        rows = [
            {
                "list_id": list_id,
                "email": email,
                **{
                    name: value
                    for name, value in vars(record).items()
                    if name not in ("sent", "returned", "tags")
                },
                "sent_json": None if record.sent is None else canonical_json(dict(record.sent)),
                "returned_json": None if record.returned is None else canonical_json(dict(record.returned)),
                "tags": list(record.tags),
            }
            for (list_id, email), record in self.records.items()
        ]
        columns = [name for name in vars(Record()) if name not in ("sent", "returned", "tags")]
        frame = pd.DataFrame(
            rows, columns=["list_id", "email", *columns, "sent_json", "returned_json", "tags"]
        )
        return frame.astype({"partner_id": "Int64"})

    def apply(self, plan: pd.DataFrame, names: Mapping[str, str]) -> None:
        """Apply the rows that are sent, in their order; ``names`` are the contacts' names by address."""
        for row in plan.sort_values("sequence").itertuples():
            if not row.held_back_because:
                self._apply(row, names)

    def _apply(self, row: Any, names: Mapping[str, str]) -> None:
        key = (row.list_id, row.email)
        member = self.members.get(key)
        record = self.records.get(key, Record())
        body = json.loads(row.after_json)
        if row.operation == "create":
            assert body["status"] == row.status
            assert body["email_address"] == row.email
            assert member is None or (member.status == "archived" and row.status == "transactional")
            if row.status == "pending":
                assert row.email not in {email for _, email in self.asked}, "asked twice"
                self.asked[key] = NOW
            self.members[key] = self._written(
                Member(row.status, tags=member.tags if member else frozenset()), body
            )
            record = replace(
                record,
                created_by_us=True,
                created_status=row.status,
                created_at=NOW,
                archived_by_us=False,
                last_status=row.status,
                tags=(),
                sent=None,
                ever_subscribed=record.ever_subscribed or row.status == "subscribed",
                opted_out=record.opted_out or row.status == "unsubscribed",
            )
            self.records[key] = self._remembered(record, key, body, row, names[row.email])
            return
        assert member is not None, "changes somebody who is not in the audience"
        assert member.status != "archived", "changes an archived member"
        match row.operation:
            case "update":
                assert set(body) <= {"merge_fields", "language"}
                self.members[key] = self._written(member, body)
                self.records[key] = self._remembered(record, key, body, row, names[row.email])
            case "change_email":
                assert "status" not in body
                new = (row.list_id, row.new_email)
                assert new not in self.members, "takes an address that somebody has"
                assert body["email_address"] == row.new_email
                self.members[new] = self._written(self.members.pop(key), body)
                self.records.pop(key, None)
                self.records[new] = self._remembered(record, new, body, row, names[row.new_email])
            case "archive":
                self.members[key] = replace(member, status="archived")
                self.records[key] = replace(record, archived_by_us=True, last_status="archived", tags=())
            case "tag":
                self.members[key] = replace(member, tags=member.tags | {row.tag})
                self.records[key] = replace(record, tags=(*record.tags, row.tag))
            case "untag":
                kept = {tag for tag in member.tags if tag.casefold() != row.tag.casefold()}
                assert kept != member.tags, "removes a tag that nobody has"
                self.members[key] = replace(member, tags=frozenset(kept))
                self.records[key] = replace(record, tags=tuple(tag for tag in record.tags if tag != row.tag))
            case "upgrade":
                assert body["status"] == "subscribed"
                assert body["timestamp_opt"]
                assert member.status == "transactional"
                self.members[key] = replace(member, status="subscribed")
                self.records[key] = replace(record, ever_subscribed=True, last_status="subscribed")
            case "permit":
                assert set(body) == {"marketing_permissions"}
                assert member.status == "subscribed"
                given = dict.fromkeys(body["marketing_permissions"], True)
                self.members[key] = replace(member, permissions={**(member.permissions or {}), **given})
                for name in given:
                    self.said[row.email, name.casefold()] = NOW
            case _:
                raise AssertionError(f"unknown operation {row.operation}")

    @staticmethod
    def _written(member: Member, body: Mapping[str, Any]) -> Member:
        fields = {tag: normalised(value) for tag, value in body.get("merge_fields", {}).items()}
        return replace(
            member, fields={**member.fields, **fields}, language=body.get("language", member.language)
        )

    def _remembered(
        self, record: Record, key: tuple[str, str], body: Mapping[str, Any], row: Any, name: str
    ) -> Record:
        before = dict(record.sent or {"merge_fields": {}})
        sent = {**before, "merge_fields": {**before["merge_fields"], **body.get("merge_fields", {})}}
        member = self.members[key]
        returned: dict[str, Any] = {"merge_fields": dict(member.fields)}  # the answer shows every field
        if member.language:
            returned["language"] = member.language
        if "language" in body:
            sent["language"] = body["language"]
        return replace(record, sent=sent, returned=returned, partner_id=int(row.partner_id), name_sent=name)


@dataclass
class World:
    """Everything that a plan is made from."""

    people: list[Person] = field(default_factory=list)
    audiences: Audiences = field(default_factory=Audiences)
    partners: list[Mapping[str, Any]] = field(default_factory=list)
    set_aside: list[tuple[int, str | None, str]] = field(default_factory=list)
    blacklisted: frozenset[str] = frozenset()
    opted_out_ever: frozenset[str] = frozenset()
    completeness: Completeness = field(default_factory=Completeness)
    settings: CompanySettings = field(default_factory=company)
    more: dict[str, Any] = field(default_factory=dict)

    def partners_table(self) -> pd.DataFrame:
        given = {row["partner_id"] for row in self.partners}
        contacts = [
            {"partner_id": number, "email_normalized": person.email}
            for person in self.people
            for number in (person.partner_id, *person.also)
            if number not in given
        ]
        return partners_table([*self.partners, *contacts])

    def decide(self) -> AudienceChanges:
        return decide_changes(
            plan_inputs(
                contacts=contacts_table(self.people),
                members=self.audiences.members_table(),
                records=self.audiences.records_table(),
                company=self.settings,
                partners=self.partners_table(),
                set_aside=set_aside_table(self.set_aside),
                completeness=self.completeness,
                planned_at=NOW,
                blacklisted_emails=self.blacklisted,
                opted_out_ever=self.opted_out_ever,
                **{
                    "asked_to_confirm": self.audiences.asked,
                    "permissions_said": self.audiences.said,
                    **self.more,
                },
            )
        )

    def plan(self) -> pd.DataFrame:
        """Plan, and judge the plan for leaks."""
        plan = self.decide().plan
        leaks = find_leaks(
            plan,
            LeakFacts(
                company=self.settings,
                contacts=contacts_table(self.people),
                partners=self.partners_table(),
                members=self.audiences.members_table(),
                opted_out_ever=self.opted_out_ever,
                blacklisted_emails=self.blacklisted,
            ),
        )
        assert leaks.empty, leaks[["operation", "email", "reason"]].to_string()
        return plan

    def apply(self, plan: pd.DataFrame) -> None:
        self.audiences.apply(plan, {person.email: person.name for person in self.people})


def brief(plan: pd.DataFrame) -> list[tuple[str, ...]]:
    """The rows in short: operation, address, then new address, tag or status where there is one."""
    return [
        tuple(
            part
            for part in (row.operation, row.email, row.new_email or row.tag or row.status)
            if isinstance(part, str)
        )
        for row in plan.itertuples()
    ]


def sent(plan: pd.DataFrame) -> list[tuple[str, ...]]:
    return brief(plan[plan["held_back_because"] == ""])


def withdrawal(audience: str, email: str, at: datetime | None = None) -> SimpleNamespace:
    return SimpleNamespace(audience=audience, email=email, because="opted out of Newsletter in Odoo", at=at)
