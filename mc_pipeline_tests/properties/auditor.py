"""Judges a story by the request journals of the two systems alone: did any request of ours harm anybody?

The auditor knows what people did and what was asked of the servers, in order, and what the world was like
when each run began. It knows nothing of our tables, of the ledger, or of why a request was made. What it
may not know is what the pipeline could not have known either: a person who opts out and signs up again
between two runs left no trace.
"""

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any

from mc_pipeline.sandbox.journal import JournalEntry

OPTED_OUT = frozenset({"unsubscribed", "cleaned"})
MARKETING = frozenset({"subscribed", "pending"})
OUR_MARK = "odoo-not-qualifying"

_READING_CALLS = frozenset(
    "search search_count read search_read read_group formatted_read_group fields_get context_get has_group "
    "version login".split()
)
_MEMBER = re.compile(r"/lists/(?P<list>[^/]+)/members/(?P<member>[^/]+)(?P<rest>/.*)?")
_DELETE_FOR_GOOD = "/actions/delete-permanent"
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_JSON2 = re.compile(r"/json/2/(?P<model>[^/]+)/(?P<method>[^/]+)")
_FOR_GOOD = re.compile("permanently deleted and cannot be re-imported|in a compliance state")
_LIST = re.compile(r"/lists/(?P<list>[^/]+)(?P<rest>/.*)?")


EvidenceRecord = tuple[str, int]


@dataclass(frozen=True)
class Facts:
    """The world when a run begins, as it is known without the pipeline.

    ``routes``: the address of everybody who belongs into an audience, and the list id of that audience.
    ``never``: addresses of internal users and employees, and of suppliers without an order.
    ``consented``: addresses with dated consent that the audiences accept, not taken back.
    ``restricted``: addresses that may be unsubscribed because of what was said in Odoo, besides the
    blacklist: consent taken back, or an opt-out under a former address.
    ``evidence``: the records of Odoo (model and id) behind ``consented``, by address. ``addresses`` of
    partners by id: who a person is, through all changes of address.
    """

    routes: Mapping[str, str] = field(default_factory=dict)
    never: frozenset[str] = frozenset()
    consented: frozenset[str] = frozenset()
    restricted: frozenset[str] = frozenset()
    evidence: Mapping[str, frozenset[EvidenceRecord]] = field(default_factory=dict)
    addresses: Mapping[int, str] = field(default_factory=dict)


@dataclass
class RunMark:
    """One run in the journal of Mailchimp: the numbers of its first and last entry.

    ``observed``: it read the audiences of ``lists`` whole, all of the story without it, and took note of
    them. ``read_partners``: it read Odoo's partners, and so the address of each. ``unchanged``: nothing had
    changed since a run that had worked through everything. ``first_in_odoo`` and ``last_in_odoo`` are the
    same of Odoo's journal.
    """

    first: int
    facts: Facts
    last: int = 0
    first_in_odoo: int = 0
    last_in_odoo: int = 0
    lists: frozenset[str] | None = None
    observed: bool = False
    read_partners: bool = False
    unchanged: bool = False


@dataclass(frozen=True)
class Approval:
    """A person released the first load of these lists, after the journal entry with this number."""

    after: int
    list_ids: frozenset[str]


@dataclass(frozen=True)
class Erasure:
    """A person was erased between two entries of Mailchimp's journal.

    ``emails`` of the person, ``partners`` (ids) with them, and the ``evidence`` there was for them.
    """

    first: int
    last: int
    emails: frozenset[str]
    partners: frozenset[int] = frozenset()
    evidence: frozenset[EvidenceRecord] = frozenset()


@dataclass
class Story:
    """What the auditor needs besides the journals: who was there before, and when what began.

    ``members``: (list id, address) -> status, of people who were in the audiences before the first entry.
    ``lists``: list ids of the companies. ``upgrading`` of these take newer consent as a subscription;
    ``double_optin`` ask people to confirm. ``foreign``: numbers of Mailchimp's entries that another program
    with an API key of its own sent. ``blacklist``: the address of each row of Odoo's blacklist, by id.
    ``company_fields``: None, or the boolean fields of partners where opt-outs stay within the company, on its
    mailing lists and in these fields. ``confirmations``: how many confirmation mails each list sends a day.
    ``permissions``: what each marketing permission is for, by its id; one purpose has an id in every list.
    """

    lists: frozenset[str]
    members: Mapping[tuple[str, str], str] = field(default_factory=dict)
    upgrading: frozenset[str] = frozenset()
    double_optin: frozenset[str] = frozenset()
    foreign: set[int] = field(default_factory=set)
    blacklist: Mapping[int, str] = field(default_factory=dict)
    company_fields: frozenset[str] | None = None
    runs: list[RunMark] = field(default_factory=list)
    approvals: list[Approval] = field(default_factory=list)
    erasures: list[Erasure] = field(default_factory=list)
    confirmations: Mapping[str, int] = field(default_factory=dict)
    permissions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Violation:
    """One request that broke an invariant."""

    invariant: str
    number: int
    what: str

    def __str__(self) -> str:
        return f"{self.invariant} (entry {self.number}): {self.what}"


