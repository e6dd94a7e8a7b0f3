"""Who has to be opted out in Odoo, or taken off its blacklist, because of Mailchimp (rules 5.2 to 5.7).

Opt-outs come from events that we did not make. They only restrict; removing one needs the person's own
action, later than every opt-out of theirs, a row that we made and nobody has touched since, and a member who
is subscribed at this moment: an event may have been followed by another one that nobody reported. What two
people say against each other is a conflict: nothing is done in Odoo, and a human decides.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

import pandas as pd

from mc_pipeline.domain.consent.events import ConsentEventLike
from mc_pipeline.domain.consent.old_opt_outs import is_old
from mc_pipeline.vocabulary import OPTED_OUT_EVENTS, EventKind, OdooAction, OptOutScope, Origin, OutcomeKind

LIFTED_IN_ODOO = "lifted_in_odoo"
MADE_IN_ODOO = "made_in_odoo"
NEWER_IN_ODOO = "newer_in_odoo"
RESUBSCRIBED_UNPROVEN = "resubscribed_unproven"
NOT_SUBSCRIBED_NOW = "not_subscribed_now"

CONFLICTS: Mapping[str, str] = {
    LIFTED_IN_ODOO: (
        "Mailchimp says opted out, but somebody removed the opt-out in Odoo: it is not added again for the "
        "same event, and the member stays unsubscribed in Mailchimp. Ask the person; if they want e-mail, "
        "they sign up again."
    ),
    MADE_IN_ODOO: (
        "The contact resubscribed themselves, but somebody had opted them out in Odoo before: that opt-out "
        "stays, and they are unsubscribed in Mailchimp. Remove it in Odoo if the contact is right."
    ),
    NEWER_IN_ODOO: (
        "The contact resubscribed themselves, and was opted out in Odoo after that: the opt-out stays, and "
        "they are unsubscribed in Mailchimp. Remove it in Odoo only if they want e-mail."
    ),
    RESUBSCRIBED_UNPROVEN: (
        "Resubscribed after an opt-out, and nothing proves that the contact did it: unsubscribed again in "
        "Mailchimp. Remove the opt-out in Odoo if the contact wants e-mail."
    ),
    NOT_SUBSCRIBED_NOW: (
        "The contact resubscribed themselves, but is no longer subscribed in that audience: the opt-out in "
        "Odoo stays. Look at the member in Mailchimp; if the contact wants e-mail, they sign up again."
    ),
}
"""What a human has to decide, by kind."""

Member = tuple[str, str]  # (list_id, email)

_LISTED_FOR = timedelta(days=30)
"""How long a subscription that was taken back is listed as a conflict."""


class DoneLike(Protocol):
    """Something that we did in Odoo."""

    @property
    def company(self) -> str: ...
    @property
    def email(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def blacklist_id(self) -> int | None: ...
    @property
    def blacklist_write_date(self) -> datetime | None: ...
    @property
    def made_by_us(self) -> bool: ...


@dataclass(frozen=True)
class Row:
    """A row of Odoo's blacklist: ``address`` as Odoo normalised it."""

    blacklist_id: int
    address: str
    active: bool
    write_date: datetime | None


@dataclass(frozen=True)
class Decision:
    """What is to be done in Odoo about one person, and why.

    event        what asks for it; None when nothing in Mailchimp does
    addresses    to opt out, as Odoo has them
    rows         to remove
    waits        an opt-out from before the audience was first read, not released yet
    is_return    it holds only while the member of ``event`` is subscribed
    postponed    whether that member is subscribed could not be asked: decided again by the next run
    """

    email: str
    action: OdooAction
    because: str
    event: ConsentEventLike | None = None
    partner_id: int | None = None
    conflict: str = ""
    addresses: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    waits: bool = False
    is_return: bool = False
    postponed: bool = False


@dataclass
class _Person:
    """What is known of one address."""

    email: str
    opt_outs: list[ConsentEventLike] = field(default_factory=list)
    elsewhere: list[ConsentEventLike] = field(default_factory=list)
    returns: list[ConsentEventLike] = field(default_factory=list)
    unproven: list[ConsentEventLike] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    done: list[DoneLike] = field(default_factory=list)


