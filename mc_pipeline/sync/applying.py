"""Applies a stored plan, or refuses it: the ledger decides, not the person who started the run (rule 7.1)."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import pandas as pd

from mc_pipeline.domain.contacts.merge_fields import MERGE_FIELD_SOURCES
from mc_pipeline.domain.contacts.rejections import open_refusals
from mc_pipeline.domain.plan.archiving import waiting_for_creations
from mc_pipeline.domain.plan.first_load_ends import still_loading
from mc_pipeline.domain.plan.guards import GuardReport, push_refusal
from mc_pipeline.domain.plan.refusal_causes import OUTSIDE_THE_PERSON
from mc_pipeline.domain.plan.refused_rows import rows_refused_before
from mc_pipeline.domain.plan.waiting_rows import with_waiting
from mc_pipeline.ledger import Lease
from mc_pipeline.ledger.troubles import Trouble
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.mailchimp.merge_fields import FieldProblem, ensure_merge_fields
from mc_pipeline.masking import mask_text
from mc_pipeline.push.member_writes import Fault, Fields, MemberWrites
from mc_pipeline.push.plan import MEMBER_NOT_CREATED, NEVER_TRIED, push_plan
from mc_pipeline.push.writer import Writer
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.audience_troubles import troubles_of_push
from mc_pipeline.sync.errors import SyncError
from mc_pipeline.sync.observing import Audiences
from mc_pipeline.sync.opt_outs.since import AskedSince
from mc_pipeline.sync.planning import LEAKING, identity_of, judge_plan
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table, schemas

_WORKERS = 4
_ROWS_BETWEEN_REPORTS = 10_000


def apply_plan(
    systems: Systems,
    company: CompanySettings,
    plan: Table,
    members: Table,
    contacts: Table,
    lease: Lease,
    run_id: str,
    log: logging.Logger,
) -> "Pushed":
    """Push a plan, except for what waits; an audience that cannot take its merge fields delays no other.

    Raises:
        SyncError: nothing of the plan may be applied; nothing was written.
    """
    plans = systems.ledger.plans
    rows = plan.rows
    identity = identity_of(systems, company, plan)
    record = plans.get(identity)
    if record is None:
        raise SyncError(
            f"Plan {identity} is not in the ledger: materialize audience_plan again, then this asset.",
            allow_retries=False,
        )
    newest = systems.ledger.reads.latest(company.key, schemas.MAILCHIMP_MEMBERS.name)
    refusal = push_refusal(
        identity,
        plan.observed_at,
        systems.now(),
        newest.observed_at if newest else None,
        plans.is_applied(identity),
        leaking=int(record.counts.get(LEAKING, 0)),
    )
    if refusal:
        raise SyncError(refusal, allow_retries=False)

    judged = judge_plan(systems, company, rows, members.rows)
    # What waits is not there for this push: nothing is prepared for it, and it holds up nothing.
    going = rows[judged.why_rows_wait == ""]
    client = systems.mailchimp(company)
    lists = {audience.list_id for audience in company.audiences.values()}
    unread = {audience.list_id for audience in Audiences.of(members, company).unread}
    prepared = _prepare_merge_fields(systems, company, going, unread)
    refused_before = partial(
        rows_refused_before,
        refused=systems.ledger.members.refused(lists),
        definitions_changed_at=systems.ledger.field_definitions.changed_at(lists),
        now=systems.now(),
    )
    creations = going[(going["operation"] == "create") & (going["held_back_because"] == "")]
    due = going.assign(
        held_back_because=waiting_for_creations(going, prepared.unusable, refused_before(creations).said)
    )
    total = int((due["held_back_because"] == "").sum())
    workers = min(_WORKERS, systems.settings.mailchimp[company.mailchimp].max_connections)
    writes = MemberWrites(
        Writer(client, systems.ledger, lease, run_id, workers),
        progress=_Progress(log, total),
        since=AskedSince(systems, company, run_id),
        fields=prepared.fields,
        by_audience=True,
    )
    pushed = push_plan(
        due,
        writes,
        first_load=plans.in_first_load(company.key, lists),
        open_addresses={
            (intent.list_id, intent.email) for intent in systems.ledger.intents.open(company.key)
        },
        contacts=contacts.rows,
        observed_at=plan.observed_at,
        now=systems.now(),
        broken=prepared.broken,
        refused_before=refused_before,
    )
    outcome = with_waiting(rows, pushed, judged.why_rows_wait, identity)
    # People whom Mailchimp refuses for a cause outside of them are still to come, as are those not tried.
    refused = systems.ledger.members.refused(lists)
    outside = refused[refused["rejection_cause"].isin(list(OUTSIDE_THE_PERSON))]
    to_come = (outcome["operation"] == "create") & (outcome["outcome"] == "deferred")
    to_come &= pd.MultiIndex.from_frame(outcome[["list_id", "email"]].astype(object)).isin(
        list(zip(outside["list_id"], outside["email"], strict=True))
    )
    to_come |= outcome["detail"].str.endswith(f"({NEVER_TRIED})")
    plans.mark_applied(
        identity,
        plan.observed_at,
        in_part=judged.report.needs_approval,
        still_loading=still_loading(
            outcome.assign(outcome=outcome["outcome"].mask(to_come, "held_back")),
            plans.first_load_row_keys(company.key),
            # The outcome of these is known: they come back as new people, if at all.
            known_details={MEMBER_NOT_CREATED},
            unread=unread,
            open_lists={
                intent.list_id for intent in systems.ledger.intents.open(company.key, path=lease.path)
            },
        )
        # An audience that a person releases while this push runs has its first load still to come.
        | (lists - judged.opened_audiences),
    )
    return Pushed(
        outcome.assign(held_back_because=rows["held_back_because"]),
        identity,
        judged.report,
        prepared.unusable,
        prepared.problems,
        list(writes.faults.values()),
    )


@dataclass(frozen=True)
class Pushed:
    """The result of a push, and what prevented parts of it.

    Attributes:
        rows: the plan's rows with ``outcome`` and ``detail``; ``waits`` where an approval is missing.
        plan_id: the plan to approve for them.
        report: what waits, by the plan's guards.
        trouble: audiences that took nothing, by name, and why.
        problems: merge fields that cannot be written, by audience and tag.
        faults: audiences and tags at which writing ended.
    """

    rows: pd.DataFrame
    plan_id: str
    report: GuardReport
    trouble: Mapping[str, str]
    problems: Mapping[str, Mapping[str, FieldProblem]]
    faults: Sequence[Fault]


@dataclass(frozen=True)
class Prepared:
    """What was found out about the merge fields of the audiences before anything was written.

    Attributes:
        unusable: audiences whose fields cannot be read or made, by name, and a sentence: they take nothing.
        problems: fields that cannot be written, by audience and tag; all others are.
        fields: how the fields are defined, and what we fill them with, by list id.
        broken: the fields of ``problems`` by list id and tag, in words.
    """

    unusable: dict[str, str] = field(default_factory=dict)
    problems: dict[str, Mapping[str, FieldProblem]] = field(default_factory=dict)
    fields: dict[str, Fields] = field(default_factory=dict)
    broken: dict[str, dict[str, str]] = field(default_factory=dict)


def _prepare_merge_fields(
    systems: Systems, company: CompanySettings, plan: pd.DataFrame, unread: set[str]
) -> Prepared:
    """Compare the merge fields of all audiences with the settings; create what is missing where it is due.

    A field that cannot be written holds back itself alone. What the fields are like is kept: refusals that
    they caused are tried again when that changes.
    """
    # A row that is held back writes nothing, and its audience may not even be released for a first load.
    sent = plan[plan["held_back_because"] == ""]
    written = set(sent.loc[sent["operation"].isin(["create", "update", "change_email"]), "audience"])
    known = systems.ledger.field_definitions
    prepared = Prepared()
    for key, audience in company.audiences.items():
        if audience.list_id in unread:
            continue
        wanted = {tag: MERGE_FIELD_SOURCES[source] for tag, source in audience.merge_fields.items()}
        try:
            found = ensure_merge_fields(
                systems.mailchimp(company),
                audience.list_id,
                wanted,
                used=known.used(audience.list_id),
                create=key in written,
            )
        except MailchimpError as error:
            prepared.unusable[key] = (
                f"audience {key} ({audience.list_id}) cannot take the merge fields of companies.yaml: "
                f"{mask_text(str(error))}"
            )
            continue
        known.observe(audience.list_id, found.fields, wanted=wanted, used={*found.present, *found.created})
        prepared.fields[audience.list_id] = Fields(found.fields, wanted)
        if found.problems:
            prepared.problems[key] = found.problems
            prepared.broken[audience.list_id] = {tag: str(each) for tag, each in found.problems.items()}
    return prepared


class _Progress:
    """Writes a line now and then while a long plan is pushed."""

    def __init__(self, log: logging.Logger, total: int) -> None:
        self._log = log
        self._total = total
        self._done = 0

    def __call__(self, rows: int) -> None:
        before = self._done
        self._done += rows
        if self._done // _ROWS_BETWEEN_REPORTS > before // _ROWS_BETWEEN_REPORTS:
            self._log.info(f"{self._done:,} of {self._total:,} changes are applied.")


def what_is_broken(
    systems: Systems, company: CompanySettings, contacts: Table, pushed: Pushed
) -> list[Trouble]:
    """Say what holds people back in the company's audiences, since this push or an earlier one."""
    lists = {key: audience.list_id for key, audience in company.audiences.items()}
    return troubles_of_push(
        open_refusals(
            contacts.rows,
            systems.ledger.members.refused(lists.values()),
            lists,
            systems.ledger.consent.refused_for_good(),
        ),
        pushed.trouble,
        pushed.problems,
        pushed.faults,
        {list_id: key for key, list_id in lists.items()},
        pushed.rows[pushed.rows["outcome"] == "unknown"],
    )