@dataclass(frozen=True)
class _Write:
    """One thing that was asked of Mailchimp: a request of its own or an operation of a batch."""

    number: int
    at: datetime
    method: str
    path: str
    body: Any


def audit(mailchimp: Sequence[JournalEntry], odoo: Sequence[JournalEntry], story: Story) -> list[Violation]:
    """Judge every request of the journals; an empty list means that nobody was harmed."""
    return [*_Auditor(mailchimp, odoo, story).judge()]


def standing_opt_outs(mailchimp: Sequence[JournalEntry], story: Story) -> dict[str, datetime]:
    """Who is unsubscribed or bounced in an audience of the story, not by us, and since when.

    Left out is who came back by their own act in another audience since.
    """
    audiences = _Audiences(story.members)
    for entry in sorted(mailchimp, key=lambda entry: entry.number):
        audiences.replay(entry, ours=entry.source == "api" and entry.number not in story.foreign)
    since: dict[str, datetime] = {}
    for (list_id, email), at in audiences.opted_out_at.items():
        if list_id in story.lists and email not in audiences.returned:
            since[email] = max(at, since.get(email, at))
    return since


def standing_withdrawals(
    mailchimp: Sequence[JournalEntry], odoo: Sequence[JournalEntry], story: Story
) -> dict[tuple[str, str], datetime]:
    """Members whom we made reachable on one word of Odoo that was taken back there, and since when.

    The word is followed by its record, whatever became of the address: of the mailing contact, of the
    partner, or of the member. Left out is who signed up by their own act since we used it; a click on the
    confirmation that we asked for is no such act (rule 5.6).
    """
    auditor = _Auditor(mailchimp, odoo, story)
    deque(auditor.judge(), maxlen=0)
    taken_back = _taken_back(odoo)
    return {
        member: taken_back[record]
        for member, records in auditor.audiences.used.items()
        for record in records
        if len(records) == 1 and record in taken_back and member[0] in story.lists
    }


def _taken_back(odoo: Sequence[JournalEntry]) -> dict[EvidenceRecord, datetime]:
    """The words that stand withdrawn: mailing subscriptions opted out, and boxes that were cleared."""
    standing: dict[EvidenceRecord, datetime] = {}
    for entry in sorted(odoo, key=lambda entry: entry.number):
        if entry.action != "write" or entry.source == "api":
            continue
        ids, values = entry.body["ids"], entry.body["values"]
        says = {"mailing.subscription": values.get("opt_out")}
        if "x_newsletter" in values:
            says["res.partner"] = not values["x_newsletter"]
        withdrawn = says.get(entry.path)
        for record in [ids] if isinstance(ids, int) else ids:
            if withdrawn:
                standing.setdefault((entry.path, record), entry.at)
            elif withdrawn is not None:
                standing.pop((entry.path, record), None)
    return standing