def decide_odoo_opt_outs(
    events: Iterable[ConsentEventLike],
    blacklist: pd.DataFrame,
    done: Iterable[DoneLike],
    partners: pd.DataFrame,
    *,
    company: str,
    scope: str,
    old_until: Mapping[str, datetime],
    now: datetime,
    not_subscribed: Collection[Member] = frozenset(),
    not_asked: Collection[Member] = frozenset(),
) -> list[Decision]:
    """Decide about everybody about whom Mailchimp reported something, sorted by address.

    Decisions that hold only while a member is subscribed say so (``members_to_look_at``): look at these
    members, and decide again with what was seen, before anything is done.

    Args:
        events: of all companies, without those that we made: opt-outs and subscriptions. Those of other
            companies ask for nothing here, but speak against a removal.
        blacklist: the odoo_blacklist table.
        done: what was done in Odoo, of all companies, in that order.
        partners: the odoo_partners table: addresses that Odoo knows, archived partners included.
        company: the company that asks.
        scope: everywhere (the blacklist), or company (its mailing lists and fields, which are never removed:
            that would be consent that nobody gave).
        old_until: by list id, for audiences whose old opt-outs are not released: when they were first read.
        now: the present moment, UTC.
        not_subscribed: members who were looked at and are not subscribed, or do not exist.
        not_asked: members who could not be looked at.
    """
    people = _people(events, company)
    seen = _Seen(frozenset(not_subscribed), frozenset(not_asked))
    for row in _rows(blacklist[blacklist["email"].str.lower().isin(people)]):
        if (person := people.get(row.address.lower())) is not None:
            person.rows.append(row)
    for each in done:
        here = each.scope == scope and (scope == OptOutScope.EVERYWHERE or each.company == company)
        if here and (person := people.get(each.email)) is not None:
            person.done.append(each)
    known = _known(partners, people.keys())
    decisions = []
    for email, person in sorted(people.items()):
        partner_id, addresses = known.get(email, (None, ()))
        decided = (
            _for_company(person, addresses, old_until, seen)
            if scope == OptOutScope.COMPANY
            else _everywhere(person, addresses, old_until, now, seen)
        )
        if decided is not None:
            decisions.append(replace(decided, partner_id=partner_id))
    return decisions


def members_to_look_at(decisions: Iterable[Decision]) -> list[Member]:
    """The members (list id, address) who have to be subscribed now for these decisions to hold."""
    return [(each.event.list_id, each.email) for each in decisions if each.is_return and each.event]


def returned_by_themselves(
    events: Iterable[ConsentEventLike], company: str
) -> dict[tuple[str, str], datetime]:
    """Members (list id, address) who subscribed themselves after every opt-out of theirs, and when.

    According to the reports: the caller checks whether they are subscribed now.
    """
    returned = {}
    for person in _people(events, company).values():
        against = _latest(person.elsewhere)
        for event in person.returns:
            if against is None or event.occurred_at > against.occurred_at:
                returned[(event.list_id, person.email)] = event.occurred_at
    return returned


def company_opt_outs(opt_outs: pd.DataFrame, done: Iterable[DoneLike], company: str) -> dict[str, datetime]:
    """Who is opted out of a company whose scope is ``company``, and since when (UTC).

    Everybody whom we opted out there, and who is about to be by ``opt_outs`` (the odoo_opt_outs table).
    """
    since = {
        each.email: each.occurred_at
        for each in done
        if each.scope == OptOutScope.COMPANY and each.company == company and each.action == OdooAction.OPT_OUT
    }
    due = opt_outs[
        (opt_outs["action"] == OdooAction.OPT_OUT) & (opt_outs["outcome"] != OutcomeKind.HELD_BACK)
    ]
    since.update(zip(due["email"], due["occurred_at"], strict=True))
    return since


def blacklist_after(blacklist: pd.DataFrame, opt_outs: pd.DataFrame, observed_at: datetime) -> pd.DataFrame:
    """The odoo_blacklist table as it is after ``opt_outs`` (the odoo_opt_outs table, scope everywhere).

    People who are to be opted out count as opted out, even if Odoo does not have it yet. People who are to be
    taken off the blacklist do not, unless somebody wrote the row after ``observed_at``, when that table was
    made from Odoo.
    """
    wanted = opt_outs[opt_outs["outcome"] != OutcomeKind.HELD_BACK]
    lifted = set(wanted.loc[wanted["action"] == OdooAction.LIFT, "email"])
    rows = blacklist.copy()
    if lifted:
        older = pd.to_datetime(rows["write_date"], utc=True) <= pd.Timestamp(observed_at)
        rows.loc[older & rows["email"].str.lower().isin(lifted), "active"] = False
    present = set(rows.loc[rows["active"].astype(bool), "email"])
    new = sorted(set(wanted.loc[wanted["action"] == OdooAction.OPT_OUT, "email"]) - present)
    if not new:
        return rows
    made = pd.DataFrame(
        {
            "blacklist_id": 0,
            "email": new,
            "active": True,
            "write_date": pd.Series([pd.Timestamp(observed_at)] * len(new), dtype="datetime64[us, UTC]"),
        }
    )
    return pd.concat([rows[~rows["email"].isin(new)], made], ignore_index=True)


