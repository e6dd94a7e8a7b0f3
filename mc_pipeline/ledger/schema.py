"""The tables of the ledger. A change here needs a migration in ``migrations/versions``.

Every name starts with ``ledger_``: on PostgreSQL the ledger may share a database with Dagster's own
storage. Times are UTC, JSON is canonical text (``digests.canonical_json``).
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    false,
    text,
)
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# SQLite numbers rows on its own only where the type is exactly INTEGER.
RowNumber = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: timezone-aware in and out, kept in UTC to the microsecond."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"the ledger keeps UTC: {value!r} has no timezone, give it one")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean(), nullable=False, server_default=false())


def _count(name: str) -> Column[int]:
    return Column(name, Integer(), nullable=False, server_default=text("0"))


intent = Table(
    "ledger_intent",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=True),
    Column("company", Text(), nullable=False),
    Column("fence", BigInteger(), nullable=False),
    Column("run_id", Text(), nullable=False),
    Column("list_id", Text(), nullable=False),
    Column("audience", Text(), nullable=False),
    Column("email", Text(), nullable=False),
    Column("operation", Text(), nullable=False),
    Column("body_json", Text(), nullable=False),
    Column("plan_id", Text()),
    Column("row_key", Text()),
    Column("partner_id", BigInteger()),
    Column("name_sent", Text()),
    Column("evidence_json", Text()),
    Column("recorded_at", UtcDateTime(), nullable=False),
    Column("submitted_at", UtcDateTime()),
    Column("batch_id", Text()),
    Column("outcome", Text()),
    Column("settled_at", UtcDateTime()),
    Column("detail", Text(), nullable=False, server_default=""),
    Column("title", Text(), nullable=False, server_default=""),
    Column("returned_json", Text()),
    # Which writer of the company it is of: changes or opt_outs. Each settles its own.
    Column("path", Text(), nullable=False, server_default="changes"),
    Index("ix_ledger_intent_email", "email"),
    Index("ix_ledger_intent_company_run_id", "company", "run_id"),
    # Few intents are open at any time: the index that finds them stays small.
    Index(
        "ix_ledger_intent_open",
        "company",
        "id",
        sqlite_where=text("settled_at IS NULL"),
        postgresql_where=text("settled_at IS NULL"),
    ),
)

member = Table(
    "ledger_member",
    metadata,
    Column("list_id", Text(), primary_key=True),
    Column("email", Text(), primary_key=True),
    Column("company", Text(), nullable=False),
    Column("audience", Text(), nullable=False),
    Column("partner_id", BigInteger()),
    Column("name_sent", Text()),
    _flag("created_by_us"),
    Column("created_status", Text()),
    Column("created_at", UtcDateTime()),
    Column("sent_json", Text()),
    Column("returned_json", Text()),
    Column("tags_json", Text(), nullable=False, server_default="[]"),
    _flag("archived_by_us"),
    _flag("ever_subscribed"),
    _flag("opted_out"),
    _flag("permitted"),
    Column("last_status", Text()),
    Column("last_changed", UtcDateTime()),
    Column("written_at", UtcDateTime()),
    # When the status was last seen to be another one: an older read says nothing about it any more.
    Column("seen_at", UtcDateTime()),
    _count("absent_reads"),
    _count("absent_confirmations"),
    _count("absent_confirmed_read"),
    _flag("vanished"),
    Column("rejection_operation", Text()),
    Column("rejection_key", Text()),
    Column("rejection_detail", Text()),
    Column("rejection_title", Text()),
    _count("rejection_attempts"),
    # Whose fault it is (domain.refusal_causes), and the merge field it is about; empty: an earlier version's.
    Column("rejection_cause", Text()),
    Column("rejection_field", Text()),
    Column("rejected_at", UtcDateTime()),
    Column("retry_at", UtcDateTime()),
    # Mailchimp's id of the contact, which stays when the address changes; empty: not learned yet.
    Column("contact_id", Text()),
    Index("ix_ledger_member_email", "email"),
    Index("ix_ledger_member_contact_id", "list_id", "contact_id"),
)

rename = Table(
    "ledger_rename",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=True),
    Column("company", Text(), nullable=False),
    Column("list_id", Text(), nullable=False),
    Column("old_email", Text(), nullable=False),
    Column("new_email", Text(), nullable=False),
    Column("renamed_at", UtcDateTime(), nullable=False),
    # Empty for a change that was made in Mailchimp.
    Column("intent_id", BigInteger()),
    # Of a change made in Mailchimp: whose it is, and since when it concerns Odoo's former address no more.
    Column("contact_id", Text()),
    Column("partner_id", BigInteger()),
    Column("ended_at", UtcDateTime()),
    Index("ix_ledger_rename_old_email", "old_email"),
    Index("ix_ledger_rename_new_email", "new_email"),
)

confirmation = Table(
    "ledger_confirmation",
    metadata,
    Column("company", Text(), primary_key=True),
    Column("list_id", Text(), primary_key=True),
    # The address that was asked: it stays when the member gets another one.
    Column("email", Text(), primary_key=True),
    Column("asked_at", UtcDateTime(), nullable=False),
    Index("ix_ledger_confirmation_email", "email"),
)

permission = Table(
    "ledger_permission",
    metadata,
    Column("company", Text(), primary_key=True),
    Column("list_id", Text(), primary_key=True),
    Column("email", Text(), primary_key=True),
    # Its text in small letters: ids differ from audience to audience.
    Column("permission", Text(), primary_key=True),
    # As last seen in Mailchimp, or given by us.
    _flag("enabled"),
    # Empty: it was seen, and is not from us.
    Column("given_at", UtcDateTime()),
    Column("evidence_at", UtcDateTime()),
    Column("evidence_source", Text(), nullable=False, server_default=""),
    # When it was last seen to be taken back.
    Column("withdrawn_at", UtcDateTime()),
    # When it was found that the outcome of our giving it is unknown.
    Column("lost_at", UtcDateTime()),
    Index("ix_ledger_permission_email", "email"),
)

audience_read = Table(
    "ledger_audience_read",
    metadata,
    Column("list_id", Text(), primary_key=True),
    Column("company", Text(), nullable=False),
    Column("observed_at", UtcDateTime(), nullable=False),
    Column("complete", Boolean(), nullable=False),
    # Runs since then in which Mailchimp said that there is no such audience, and the last of them.
    _count("not_found_runs"),
    Column("not_found_run_id", Text()),
)

# What the merge fields of an audience were like when they were last read, and since when.
field_definitions = Table(
    "ledger_field_definitions",
    metadata,
    Column("list_id", Text(), primary_key=True),
    Column("fields_json", Text(), nullable=False),
    Column("changed_at", UtcDateTime(), nullable=False),
)

# The merge fields that were used or made under the tags of the settings: who gives one another tag, or makes
# it again, is reported.
used_field = Table(
    "ledger_used_field",
    metadata,
    Column("list_id", Text(), primary_key=True),
    Column("tag", Text(), primary_key=True),
    Column("merge_id", BigInteger(), nullable=False),
    Column("type", Text(), nullable=False),
)

consent_event = Table(
    "ledger_consent_event",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=True),
    Column("company", Text(), nullable=False),
    Column("audience", Text(), nullable=False),
    Column("list_id", Text(), nullable=False),
    Column("email", Text(), nullable=False),
    Column("event", Text(), nullable=False),
    Column("origin", Text(), nullable=False),
    Column("status_from", Text(), nullable=False),
    Column("status_to", Text(), nullable=False),
    Column("occurred_at", UtcDateTime(), nullable=False),
    Column("seen_at", UtcDateTime(), nullable=False),
    Column("evidence_json", Text()),
    # Empty for events of ledgers older than this column.
    Column("source", Text(), nullable=False, server_default=""),
    Index("ix_ledger_consent_event_email", "email"),
    # The same event is reported several times: by polling, by a webhook, by the answer to our own write.
    Index(
        "uq_ledger_consent_event_told_once",
        "list_id",
        "email",
        "event",
        "occurred_at",
        "status_to",
        unique=True,
    ),
    CheckConstraint("origin IN ('ours', 'person', 'admin', 'unknown')", name="origin"),
)

consent_origin = Table(
    "ledger_consent_origin",
    metadata,
    Column("event_id", BigInteger(), primary_key=True, autoincrement=False),
    Column("origin", Text(), primary_key=True),
    Column("source", Text(), nullable=False),
    Column("seen_at", UtcDateTime(), nullable=False),
    CheckConstraint("origin IN ('person', 'admin')", name="origin"),
)

used_evidence = Table(
    "ledger_used_evidence",
    metadata,
    Column("company", Text(), primary_key=True),
    Column("list_id", Text(), primary_key=True),
    Column("email", Text(), primary_key=True),
    # mailing_list or boolean_field.
    Column("kind", Text(), primary_key=True),
    Column("source", Text(), primary_key=True),
    # The mailing list in Odoo; 0 for a field.
    Column("source_id", BigInteger(), primary_key=True, autoincrement=False),
    # The mailing subscription, or the partner with the field; 0 where an older version did not keep it.
    Column("record_id", BigInteger(), primary_key=True, autoincrement=False),
    Column("partner_id", BigInteger()),
    # The evidence's own date; empty for undated evidence.
    Column("consented_at", UtcDateTime()),
    Column("used_at", UtcDateTime(), nullable=False),
    Index("ix_ledger_used_evidence_email", "email"),
    Index("ix_ledger_used_evidence_record_id", "record_id"),
    Index("ix_ledger_used_evidence_partner_id", "partner_id"),
)

partner_address = Table(
    "ledger_partner_address",
    metadata,
    Column("partner_id", BigInteger(), primary_key=True, autoincrement=False),
    Column("email", Text(), primary_key=True),
    # By our clock: when a read of Odoo first showed it, and first showed another one or none.
    Column("first_seen_at", UtcDateTime(), nullable=False),
    Column("left_at", UtcDateTime()),
    Index("ix_ledger_partner_address_email", "email"),
)

company_record = Table(
    "ledger_company_record",
    metadata,
    # A mark of the database of Odoo: stays when it is renamed, moved or upgraded.
    Column("odoo", Text(), primary_key=True),
    Column("partner_id", BigInteger(), primary_key=True, autoincrement=False),
    Column("is_company", Boolean(), nullable=False),
    Column("commercial_partner_id", BigInteger(), nullable=False),
    Column("parent_id", BigInteger()),
    # By which a change of the tax id is seen; too short to reveal it.
    Column("tax_id_mark", Text(), nullable=False),
    # Typed on the contact itself; Odoo has no field for it from 19.4 on.
    Column("company_name", Text(), nullable=False),
    Column("seen_at", UtcDateTime(), nullable=False),
)

partner_gone = Table(
    "ledger_partner_gone",
    metadata,
    Column("partner_id", BigInteger(), primary_key=True, autoincrement=False),
    # The partner that it was merged into; empty: Odoo does not say, or it was deleted.
    Column("successor_id", BigInteger()),
    Column("found_at", UtcDateTime(), nullable=False),
    Index("ix_ledger_partner_gone_successor_id", "successor_id"),
)

webhook_delivery = Table(
    "ledger_webhook_delivery",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=True),
    Column("list_id", Text(), nullable=False),
    Column("source", Text(), nullable=False),
    Column("type", Text(), nullable=False),
    Column("email", Text(), nullable=False),
    Column("new_email", Text(), nullable=False),
    Column("contact_id", Text(), nullable=False),
    Column("action", Text(), nullable=False),
    Column("reason", Text(), nullable=False),
    Column("campaign_id", Text(), nullable=False),
    Column("fired_at", UtcDateTime()),
    Column("fired_at_raw", Text(), nullable=False),
    Column("received_at", UtcDateTime(), nullable=False),
    Column("body_digest", Text(), nullable=False),
    Column("told_once_key", Text(), nullable=False),
    Column("processed_at", UtcDateTime()),
    # Mailchimp repeats deliveries and numbers none of them.
    Index("uq_ledger_webhook_delivery_told_once", "told_once_key", unique=True),
    Index(
        "ix_ledger_webhook_delivery_waiting",
        "list_id",
        sqlite_where=text("processed_at IS NULL"),
        postgresql_where=text("processed_at IS NULL"),
    ),
    CheckConstraint("source IN ('user', 'admin')", name="source"),
)

opt_out_read = Table(
    "ledger_opt_out_read",
    metadata,
    Column("list_id", Text(), primary_key=True),
    Column("company", Text(), nullable=False),
    # By Mailchimp's clock: everything that changed before it is in the ledger.
    Column("read_until", UtcDateTime(), nullable=False),
    Column("recorded_at", UtcDateTime(), nullable=False),
)

opt_out_question = Table(
    "ledger_opt_out_question",
    metadata,
    Column("list_id", Text(), primary_key=True),
    Column("email", Text(), primary_key=True),
    Column("company", Text(), nullable=False),
    Column("audience", Text(), nullable=False),
    # The member as it was when the question came up; its status is the one that was known before.
    Column("status", Text(), nullable=False),
    Column("changed_at", UtcDateTime(), nullable=False),
    # By Mailchimp's clock: what happened until then is known.
    Column("since", UtcDateTime(), nullable=False),
    Column("noted_at", UtcDateTime(), nullable=False),
    # The last asking that failed; the others have their turn before it.
    Column("failed_at", UtcDateTime()),
)

odoo_opt_out = Table(
    "ledger_odoo_opt_out",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=True),
    Column("company", Text(), nullable=False),
    Column("fence", BigInteger(), nullable=False),
    Column("run_id", Text(), nullable=False),
    Column("email", Text(), nullable=False),
    # As Odoo has it: letters beyond ASCII keep their case there.
    Column("address", Text(), nullable=False),
    Column("action", Text(), nullable=False),
    Column("scope", Text(), nullable=False),
    Column("list_id", Text(), nullable=False),
    Column("event", Text(), nullable=False),
    Column("occurred_at", UtcDateTime(), nullable=False),
    Column("recorded_at", UtcDateTime(), nullable=False),
    Column("outcome", Text()),
    Column("settled_at", UtcDateTime()),
    Column("detail", Text(), nullable=False, server_default=""),
    Column("blacklist_id", BigInteger()),
    Column("blacklist_write_date", UtcDateTime()),
    _flag("made_by_us"),
    Index("ix_ledger_odoo_opt_out_email", "email"),
    Index(
        "ix_ledger_odoo_opt_out_open",
        "company",
        "id",
        sqlite_where=text("settled_at IS NULL"),
        postgresql_where=text("settled_at IS NULL"),
    ),
    CheckConstraint("action IN ('opt_out', 'lift')", name="action"),
    CheckConstraint("scope IN ('everywhere', 'company')", name="scope"),
)

hearing = Table(
    "ledger_hearing",
    metadata,
    Column("list_id", Text(), primary_key=True),
    # By our clock: when the audience was last read, whichever run did it.
    Column("heard_at", UtcDateTime()),
    # Since when it could not be read, how often in a row, and Mailchimp's words; empty: it can be read.
    Column("failed_since", UtcDateTime()),
    _count("failures"),
    Column("failed_at", UtcDateTime()),
    Column("failed_by", Text(), nullable=False, server_default=""),
    Column("failure_kind", Text(), nullable=False, server_default=""),
    Column("failure", Text(), nullable=False, server_default=""),
)

odoo_hearing = Table(
    "ledger_odoo_hearing",
    metadata,
    Column("company", Text(), primary_key=True),
    # blacklist, lists or fields: what of Odoo was asked for opt-outs.
    Column("subject", Text(), primary_key=True),
    Column("read_until", UtcDateTime(), nullable=False),
    Column("heard_at", UtcDateTime(), nullable=False),
)

due_in_odoo = Table(
    "ledger_due_in_odoo",
    metadata,
    Column("company", Text(), primary_key=True),
    Column("email", Text(), primary_key=True),
    # due, waits (for a release of old opt-outs), refused (by Odoo, until retry_at) or conflict (to decide).
    Column("state", Text(), nullable=False),
    Column("since", UtcDateTime(), nullable=False),
    Column("retry_at", UtcDateTime()),
    # Of an opt-out that waits: the audience whose release it waits for.
    Column("list_id", Text(), nullable=False, server_default=""),
    Column("partner_id", BigInteger()),
    Column("conflict", Text(), nullable=False, server_default=""),
    Column("detail", Text(), nullable=False, server_default=""),
    # Goes up with all that is read: what was decided on less is decided again.
    Column("version", Integer(), nullable=False, server_default=text("1")),
    CheckConstraint("state IN ('due', 'waits', 'refused', 'conflict')", name="state"),
)

standing_opt_out = Table(
    "ledger_standing_opt_out",
    metadata,
    Column("company", Text(), primary_key=True),
    Column("email", Text(), primary_key=True),
    # Empty: it holds for every audience of the company.
    Column("list_id", Text(), primary_key=True),
    Column("cause", Text(), primary_key=True),
    Column("active", Boolean(), nullable=False),
    # Odoo's own date of it; the later word counts.
    Column("said_at", UtcDateTime(), nullable=False),
    Column("because", Text(), nullable=False, server_default=""),
    Column("recorded_at", UtcDateTime(), nullable=False),
    # Odoo's date when it was first said; Odoo moves its own date with every change of the row.
    Column("first_said_at", UtcDateTime()),
    Index("ix_ledger_standing_opt_out_email", "email"),
)

unsubscribe_due = Table(
    "ledger_unsubscribe_due",
    metadata,
    Column("company", Text(), primary_key=True),
    Column("list_id", Text(), primary_key=True),
    Column("email", Text(), primary_key=True),
    Column("since", UtcDateTime(), nullable=False),
    # After a failure: runs that start for another reason try at once, none is requested before this moment.
    Column("retry_at", UtcDateTime()),
    Column("version", Integer(), nullable=False, server_default=text("1")),
)

old_opt_outs = Table(
    "ledger_old_opt_outs",
    metadata,
    Column("list_id", Text(), primary_key=True),
    Column("company", Text(), nullable=False),
    Column("audience", Text(), nullable=False),
    Column("first_read_at", UtcDateTime(), nullable=False),
    Column("people", Integer(), nullable=False),
    Column("released_at", UtcDateTime()),
    Column("released_by", Text(), nullable=False, server_default=""),
    Column("reason", Text(), nullable=False, server_default=""),
)

plan = Table(
    "ledger_plan",
    metadata,
    Column("plan_id", Text(), primary_key=True),
    Column("company", Text(), nullable=False),
    Column("saved_at", UtcDateTime(), nullable=False),
    Column("observed_at", UtcDateTime(), nullable=False),
    Column("row_count", Integer(), nullable=False),
    Column("counts_json", Text(), nullable=False),
    Column("guards_json", Text(), nullable=False),
    Column("needs_approval", Boolean(), nullable=False),
    Column("first_load_audiences_json", Text(), nullable=False),
    Column("row_keys", LargeBinary()),
    Column("applied_at", UtcDateTime()),
    Column("applied_observed_at", UtcDateTime()),
    Column("applied_in_part", Boolean()),
    Index("ix_ledger_plan_company_observed_at", "company", "observed_at"),
)

approval = Table(
    "ledger_approval",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=True),
    Column("company", Text(), nullable=False),
    Column("plan_id", Text(), nullable=False),
    Column("approved_by", Text(), nullable=False),
    Column("reason", Text(), nullable=False),
    Column("approved_at", UtcDateTime(), nullable=False),
    Column("row_count", Integer(), nullable=False),
    Column("opened_audiences_json", Text(), nullable=False),
    Column("row_keys", LargeBinary()),
    Index("ix_ledger_approval_company_approved_at", "company", "approved_at"),
)

opened_audience = Table(
    "ledger_opened_audience",
    metadata,
    Column("company", Text(), primary_key=True),
    Column("list_id", Text(), primary_key=True),
    Column("plan_id", Text(), nullable=False),
    Column("opened_at", UtcDateTime(), nullable=False),
    Column("loaded_at", UtcDateTime()),
)

observation = Table(
    "ledger_observation",
    metadata,
    Column("company", Text(), primary_key=True),
    Column("table_name", Text(), primary_key=True),
    Column("observed_at", UtcDateTime(), primary_key=True),
    Column("row_count", BigInteger(), nullable=False),
    Column("complete", Boolean(), nullable=False),
    Column("incomplete_because", Text(), nullable=False, server_default=""),
    Column("approved_by", Text()),
    Column("approved_reason", Text()),
    Column("approved_at", UtcDateTime()),
)

lease = Table(
    "ledger_lease",
    metadata,
    # A company, company/opt_outs, or list/ID: see leases.lease_name.
    Column("name", Text(), primary_key=True),
    # Goes up with every new owner and never down: the row stays when the lease is free.
    Column("fence", BigInteger(), nullable=False),
    Column("owner", Text()),
    Column("since", UtcDateTime()),
    Column("expires_at", UtcDateTime()),
)

lease_holder = Table(
    "ledger_lease_holder",
    metadata,
    Column("token", Text(), primary_key=True),
    Column("name", Text(), nullable=False),
    Column("fence", BigInteger(), nullable=False),
    Column("expires_at", UtcDateTime(), nullable=False),
    Index("ix_ledger_lease_holder_name", "name"),
)

connection_slot = Table(
    "ledger_connection_slot",
    metadata,
    Column("account", Text(), primary_key=True),
    Column("number", Integer(), primary_key=True, autoincrement=False),
    Column("token", Text(), nullable=False),
    Column("owner", Text(), nullable=False),
    Column("expires_at", UtcDateTime(), nullable=False),
)

connection_waiter = Table(
    "ledger_connection_waiter",
    metadata,
    Column("account", Text(), primary_key=True),
    Column("token", Text(), primary_key=True),
    Column("since", UtcDateTime(), nullable=False),
    Column("expires_at", UtcDateTime(), nullable=False),
)

erasure = Table(
    "ledger_erasure",
    metadata,
    Column("pseudonym", Text(), primary_key=True),
    Column("key_id", Text(), nullable=False),
    Column("partner_ids_json", Text(), nullable=False),
    Column("reason", Text(), nullable=False),
    Column("requested_by", Text(), nullable=False),
    Column("requested_at", UtcDateTime(), nullable=False),
    Column("completed_at", UtcDateTime()),
    Column("report_json", Text(), nullable=False),
)


def _refusal() -> list[Column[Any]]:
    """What Mailchimp refused of a thing in a store, so that the same is not sent again."""
    return [
        Column("refused_digest", Text()),
        Column("refused_detail", Text()),
        _count("refused_attempts"),
        Column("retry_at", UtcDateTime()),
    ]


store = Table(
    "ledger_store",
    metadata,
    Column("store_id", Text(), primary_key=True),
    Column("company", Text(), nullable=False),
    Column("list_id", Text(), nullable=False),
    Column("currency", Text(), nullable=False),
    Column("created_at", UtcDateTime(), nullable=False),
    # Until the first load is complete the store is_syncing: its automations do not run.
    Column("loaded_at", UtcDateTime()),
)

store_product = Table(
    "ledger_store_product",
    metadata,
    Column("store_id", Text(), primary_key=True),
    Column("object_id", Text(), primary_key=True),
    Column("company", Text(), nullable=False),
    _flag("present"),
    Column("sent_json", Text()),
    *_refusal(),
)

store_customer = Table(
    "ledger_store_customer",
    metadata,
    Column("store_id", Text(), primary_key=True),
    Column("object_id", Text(), primary_key=True),
    Column("company", Text(), nullable=False),
    Column("email", Text(), nullable=False),
    Column("person", Text(), nullable=False),
    Column("generation", Integer(), nullable=False),
    _flag("present"),
    *_refusal(),
    Index("ix_ledger_store_customer_email", "email"),
    Index("ix_ledger_store_customer_company_person", "company", "person"),
)

store_order = Table(
    "ledger_store_order",
    metadata,
    Column("store_id", Text(), primary_key=True),
    Column("object_id", Text(), primary_key=True),
    Column("company", Text(), nullable=False),
    Column("order_id", BigInteger(), nullable=False),
    Column("month", Text(), nullable=False),
    Column("customer_id", Text()),
    # Order currency per unit of the store's, fixed by the first push; empty: the same currency.
    Column("rate", Float()),
    _flag("present"),
    Column("sent_json", Text()),
    # What Mailchimp attributed the order to when it was taken out: goes along when it comes back.
    Column("attribution_json", Text()),
    *_refusal(),
    Index("ix_ledger_store_order_company_order_id", "company", "order_id"),
    Index("ix_ledger_store_order_store_id_customer_id", "store_id", "customer_id"),
)

store_plan = Table(
    "ledger_store_plan",
    metadata,
    Column("company", Text(), primary_key=True),
    Column("store_id", Text(), primary_key=True),
    Column("plan_id", Text(), nullable=False),
    Column("saved_at", UtcDateTime(), nullable=False),
    Column("orders", Integer(), nullable=False),
    Column("held", Integer(), nullable=False),
    Column("row_keys", LargeBinary()),
)

store_intent = Table(
    "ledger_store_intent",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=True),
    Column("company", Text(), nullable=False),
    Column("fence", BigInteger(), nullable=False),
    Column("run_id", Text(), nullable=False),
    Column("store_id", Text(), nullable=False),
    Column("kind", Text(), nullable=False),
    Column("object_id", Text(), nullable=False),
    Column("operation", Text(), nullable=False),
    Column("part_id", Text()),
    Column("order_id", BigInteger()),
    Column("month", Text()),
    Column("customer_id", Text()),
    Column("rate", Float()),
    Column("wanted_digest", Text()),
    # How the thing is when the write is accepted; emptied then, as the record has it.
    Column("after_json", Text()),
    Column("attribution_json", Text()),
    Column("recorded_at", UtcDateTime(), nullable=False),
    Column("submitted_at", UtcDateTime()),
    Column("batch_id", Text()),
    Column("outcome", Text()),
    Column("settled_at", UtcDateTime()),
    Column("detail", Text(), nullable=False, server_default=""),
    Index("ix_ledger_store_intent_company_run_id", "company", "run_id"),
    Index(
        "ix_ledger_store_intent_open",
        "company",
        "id",
        sqlite_where=text("settled_at IS NULL"),
        postgresql_where=text("settled_at IS NULL"),
    ),
)

run = Table(
    "ledger_run",
    metadata,
    Column("run_id", Text(), primary_key=True),
    Column("company", Text(), nullable=False, server_default=""),
    Column("job", Text(), nullable=False),
    Column("owner", Text(), nullable=False),
    Column("started_at", UtcDateTime(), nullable=False),
    Column("beat_at", UtcDateTime(), nullable=False),
    Column("ended_at", UtcDateTime()),
    # Few runs are under way at any time: the index that finds them stays small.
    Index(
        "ix_ledger_run_under_way",
        "company",
        "job",
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)

trouble = Table(
    "ledger_trouble",
    metadata,
    Column("company", Text(), primary_key=True),
    Column("step", Text(), primary_key=True),
    Column("part", Text(), primary_key=True),
    Column("place", Text(), primary_key=True),
    Column("code", Text(), primary_key=True),
    Column("kind", Text(), nullable=False),
    Column("sentence", Text(), nullable=False),
    Column("what_to_do", Text(), nullable=False, server_default=""),
    Column("owner", Text(), nullable=False),
    Column("run_id", Text(), nullable=False),
    Column("since", UtcDateTime(), nullable=False),
    Column("seen_at", UtcDateTime(), nullable=False),
)

identity = Table(
    "ledger_identity",
    metadata,
    # One row only.
    Column("id", Integer(), primary_key=True, autoincrement=False),
    Column("ledger_id", Text(), nullable=False),
    Column("count", BigInteger(), nullable=False),
    Column("accepted_at", UtcDateTime()),
    Column("accepted_by", Text(), nullable=False, server_default=""),
    Column("reason", Text(), nullable=False, server_default=""),
)