class _Auditor:
    def __init__(self, mailchimp: Sequence[JournalEntry], odoo: Sequence[JournalEntry], story: Story) -> None:
        self._mailchimp = sorted(mailchimp, key=lambda entry: entry.number)
        self._odoo = sorted(odoo, key=lambda entry: entry.number)
        self._story = story
        self.audiences = _Audiences(story.members, story.permissions)
        self._blacklist = _Blacklist(self._odoo, story.blacklist)
        self._restricted: set[str] = set()
        self._known: set[tuple[str, str]] = set()
        self._gone: set[tuple[str, str]] = set()
        self._at_start: dict[tuple[str, str], str] = {}
        self._partners_out: set[int] = set()
        self._seen_at: dict[int, str] = {}
        self._out_by_person: set[str] = set()
        self._no_more: dict[tuple[str, str], frozenset[EvidenceRecord]] = {}

    def judge(self) -> Iterator[Violation]:
        runs = iter(sorted(self._story.runs, key=lambda run: run.first))
        run, upcoming = RunMark(0, Facts()), next(runs, None)
        in_odoo = deque(self._odoo)
        for entry in self._mailchimp:
            while upcoming is not None and entry.number >= upcoming.first:
                run, upcoming = upcoming, next(runs, None)
                self._begin(run)
            while in_odoo and in_odoo[0].at < entry.at:
                yield from self._judge_odoo(in_odoo.popleft())
            ours = entry.source == "api" and entry.number not in self._story.foreign
            if ours and entry.is_write and entry.batch_id is None:
                for write in _writes(entry):
                    yield from self._judge_write(write, run)
            self.audiences.replay(entry, ours=ours, run=run)
        for entry in in_odoo:
            yield from self._judge_odoo(entry)

    def _begin(self, run: RunMark) -> None:
        """Take note of what the run can know from reading the audiences."""
        self._at_start = dict(self.audiences.status)
        self._follow_persons(run)
        if not run.observed:
            return
        for member, evidence in self.audiences.permissions_taken_back.items():
            self._no_more.setdefault(member, run.facts.evidence.get(member[0], evidence))
        lists = self._story.lists if run.lists is None else run.lists
        seen = {key: status for key, status in self._at_start.items() if run.lists is None or key[0] in lists}
        present = set(seen)
        self._restricted |= {email for (_, email), status in seen.items() if status in OPTED_OUT}
        archived = {key for key, status in seen.items() if status == "archived"}
        self._restricted |= {email for key in archived - self.audiences.archived_by_us for email in key[1:]}
        moved = self.audiences.renamed_by_us | self.audiences.left
        known = {key for key in self._known if run.lists is None or key[0] in lists}
        self._gone = (self._gone | (known - present)) - moved - present
        self._restricted |= {email for _, email in self._gone}
        self._known |= present

    def _follow_persons(self, run: RunMark) -> None:
        """Take note of who opted out under an address that they have, or had when a run saw it last.

        An address that has another holder by now is left out: whose opt-out it was is unknown.
        """
        if not run.read_partners:
            return
        said_no = (self.audiences.opted_out - self.audiences.returned) & self._restricted
        on_blacklist = self._blacklist.active(self._begin_of(run))
        held_now = set(run.facts.addresses.values())
        out = set()
        for partner, email in run.facts.addresses.items():
            before = self._seen_at.get(partner, email)
            if email in said_no or (before in said_no and before not in held_now):
                self._partners_out.add(partner)
            # A row of Odoo counts as long as it stands: who made it may lift it.
            if before in on_blacklist and before not in held_now:
                out.add(partner)
            self._seen_at[partner] = email
        out |= self._partners_out
        self._out_by_person = {email for partner, email in run.facts.addresses.items() if partner in out}

    def _begin_of(self, run: RunMark) -> datetime:
        return next((entry.at for entry in self._mailchimp if entry.number >= run.first), _LONG_AGO)

    def _judge_write(self, write: _Write, run: RunMark) -> Iterator[Violation]:
        def broken(invariant: str, what: str = "") -> Violation:
            return Violation(invariant, write.number, what or f"{write.method} {write.path}")

        yield from (broken(name) for name in _forms_never_sent(write, self._is_erasing(write)))
        if run.unchanged and run.first <= write.number <= run.last:
            yield broken("a run without changes writes nothing")
        found = _LIST.fullmatch(write.path)
        if found is None:
            return
        list_id = found["list"]
        if list_id not in self._story.lists:
            yield broken("an audience that is nobody's is left alone")
        may_go_before = _is_opt_out(write) or self._is_erasing(write)
        if not may_go_before and not self._is_open(list_id, write.number):
            yield broken("nothing but opt-outs before an approval")
        if write.method == "POST" and not found["rest"]:
            for member in _members(write.body):
                yield from self._judge_creation(write, run, list_id, member)
                yield from self._judge_confirmation(write, run, list_id, member)
                yield from self._judge_erased(
                    write, run, str(member.get("email_address", "")).lower(), member
                )
        about = _MEMBER.fullmatch(write.path)
        if about is not None and isinstance(write.body, Mapping):
            yield from self._judge_change(write, run, list_id, about["member"])
            yield from self._judge_permissions(write, run, list_id, about["member"])
            if not _is_opt_out(write):
                email = self.audiences.email_of(list_id, about["member"])
                yield from self._judge_erased(write, run, email, write.body)

    def _judge_creation(
        self, write: _Write, run: RunMark, list_id: str, member: Mapping[str, Any]
    ) -> Iterator[Violation]:
        email = str(member.get("email_address", "")).strip().lower()
        status = member.get("status")
        key = (list_id, email)

        def broken(invariant: str) -> Violation:
            return Violation(invariant, write.number, f"{email} as {status} into {list_id}")

        yield from self._judge_place(write, run, list_id, email)
        if status in MARKETING:
            if self._is_restricted(email, write.at):
                yield broken("nobody who opted out is subscribed")
            if email not in run.facts.consented:
                yield broken("nobody is subscribed without dated consent")
        if status == "subscribed" and list_id in self._story.double_optin:
            yield broken("nobody is subscribed past the confirmation of the audience")
        before = self._at_start.get(key)
        if before == "archived":
            if key not in self.audiences.archived_by_us:
                yield broken("nobody who was archived by somebody else comes back")
            elif status != "transactional":
                yield broken("who was archived by us comes back as transactional")
        elif before is not None:
            yield broken("the status of a member is not sent")
        elif key in self._gone:
            yield broken("nobody who was erased is created again")

    def _judge_confirmation(
        self, write: _Write, run: RunMark, list_id: str, member: Mapping[str, Any]
    ) -> Iterator[Violation]:
        """Once per address, never in a first load, so many a day (rule 4.3)."""
        if member.get("status") != "pending":
            return
        email = str(member.get("email_address", "")).strip().lower()

        def broken(invariant: str) -> Violation:
            return Violation(invariant, write.number, f"{email} is asked to confirm in {list_id}")

        asked = self.audiences.asked
        if any(each.email == email and each.run is not run for each in asked):
            yield broken("nobody is asked to confirm twice")
        if not any(loaded is not run for loaded in self.audiences.loaded_in.get(list_id, ())):
            yield broken("nobody is asked to confirm in a first load")
        a_day_ago = write.at - timedelta(days=1)
        today = {each.email for each in asked if each.list_id == list_id and each.at > a_day_ago}
        together = {
            str(each.get("email_address", "")).lower()
            for each in _members(write.body)
            if each.get("status") == "pending"
        }
        if len(today | together) > self._story.confirmations.get(list_id, len(today | together)):
            yield broken("no more people are asked to confirm a day than the settings say")

    def _judge_permissions(
        self, write: _Write, run: RunMark, list_id: str, member: str
    ) -> Iterator[Violation]:
        """Given once per person, purpose and evidence; never to who took it back or opted out (rule 4.5)."""
        email = self.audiences.email_of(list_id, member)
        evidence = run.facts.evidence.get(email, frozenset())
        for purpose in _permissions_given(write.body, self._story.permissions):

            def broken(invariant: str, purpose: str = purpose) -> Violation:
                return Violation(invariant, write.number, f"{email} gets {purpose} in {list_id}")

            if self._is_restricted(email, write.at):
                yield broken("nobody who opted out gets a permission")
            taken_back = self._no_more.get((email, purpose))
            if taken_back is not None and evidence <= taken_back:
                yield broken("nobody gets a permission who took it back")
            given = self.audiences.given.get((email, purpose))
            if given is not None and given.run is not run and evidence <= given.evidence:
                yield broken("a permission is given once")

    def _judge_erased(
        self, write: _Write, run: RunMark, email: str, body: Mapping[str, Any]
    ) -> Iterator[Violation]:
        """Nothing but opt-outs is written about erased people; their consent is void (rule 10.1)."""
        for erasure in self._story.erasures:
            if write.number <= erasure.last:
                continue
            if email in erasure.emails:
                yield Violation(
                    "nothing is written about erased people", write.number, f"{write.path}: {email}"
                )
                continue
            holders = {number for number, each in run.facts.addresses.items() if each == email}
            if (
                body.get("status") in MARKETING
                and run.facts.evidence.get(email, frozenset()) <= erasure.evidence
                and holders
                and holders <= erasure.partners
            ):
                what = "evidence from before an erasure counts for nothing"
                yield Violation(what, write.number, f"{email} as {body['status']}")

    def _is_erasing(self, write: _Write) -> bool:
        return any(erasure.first <= write.number <= erasure.last for erasure in self._story.erasures)

    def _judge_change(self, write: _Write, run: RunMark, list_id: str, member: str) -> Iterator[Violation]:
        email = self.audiences.email_of(list_id, member)
        key = (list_id, email)

        def broken(invariant: str, what: object) -> Violation:
            return Violation(invariant, write.number, f"{email} in {list_id}: {what}")

        status = write.body.get("status")
        if status == "unsubscribed":
            known = self._blacklist.active(write.at) | run.facts.restricted
            elsewhere = email in self.audiences.opted_out and self._at_start.get(key) not in OPTED_OUT
            left = self.audiences.formers.get(key, set())
            if email not in known and not elsewhere and not left & (known | self.audiences.opted_out):
                yield broken("nobody is unsubscribed without an opt-out", status)
        elif status == "subscribed":
            if self._is_restricted(email, write.at):
                yield broken("nobody who opted out is subscribed", status)
            if (
                list_id not in self._story.upgrading - self._story.double_optin
                or key not in self.audiences.created_by_us
                or self._at_start.get(key) != "transactional"
                or email not in run.facts.consented
            ):
                yield broken("the status of a member is not sent", status)
        elif status is not None:
            yield broken("the status of a member is not sent", status)
        new = str(write.body.get("email_address", email)).lower()
        if new != email:
            yield from self._judge_place(write, run, list_id, new)
            if self._at_start.get(key) == "subscribed" and self._is_restricted(new, write.at):
                yield broken("nobody who opted out is subscribed", f"renamed to {new}")
        elif write.body.get("merge_fields") and email in run.facts.never:
            yield broken("nothing is sent about users, employees and suppliers", "fields")

    def _judge_place(self, write: _Write, run: RunMark, list_id: str, email: str) -> Iterator[Violation]:
        if email in run.facts.never:
            what = "nothing is sent about users, employees and suppliers"
            yield Violation(what, write.number, f"{email} into {list_id}")
        elif run.facts.routes.get(email) != list_id:
            yield Violation("nobody leaks into an audience", write.number, f"{email} into {list_id}")

    def _is_open(self, list_id: str, number: int) -> bool:
        return any(
            list_id in approval.list_ids and number > approval.after for approval in self._story.approvals
        )

    def _is_restricted(self, email: str, at: datetime) -> bool:
        return (
            email in self._restricted or email in self._out_by_person or email in self._blacklist.active(at)
        )

    def _judge_odoo(self, entry: JournalEntry) -> Iterator[Violation]:
        call = _odoo_call(entry)
        if call is None or call.method in _READING_CALLS:
            return

        def broken(invariant: str, what: str = "") -> Violation:
            return Violation(invariant, entry.number, what or f"{call.model}.{call.method}")

        if any(
            run.unchanged and run.first_in_odoo <= entry.number <= run.last_in_odoo
            for run in self._story.runs
        ):
            yield broken("a run without changes writes nothing")
        if _is_note(call, within_company=self._story.company_fields is not None):
            return
        if self._story.company_fields is not None:
            if not _stays_in_company(call, self._story.company_fields):
                yield broken("nothing but opt-outs is written to Odoo")
            return
        values = call.values
        is_opt_out = call.model == "mail.blacklist" and (
            (call.method == "create" and all(set(each) == {"email"} for each in values))
            or (call.method == "write" and all(set(each) == {"active"} for each in values))
        )
        if not is_opt_out:
            yield broken("nothing but opt-outs is written to Odoo")
        elif call.method == "create" or values[0]["active"]:
            for email in self._blacklist.addresses(call):
                if email not in self.audiences.opted_out:
                    yield broken("nobody is opted out in Odoo without an opt-out", email)
        else:
            for email in self._blacklist.addresses(call):
                if not self._blacklist.is_ours(email, entry.at):
                    yield broken("only rows that we made are lifted", email)
                if email not in self.audiences.returned:
                    yield broken("nobody is lifted who did not come back by their own act", email)