@dataclass(frozen=True)
class _Seen:
    """What was seen of members just now."""

    not_subscribed: frozenset[Member]
    not_asked: frozenset[Member]


def _people(events: Iterable[ConsentEventLike], company: str) -> dict[str, _Person]:
    """A person with an event in this company, with what speaks for and against an opt-out."""
    people: dict[str, _Person] = {}
    others: list[ConsentEventLike] = []
    for event in events:
        if event.origin == Origin.OURS or "@" not in event.email:
            continue
        if event.company != company:
            others.append(event)
            continue
        person = people.setdefault(event.email, _Person(event.email))
        if event.event in OPTED_OUT_EVENTS:
            person.opt_outs.append(event)
            person.elsewhere.append(event)
        elif event.event == EventKind.SUBSCRIBE:
            (person.returns if event.origin == Origin.PERSON else person.unproven).append(event)
    for event in others:
        if event.event in OPTED_OUT_EVENTS and (found := people.get(event.email)) is not None:
            found.elsewhere.append(event)
    return people


def _everywhere(
    person: _Person,
    addresses: Sequence[str],
    old_until: Mapping[str, datetime],
    now: datetime,
    seen: _Seen,
) -> Decision | None:
    active = [row for row in person.rows if row.active]
    back = _came_back(person)
    if back is not None:
        return _for_returned(person, back, active, seen)
    fresh = [event for event in person.opt_outs if not is_old(event, old_until)]
    asking = _latest(fresh or person.opt_outs)
    if asking is None:
        return _unproven(person, active, None, now)
    if not addresses:
        because = "Odoo does not know the address: opted out there as soon as it appears"
        return Decision(person.email, OdooAction.NONE, because, asking)
    due = tuple(address for address in addresses if address not in {row.address for row in active})
    if not due:
        return (
            _unproven(person, active, asking, now)
            or _out_again(person, active, asking, now)
            or Decision(person.email, OdooAction.NONE, "opted out in Odoo already", asking)
        )
    last = person.done[-1] if person.done else None
    if last is not None and last.occurred_at >= asking.occurred_at:
        if last.action == OdooAction.LIFT:
            return Decision(
                person.email,
                OdooAction.NONE,
                "removed from the blacklist because of a later subscription",
                asking,
            )
        if not active:
            return Decision(
                person.email, OdooAction.NONE, CONFLICTS[LIFTED_IN_ODOO], asking, conflict=LIFTED_IN_ODOO
            )
    return _opt_out(person, asking, due, waits=not fresh)


def _for_returned(
    person: _Person, back: ConsentEventLike, active: Sequence[Row], seen: _Seen
) -> Decision | None:
    """Decide about somebody who subscribed themselves, later than every opt-out in Mailchimp."""
    if not active:
        return None
    if _all_ours_before(person, active, back):
        if (back.list_id, person.email) in seen.not_asked:
            return _postponed(person, back)
        if (back.list_id, person.email) in seen.not_subscribed:
            because = CONFLICTS[NOT_SUBSCRIBED_NOW]
            return Decision(person.email, OdooAction.NONE, because, back, conflict=NOT_SUBSCRIBED_NOW)
        because = f"resubscribed themselves to {back.audience} after the opt-out that the pipeline applied"
        return Decision(person.email, OdooAction.LIFT, because, back, rows=tuple(active), is_return=True)
    later = [row for row in active if row.write_date is not None and row.write_date >= back.occurred_at]
    conflict = NEWER_IN_ODOO if later else MADE_IN_ODOO
    return Decision(person.email, OdooAction.NONE, CONFLICTS[conflict], back, conflict=conflict)


def _postponed(person: _Person, back: ConsentEventLike) -> Decision:
    because = (
        f"resubscribed themselves to {back.audience}; whether they are still subscribed could not be "
        "asked: decided in the next run"
    )
    return Decision(person.email, OdooAction.NONE, because, back, postponed=True)


def _out_again(
    person: _Person, active: Sequence[Row], asking: ConsentEventLike, now: datetime
) -> Decision | None:
    """List a resubscription by the person themselves that was over before our row could be removed."""
    back = _latest(person.returns)
    if back is None or now - back.occurred_at > _LISTED_FOR or not _all_ours_before(person, active, back):
        return None
    if not any(
        event.list_id == back.list_id and event.occurred_at > back.occurred_at for event in person.opt_outs
    ):
        return None
    because = CONFLICTS[NOT_SUBSCRIBED_NOW]
    return Decision(person.email, OdooAction.NONE, because, asking, conflict=NOT_SUBSCRIBED_NOW)


