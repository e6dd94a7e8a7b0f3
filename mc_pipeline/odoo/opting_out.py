"""Opting people out in Odoo, in bulk: the blacklist of addresses, mailing lists, boolean fields of partners.

Odoo says "done" where nothing is done: ``create`` of an address whose row is archived gives that row's id and
leaves it archived, and a list of values comes back shorter than it was sent. So nothing is believed but what
is read back. Writes are never repeated by the client unless they surely did not arrive; here they are, after
reading back, because each of them may be done twice without harm.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from mc_pipeline.chunks import chunks_of
from mc_pipeline.masking import mask_email
from mc_pipeline.odoo.client import OdooClient, Record
from mc_pipeline.odoo.errors import OdooError, OdooRecordMissingError, OdooValidationError, Retry
from mc_pipeline.vocabulary import OutcomeKind

OptOutOutcome = Literal[
    OutcomeKind.APPLIED,
    OutcomeKind.UNCHANGED,
    OutcomeKind.REJECTED,
    OutcomeKind.HELD_BACK,
    OutcomeKind.UNKNOWN,
]

PAGE = 1000
"""Addresses in one call."""

_BLACKLIST = "mail.blacklist"
_ROUNDS = 3
_OTHER_FORM = "Odoo keeps this address in another form; that one is opted out"


@dataclass(frozen=True)
class BlacklistRow:
    """A row of mail.blacklist as it was last seen; by ``write_date`` (UTC) a later change shows."""

    address: str
    blacklist_id: int
    write_date: datetime | None


@dataclass(frozen=True)
class OptOutResult:
    """What came of one address.

    outcome       applied    it is as wanted now, and was not before
                  unchanged  it was so already
                  rejected   Odoo refuses this address; ``detail`` has its reason
                  held_back  not done: somebody changed it in Odoo meanwhile
                  unknown    the connection broke, and what can be read does not show it done
    blacklist_id  the row of mail.blacklist, where there is one
    by_us         the row is as it is by our writing, not by somebody else's in the same moment
    last_by_us    our user was the last to write the row
    write_date    of the row after it (UTC)
    """

    address: str
    outcome: OptOutOutcome
    detail: str = ""
    blacklist_id: int | None = None
    by_us: bool = False
    write_date: datetime | None = None
    last_by_us: bool = False

    def __repr__(self) -> str:
        return f"OptOutResult({mask_email(self.address)}, {self.outcome}, blacklist_id={self.blacklist_id})"


def blacklist(client: OdooClient, addresses: Iterable[str]) -> list[OptOutResult]:
    """Make the row of each address active, whatever there is: none, an archived one, an active one.

    ``addresses`` are in Odoo's normal form (lower case; ``in`` does not normalise). One result per different
    address, in order. All partners with the address, of all companies, are opted out by it.

    Raises OdooAccessError without the right Email Marketing / User, OdooConnectionError when Odoo cannot be
    reached at all; what was done before can be read back.
    """
    return [result for page in _pages(addresses) for result in _blacklist_page(client, page)]


def lift(client: OdooClient, rows: Iterable[BlacklistRow]) -> list[OptOutResult]:
    """Archive rows of the blacklist, each only as long as nobody changed it since it was last seen.

    Raises OdooAccessError, OdooConnectionError.
    """
    return [result for page in chunks_of(PAGE, rows) for result in _lift_page(client, page)]


def opt_out_of_list(client: OdooClient, list_id: int, addresses: Iterable[str]) -> list[OptOutResult]:
    """Opt each address out of a mailing list: all contacts with it, and a new one where there is none.

    A contact that is not on the list gets onto it opted out, so that nobody's import adds it as subscribed.
    Raises OdooAccessError without the right Email Marketing / User, OdooConnectionError.
    """
    return [result for page in _pages(addresses) for result in _opt_out_of_list_page(client, list_id, page)]


def clear_field(client: OdooClient, field: str, addresses: Iterable[str]) -> list[OptOutResult]:
    """Untick a boolean field of every partner, of the client's companies, that has one of the addresses.

    A branch's customers may be the partners of the companies above it: ``companies.seeing_partners``.

    Raises OdooAccessError when the user may not write partners, OdooConnectionError.
    """
    return [result for page in _pages(addresses) for result in _clear_field_page(client, field, page)]


def find_mailing_list(client: OdooClient, named: str | int) -> int:
    """The id of a mailing list that the settings name by id or name.

    Raises OdooValidationError for a name that no list or several have.
    """
    if isinstance(named, int):
        return named
    wanted = named.strip().casefold()
    lists = client.search_read("mailing.list", [("name", "=ilike", named.strip())], ["name"])
    found = sorted(int(row["id"]) for row in lists if str(row["name"] or "").strip().casefold() == wanted)
    if len(found) != 1:
        raise OdooValidationError(
            f"consent.mailing_list {named!r} fits {f'several lists: {found}' if found else 'no list'} in "
            "Odoo; name one by its id",
            "mailing.list",
            "search_read",
        )
    return found[0]


def read_blacklist_rows(client: OdooClient, addresses: Iterable[str]) -> dict[str, OptOutResult]:
    """The state of these addresses on the blacklist, to learn the outcome of a write whose answer was lost.

    ``applied``: its row is active; ``unchanged``: archived. Addresses without a row are left out.
    """
    found: dict[str, OptOutResult] = {}
    for page in _pages(addresses):
        for address, row in _blacklist_rows(client, page).items():
            found[address] = _seen(
                client, address, row, OutcomeKind.APPLIED if row["active"] else OutcomeKind.UNCHANGED
            )
    return found


def _blacklist_page(client: OdooClient, page: Sequence[str]) -> list[OptOutResult]:
    refused: dict[str, str] = {}

    def read() -> dict[str, Record]:
        return _blacklist_rows(client, page)

    def write(rows: dict[str, Record]) -> bool:
        archived = [row["id"] for row in rows.values() if not row["active"]]
        missing = [address for address in page if address not in rows and address not in refused]
        if archived:
            client.execute(_BLACKLIST, "write", archived, {"active": True})
        if missing:
            refused.update(_created(client, missing))
        return bool(archived or missing)

    before = read()
    after, trouble = _until_done(write, read, before)
    results = []
    for address in page:
        row = after.get(address)
        if row is not None and row["active"]:
            was_active = address in before and before[address]["active"]
            results.append(
                _seen(client, address, row, OutcomeKind.UNCHANGED if was_active else OutcomeKind.APPLIED)
            )
        elif address in refused:
            results.append(OptOutResult(address, OutcomeKind.REJECTED, refused[address]))
        elif row is None and (other := _in_another_form(client, address)) is not None:
            results.append(replace(_seen(client, address, other, OutcomeKind.APPLIED), detail=_OTHER_FORM))
        else:
            results.append(_undone(address, trouble))
    return results


def _lift_page(client: OdooClient, page: Sequence[BlacklistRow]) -> list[OptOutResult]:
    known = {row.blacklist_id: row for row in page}

    def read() -> dict[int, Record]:
        return {row["id"]: row for row in client.read(_BLACKLIST, list(known), _ROW_FIELDS)}

    def due(rows: dict[int, Record]) -> list[int]:
        return [
            row_id
            for row_id, row in rows.items()
            if row["active"] and _time(row["write_date"]) == known[row_id].write_date
        ]

    def write(rows: dict[int, Record]) -> bool:
        ids = due(rows)
        if ids:
            client.execute(_BLACKLIST, "write", ids, {"active": False})
        return bool(ids)

    before = read()
    after, trouble = _until_done(write, read, before)
    were_due, still_due = set(due(before)), set(due(after))
    results = []
    for row_id, seen in known.items():
        row = after.get(row_id)
        if row is None:
            results.append(OptOutResult(seen.address, OutcomeKind.UNCHANGED, "the row is deleted in Odoo"))
        elif not row["active"]:
            results.append(
                _seen(
                    client,
                    seen.address,
                    row,
                    OutcomeKind.APPLIED if row_id in were_due else OutcomeKind.UNCHANGED,
                )
            )
        elif row_id in still_due:
            results.append(_undone(seen.address, trouble))
        else:
            detail = "somebody changed the row in Odoo meanwhile: it stays"
            results.append(OptOutResult(seen.address, OutcomeKind.HELD_BACK, detail, row_id))
    return results


def _opt_out_of_list_page(client: OdooClient, list_id: int, page: Sequence[str]) -> list[OptOutResult]:
    answered: set[str] = set()

    def read() -> dict[str, list[_Listed]]:
        return _contacts_of_list(client, list_id, page)

    def write(found: dict[str, list[_Listed]]) -> bool:
        contacts = [each for listed in found.values() for each in listed]
        subscribed = [each.subscription_id for each in contacts if each.subscription_id and not each.opt_out]
        absent = [each.contact_id for each in contacts if not each.subscription_id]
        # An address that Odoo does not take makes a contact without one: never a second such.
        unknown = [address for address in page if address not in found and address not in answered]
        if subscribed:
            client.execute("mailing.subscription", "write", subscribed, {"opt_out": True})
        if unknown:
            values = [{"name": address, "email": address} for address in unknown]
            absent += client.execute("mailing.contact", "create", values)
            answered.update(unknown)
        if absent:
            rows = [{"contact_id": each, "list_id": list_id, "opt_out": True} for each in absent]
            client.execute("mailing.subscription", "create", rows)
        return bool(subscribed or absent)

    before = read()
    after, trouble = _until_done(write, read, before)
    return [
        OptOutResult(address, OutcomeKind.UNCHANGED if _is_out(before.get(address)) else OutcomeKind.APPLIED)
        if _is_out(after.get(address))
        else _undone(address, trouble)
        for address in page
    ]


def _clear_field_page(client: OdooClient, field: str, page: Sequence[str]) -> list[OptOutResult]:
    refused: dict[int, str] = {}

    def read() -> dict[int, Record]:
        domain = [("email_normalized", "in", list(page)), (field, "=", True)]
        return {row["id"]: row for row in client.search_read("res.partner", domain, ["email_normalized"])}

    def write(ticked: dict[int, Record]) -> bool:
        ids = [partner for partner in ticked if partner not in refused]
        if ids:
            refused.update(_written(client, "res.partner", ids, {field: False}))
        return bool(ids)

    before = read()
    after, trouble = _until_done(write, read, before)
    ticked = {row["email_normalized"] for row in before.values()}
    left = {row["email_normalized"]: partner for partner, row in after.items()}
    results = []
    for address in page:
        if address not in left:
            results.append(
                OptOutResult(address, OutcomeKind.APPLIED if address in ticked else OutcomeKind.UNCHANGED)
            )
        elif reason := refused.get(left[address]):
            results.append(OptOutResult(address, OutcomeKind.REJECTED, reason))
        else:
            results.append(_undone(address, trouble))
    return results


def _until_done(
    write: Callable[[Any], bool], read: Callable[[], Any], state: Any
) -> tuple[Any, OdooError | None]:
    """Write what the state lacks and read it back, until nothing is lacking or it will not help.

    Returns the last state and the last trouble. ``write`` returns whether anything was lacking.
    """
    trouble: OdooError | None = None
    for _ in range(_ROUNDS):
        try:
            if not write(state):
                return state, None
        except OdooError as error:
            # READS: perhaps done. A record that is gone stopped the others of its call.
            if error.retry is not Retry.READS and not isinstance(error, OdooRecordMissingError):
                raise
            trouble = error
        state = read()
    return state, trouble


def _created(client: OdooClient, addresses: Sequence[str]) -> dict[str, str]:
    """Create rows of the blacklist; return the addresses that Odoo refuses, with its reason.

    Odoo refuses the whole list for one of them: they are found by halving it.
    """
    try:
        client.execute(_BLACKLIST, "create", [{"email": address} for address in addresses])
    except OdooValidationError as error:
        if len(addresses) == 1:
            return {addresses[0]: error.message}
        middle = len(addresses) // 2
        return _created(client, addresses[:middle]) | _created(client, addresses[middle:])
    return {}


def _written(client: OdooClient, model: str, ids: list[int], values: dict[str, Any]) -> dict[int, str]:
    """Write records; return those that Odoo refuses, with its reason."""
    try:
        client.execute(model, "write", ids, values)
    except OdooValidationError as error:
        if len(ids) == 1:
            return {ids[0]: error.message}
        middle = len(ids) // 2
        return _written(client, model, ids[:middle], values) | _written(client, model, ids[middle:], values)
    return {}


_ROW_FIELDS = ("email", "active", "write_date", "write_uid")


def _blacklist_rows(client: OdooClient, addresses: Sequence[str]) -> dict[str, Record]:
    rows = client.search_read(_BLACKLIST, [("email", "in", list(addresses))], _ROW_FIELDS)
    return {row["email"]: row for row in rows}


def _in_another_form(client: OdooClient, address: str) -> Record | None:
    """The active row that Odoo itself finds for the address: unlike ``in``, ``=`` normalises."""
    rows = client.search_read(_BLACKLIST, [("email", "=", address)], _ROW_FIELDS)
    return next((row for row in rows if row["active"]), None)


def _seen(client: OdooClient, address: str, row: Record, outcome: OptOutOutcome) -> OptOutResult:
    last_by_us = row["write_uid"] == client.user_id
    return OptOutResult(
        address,
        outcome,
        blacklist_id=row["id"],
        by_us=outcome == OutcomeKind.APPLIED and last_by_us,
        write_date=_time(row["write_date"]),
        last_by_us=last_by_us,
    )


def _undone(address: str, trouble: OdooError | None) -> OptOutResult:
    if trouble is not None:
        return OptOutResult(address, OutcomeKind.UNKNOWN, trouble.message)
    return OptOutResult(
        address, OutcomeKind.REJECTED, "Odoo reported success, but nothing changed: look at Odoo's log"
    )


@dataclass(frozen=True)
class _Listed:
    """A mailing contact beside a list: ``subscription_id`` None when it is not on it."""

    contact_id: int
    subscription_id: int | None
    opt_out: bool


def _contacts_of_list(client: OdooClient, list_id: int, addresses: Sequence[str]) -> dict[str, list[_Listed]]:
    domain: list[Any] = [("email_normalized", "in", list(addresses))]
    contacts = client.search_read("mailing.contact", domain, ["email_normalized"])
    domain = [("contact_id", "in", [contact["id"] for contact in contacts]), ("list_id", "=", list_id)]
    rows = client.search_read("mailing.subscription", domain, ["contact_id", "opt_out"]) if contacts else []
    by_contact = {row["contact_id"]: row for row in rows}
    found: dict[str, list[_Listed]] = {}
    for contact in contacts:
        row = by_contact.get(contact["id"])
        listed = _Listed(contact["id"], row["id"] if row else None, bool(row and row["opt_out"]))
        found.setdefault(contact["email_normalized"], []).append(listed)
    return found


def _is_out(contacts: Sequence[_Listed] | None) -> bool:
    return bool(contacts) and all(contact.opt_out for contact in contacts or ())


def _pages(addresses: Iterable[str]) -> list[list[str]]:
    return list(chunks_of(PAGE, dict.fromkeys(address.strip() for address in addresses)))


def _time(value: Any) -> datetime | None:
    return datetime.fromisoformat(str(value)).replace(tzinfo=UTC) if value else None