class _Blacklist:
    """Odoo's blacklist by the journal: who was on it when, and by whose doing."""

    def __init__(self, odoo: Sequence[JournalEntry], rows: Mapping[int, str]) -> None:
        self._rows = rows
        self._changes: list[tuple[datetime, str, bool, bool]] = []
        known: set[str] = set()
        for entry in odoo:
            call = _odoo_call(entry)
            if entry.action in ("blacklist", "unblacklist") and call is None:
                email = entry.body["email"].strip().lower()
                known.add(email)
                self._changes.append((entry.at, email, entry.action == "blacklist", False))
            elif call is not None and call.model == "mail.blacklist" and entry.applied:
                if call.method == "create":
                    # A row that is archived stays so.
                    new = [email for email in self.addresses(call) if email not in known]
                    known.update(new)
                    self._changes += [(entry.at, email, True, True) for email in new]
                elif call.method == "write" and "active" in call.values[0]:
                    active = bool(call.values[0]["active"])
                    self._changes += [(entry.at, email, active, True) for email in self.addresses(call)]

    def active(self, at: datetime) -> set[str]:
        """Who is on it at a moment."""
        active: set[str] = set()
        for moment, email, is_active, _ in self._changes:
            if moment <= at:
                (active.add if is_active else active.discard)(email)
        return active

    def is_ours(self, email: str, before: datetime) -> bool:
        """Whether the last who changed a row before a moment were we."""
        owners = [ours for moment, about, _, ours in self._changes if about == email and moment < before]
        return bool(owners) and owners[-1]

    def addresses(self, call: "_OdooCall") -> list[str]:
        """The addresses that a call on the blacklist is about."""
        if call.method == "create":
            return [str(each.get("email", "")).strip().lower() for each in call.values]
        return [self._rows.get(row_id, f"row {row_id}") for row_id in call.ids]