def _all_ours_before(person: _Person, active: Sequence[Row], back: ConsentEventLike) -> bool:
    """Whether we made every one of these rows for opt-outs earlier than the return, and nobody wrote them."""
    made = {
        each.blacklist_id: each
        for each in person.done
        if each.action == OdooAction.OPT_OUT and each.made_by_us
    }
    ours = [made[row.blacklist_id] for row in active if _is_ours(row, made.get(row.blacklist_id))]
    return len(ours) == len(active) and all(back.occurred_at > each.occurred_at for each in ours)


def _unproven(
    person: _Person, active: Sequence[Row], asking: ConsentEventLike | None, now: datetime
) -> Decision | None:
    """List a subscription, not provably by the person, against an opt-out in Odoo."""
    subscribed = _latest(person.unproven)
    if subscribed is None or not active or now - subscribed.occurred_at > _LISTED_FOR:
        return None
    since = [asking.occurred_at] if asking else [row.write_date for row in active if row.write_date]
    if since and subscribed.occurred_at <= max(since):
        return None
    because = CONFLICTS[RESUBSCRIBED_UNPROVEN]
    return Decision(
        person.email, OdooAction.NONE, because, asking or subscribed, conflict=RESUBSCRIBED_UNPROVEN
    )


def _for_company(
    person: _Person, addresses: Sequence[str], old_until: Mapping[str, datetime], seen: _Seen
) -> Decision | None:
    fresh = [event for event in person.opt_outs if not is_old(event, old_until)]
    asking = _latest(fresh or person.opt_outs)
    if asking is None:
        return None
    carried = bool(person.done) and person.done[-1].occurred_at >= asking.occurred_at
    back = _came_back(person)
    if back is not None and (back.list_id, person.email) not in seen.not_subscribed:
        if carried or not addresses:
            return None
        if (back.list_id, person.email) in seen.not_asked:
            return _postponed(person, back)
        because = f"resubscribed themselves to {back.audience} after the opt-out"
        return Decision(person.email, OdooAction.NONE, because, back, is_return=True)
    if not addresses:
        because = "Odoo does not know the address: opted out there as soon as it appears"
        return Decision(person.email, OdooAction.NONE, because, asking)
    if carried:
        return Decision(
            person.email, OdooAction.NONE, "opted out of the company's lists and fields already", asking
        )
    return _opt_out(person, asking, tuple(addresses), waits=not fresh)


def _opt_out(
    person: _Person, asking: ConsentEventLike, addresses: tuple[str, ...], *, waits: bool
) -> Decision:
    because = f"{_WORDS[asking.event]} in {asking.audience} ({asking.origin})"
    if waits:
        because += ", before the audience was first read: waits for the approval of old opt-outs"
    return Decision(person.email, OdooAction.OPT_OUT, because, asking, addresses=addresses, waits=waits)


_WORDS: Mapping[str, str] = {
    EventKind.OPT_OUT: "unsubscribed",
    EventKind.CLEAN: "hard bounced",
    EventKind.COMPLAINT: "complained",
}


def _came_back(person: _Person) -> ConsentEventLike | None:
    """The person's own latest subscription, if it is later than every opt-out of any company."""
    back, against = _latest(person.returns), _latest(person.elsewhere)
    if back is None or (against is not None and back.occurred_at <= against.occurred_at):
        return None
    return back


def _is_ours(row: Row, made: DoneLike | None) -> bool:
    """Whether we made the row active, and nobody has written it since."""
    return made is not None and row.write_date is not None and made.blacklist_write_date == row.write_date


def _latest(events: Sequence[ConsentEventLike]) -> ConsentEventLike | None:
    return max(events, key=lambda event: event.occurred_at, default=None)


def _rows(blacklist: pd.DataFrame) -> Iterable[Row]:
    for blacklist_id, address, active, write_date in zip(
        blacklist["blacklist_id"],
        blacklist["email"],
        blacklist["active"],
        pd.to_datetime(blacklist["write_date"], utc=True),
        strict=True,
    ):
        moment = None if pd.isna(write_date) else write_date.to_pydatetime()
        yield Row(int(blacklist_id), address, bool(active), moment)


def _known(partners: pd.DataFrame, wanted: Iterable[str]) -> dict[str, tuple[int, tuple[str, ...]]]:
    """One partner of each of these addresses, and the forms in which Odoo has it."""
    addresses = partners["email_normalized"]
    rows = partners[addresses.notna() & addresses.str.lower().isin(set(wanted))]
    found: dict[str, tuple[int, tuple[str, ...]]] = {}
    for partner_id, address in zip(rows["partner_id"], rows["email_normalized"], strict=True):
        first, forms = found.get(address.lower(), (int(partner_id), ()))
        found[address.lower()] = (first, forms if address in forms else (*forms, address))
    return found