@dataclass(frozen=True)
class _Asked:
    """Somebody was asked to confirm."""

    list_id: str
    email: str
    at: datetime
    run: RunMark


@dataclass(frozen=True)
class _Given:
    """Somebody got a marketing permission, on the evidence there was."""

    run: RunMark
    evidence: frozenset[EvidenceRecord]


class _Audiences:
    """Mailchimp's audiences by the journal: status by list and address, and what we did to them.

    ``opted_out``: whoever was unsubscribed or bounced without our doing, once; ``opted_out_at``: who is so
    now, since when. ``returned``: who came back by their own act after the last time that this happened.
    ``used``: the records of Odoo on whose word we made a member reachable. ``asked``: who was asked to
    confirm. ``given``: who got which permission; ``permissions_taken_back``: who took which one back.
    ``loaded_in``: the runs that wrote anything but opt-outs, by list.
    """

    def __init__(
        self, members: Mapping[tuple[str, str], str], permissions: Mapping[str, str] | None = None
    ) -> None:
        self._purposes = permissions or {}
        self.used: dict[tuple[str, str], frozenset[EvidenceRecord]] = {}
        self.asked: list[_Asked] = []
        self.given: dict[tuple[str, str], _Given] = {}
        self.permissions_taken_back: dict[tuple[str, str], frozenset[EvidenceRecord]] = {}
        self.loaded_in: dict[str, list[RunMark]] = {}
        self._run = RunMark(0, Facts())
        self.status = {(list_id, email.lower()): status for (list_id, email), status in members.items()}
        self.created_by_us: set[tuple[str, str]] = set()
        self.archived_by_us: set[tuple[str, str]] = set()
        self.renamed_by_us: set[tuple[str, str]] = set()
        self.opted_out = {email for (_, email), status in self.status.items() if status in OPTED_OUT}
        self.returned: set[str] = set()
        self.formers: dict[tuple[str, str], set[str]] = {}
        self.left: set[tuple[str, str]] = set()
        self.opted_out_at = {key: _LONG_AGO for key, status in self.status.items() if status in OPTED_OUT}
        self._at = _LONG_AGO
        self._hashes: dict[str, str] = {}
        for _, email in self.status:
            self._remember(email)

    def email_of(self, list_id: str, member: str) -> str:
        """The address behind a subscriber hash; the hash itself when nobody ever had it."""
        return self._hashes.get(member, member)

    def replay(self, entry: JournalEntry, *, ours: bool, run: RunMark | None = None) -> None:
        """Take over what an entry changed. ``ours``: we sent it, or it is an operation of a batch of ours.

        ``run``: the one that was under way, or the last one.
        """
        # Whom Mailchimp refuses for good has opted out; that no member shows it.
        self.opted_out.update(_refused_for_good(entry))
        if not entry.applied:
            return
        self._at = entry.at
        self._run = run or self._run
        if entry.source != "api":
            self._act(str(entry.action), entry.body)
        elif entry.is_write and (found := _LIST.fullmatch(entry.path.removeprefix("/3.0"))):
            about = _MEMBER.fullmatch(entry.path.removeprefix("/3.0"))
            if ours and not (entry.method == "PATCH" and entry.body == {"status": "unsubscribed"}):
                loaded_in = self.loaded_in.setdefault(found["list"], [])
                if not any(each is self._run for each in loaded_in):
                    loaded_in.append(self._run)
            if about is not None and about["rest"] == _DELETE_FOR_GOOD:
                self._forget((about["list"], self.email_of(about["list"], about["member"])))
            elif about is not None and not about["rest"]:
                self._change(entry, about["list"], self.email_of(about["list"], about["member"]), ours=ours)
            elif entry.method == "POST" and not found["rest"]:
                for member in _members(entry.body):
                    self._create(entry, found["list"], member)

    def _act(self, action: str, body: Mapping[str, Any]) -> None:
        if "email" not in body:
            return  # about an audience's fields, and no member
        key = (body["list_id"], body["email"].lower())
        self._remember(key[1])
        match action:
            case "unsubscribe" | "complain":
                self._opt_out(key, "unsubscribed")
            case "sign_up" | "confirm":
                if action == "sign_up":
                    self.used.pop(key, None)
                if self.status.get(key) != "subscribed":
                    self.returned |= {key[1], *self.formers.get(key, ())}
                self._put(key, "subscribed")
            case "subscribe":
                # Whoever asked for it asked an administrator: not Odoo's word that we used.
                self.used.pop(key, None)
                self._put(key, "subscribed")
            case "bounce_hard":
                self._opt_out(key, "cleaned")
            case "archive":
                self._put(key, "archived")
            case "delete_permanently":
                self._forget(key)
            case "withdraw_permission":
                purpose = self._purposes.get(str(body["permission"]), str(body["permission"]))
                self.permissions_taken_back[(key[1], purpose)] = self._run.facts.evidence.get(
                    key[1], frozenset()
                )
            case "change_address":
                new = body["new_email"].lower()
                before = {key[1], *self.formers.pop(key, ())} - {new}
                self._move(key, (key[0], new))
                self.formers[key[0], new] = before
                self.left.add(key)
                if self.status.get((key[0], new)) in OPTED_OUT:
                    self.opted_out |= before
                if key[1] in self.opted_out - self.returned:
                    self.opted_out.add(new)

    def _create(self, entry: JournalEntry, list_id: str, member: Mapping[str, Any]) -> None:
        email = str(member["email_address"]).strip().lower()
        key = (list_id, email)
        self._remember(email)
        answer = entry.response
        if isinstance(answer, Mapping) and entry.fault is None:
            made = {each["email_address"].lower() for each in answer.get("new_members", ())}
        else:  # the answer was lost or spoilt
            made = {email} if self.status.get(key, "archived") == "archived" else set()
        if email in made:
            self._put(key, str(member["status"]))
            self.created_by_us.add(key)
            self._use(key, str(member["status"]))
            if member["status"] == "pending":
                self.asked.append(_Asked(list_id, email, self._at, self._run))

    def _change(self, entry: JournalEntry, list_id: str, email: str, *, ours: bool) -> None:
        key = (list_id, email)
        if entry.method == "DELETE":
            self._put(key, "archived")
            if ours:
                self.archived_by_us.add(key)
            return
        body = entry.body if isinstance(entry.body, Mapping) else {}
        if body.get("status") in OPTED_OUT and not ours:
            self._opt_out(key, body["status"])
        elif body.get("status"):
            self._put(key, body["status"])
            if ours:
                self._use(key, body["status"])
        for purpose in _permissions_given(body, self._purposes) if ours else ():
            evidence = self._run.facts.evidence.get(email, frozenset())
            self.given[(email, purpose)] = _Given(self._run, evidence)
        new = str(body.get("email_address", email)).lower()
        if new != email:
            self._move(key, (list_id, new))
            self.renamed_by_us.add(key)

    def _use(self, key: tuple[str, str], status: str) -> None:
        if status in MARKETING:
            self.used[key] = self._run.facts.evidence.get(key[1], frozenset())

    def _forget(self, key: tuple[str, str]) -> None:
        for known in (self.status, self.opted_out_at, self.used):
            known.pop(key, None)

    def _opt_out(self, key: tuple[str, str], status: str) -> None:
        self._put(key, status)
        self.opted_out_at[key] = self._at
        # Odoo may still have an address that the person left in Mailchimp.
        for email in (key[1], *self.formers.get(key, ())):
            self.opted_out.add(email)
            self.returned.discard(email)

    def _put(self, key: tuple[str, str], status: str) -> None:
        self.status[key] = status
        self.opted_out_at.pop(key, None)
        self.archived_by_us.discard(key)
        self.renamed_by_us.discard(key)

    def _move(self, key: tuple[str, str], new: tuple[str, str]) -> None:
        self._remember(new[1])
        status = self.status.pop(key, None)
        # Who was unsubscribed by us has said nothing, under whatever address.
        theirs = self.opted_out_at.pop(key, None) is not None
        if key in self.used:
            self.used[new] = self.used.pop(key)
        if status is not None:
            (self._opt_out if status in OPTED_OUT and theirs else self._put)(new, status)
            if key in self.created_by_us:
                self.created_by_us.add(new)

    def _remember(self, email: str) -> None:
        self._hashes[md5(email.encode(), usedforsecurity=False).hexdigest()] = email


def _writes(entry: JournalEntry) -> Iterator[_Write]:
    """The request itself, and the operations it asks for when it submits a batch."""
    path = entry.path.removeprefix("/3.0")
    yield _Write(entry.number, entry.at, entry.method, path, entry.body)
    if path == "/batches" and isinstance(entry.body, Mapping):
        for operation in entry.body.get("operations", ()):
            body = json.loads(operation["body"]) if operation.get("body") else None
            yield _Write(entry.number, entry.at, operation["method"], operation["path"], body)


def _permissions_given(body: Any, purposes: Mapping[str, str]) -> list[str]:
    """What the permissions that a request gives are for."""
    given = body.get("marketing_permissions", ()) if isinstance(body, Mapping) else ()
    ids = [str(each.get("marketing_permission_id")) for each in given if each.get("enabled")]
    return [purposes.get(each, each) for each in ids]


def _forms_never_sent(write: _Write, is_erasing: bool) -> Iterator[str]:
    """Requests that are never right, whoever they are about."""
    body = write.body if isinstance(write.body, Mapping) else {}
    member = _MEMBER.fullmatch(write.path)
    if member is not None and write.method == "PUT":
        yield "no PUT on members"
    if member is not None and member["rest"] == _DELETE_FOR_GOOD and not is_erasing:
        yield "nobody is erased"
    if write.method == "POST" and re.fullmatch(r"/lists/[^/]+", write.path):
        if body.get("update_existing", False) is not False:
            yield "creations cannot touch members"
        if body.get("sync_tags", False) is not False:
            yield "creations replace no tags"
    if write.method == "POST" and re.fullmatch(r"/lists/[^/]+/members", write.path):
        yield "creations cannot touch members"
    if write.path.startswith("/ecommerce/"):
        for customer in (body, body.get("customer") or {}):
            if customer.get("opt_in_status", False) is not False:
                yield "e-commerce never opts in"


def _is_opt_out(write: _Write) -> bool:
    return write.method == "PATCH" and write.body == {"status": "unsubscribed"}


def _refused_for_good(entry: JournalEntry) -> set[str]:
    """Addresses that an answer says are forgotten, unsubscribed, bounced or under review."""
    answer = entry.response if isinstance(entry.response, Mapping) else {}
    texts = [str(error.get("error", "")) for error in answer.get("errors", ()) if isinstance(error, Mapping)]
    texts.append(str(answer.get("detail", "")))
    return {text.split()[0].lower() for text in texts if _FOR_GOOD.search(text)}


def _members(body: Any) -> Iterable[Mapping[str, Any]]:
    return body.get("members", ()) if isinstance(body, Mapping) else ()


@dataclass(frozen=True)
class _OdooCall:
    """One call of ours: of one that writes, the ``ids`` it is about and the ``values`` it carries."""

    model: str
    method: str
    ids: Sequence[int] = ()
    values: Sequence[Mapping[str, Any]] = ()


def _odoo_call(entry: JournalEntry) -> _OdooCall | None:
    """The call that an entry of Odoo's journal is, in either of its two APIs; None for what people do."""
    if entry.source != "api":
        return None
    body = entry.body if isinstance(entry.body, Mapping) else {}
    if (found := _JSON2.fullmatch(entry.path)) is not None:
        model, method = found["model"], found["method"]
        ids, values = body.get("ids", ()), body.get("vals_list" if method == "create" else "vals", ())
    else:
        call = body.get("params", {})
        args = call.get("args", [])
        if call.get("method") not in ("execute", "execute_kw") or len(args) < 5:
            return _OdooCall("", str(call.get("method", "version")))
        model, method = args[3], args[4]
        given = args[5] if len(args) > 5 and call["method"] == "execute_kw" else args[5:]
        ids = given[0] if method != "create" and given else ()
        values = given[0 if method == "create" else 1] if len(given) > (method != "create") else ()
    listed = [values] if isinstance(values, Mapping) else values
    if method not in ("create", "write", "unlink"):
        ids, listed = (), ()
    return _OdooCall(model, method, [ids] if isinstance(ids, int) else ids, listed)


def _is_note(call: _OdooCall, *, within_company: bool) -> bool:
    """Whether a call writes nothing but notes, which name nobody, about opt-outs of the right place."""
    about = {"res.partner", "mailing.contact"} if within_company else {"mail.blacklist"}
    return (call.model, call.method) == ("mail.message", "create") and all(
        set(each) <= {"model", "res_id", "body", "message_type", "subtype_id"}
        and each["model"] in about
        and each["message_type"] == "notification"
        and "@" not in each["body"]
        for each in call.values
    )


def _stays_in_company(call: _OdooCall, fields: frozenset[str]) -> bool:
    """Whether a call opts out of mailing lists, makes the contact for it, or unticks one of these fields."""
    match call.model, call.method:
        case "mailing.subscription", "write":
            return all(each == {"opt_out": True} for each in call.values)
        case "mailing.subscription", "create":
            return all(each.get("opt_out") is True for each in call.values)
        case "mailing.contact", "create":
            return all(set(each) <= {"name", "email"} for each in call.values)
        case "res.partner", "write":
            return all(set(each) <= fields and not any(each.values()) for each in call.values)
    return False
