"""How an erased person is still recognised, without anybody knowing who they were (rule 10.1).

An address is replaced by an HMAC of it. With the key, the same address gives the same pseudonym, so that
erased people are recognised when Odoo or Mailchimp shows them again; without it, a pseudonym says nothing.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import pandas as pd

from mc_pipeline.domain.errors import RuleError

_PREFIX = "erased:"
SHORTEST_KEY = 16
_ADDRESS = re.compile(r'[^\s"<>(),;:\\\[\]{}|]+@[^\s"<>(),;:\\\[\]{}|]+')
_MARKS = "'`.!?="


class Pseudonyms:
    """Makes the pseudonyms of one secret key.

    ``key_id`` distinguishes keys without revealing the key: a tombstone made with another key recognises
    nobody.

    Raises:
        RuleError: the key is shorter than 16 characters, so that addresses could be guessed.
    """

    def __init__(self, key: str) -> None:
        if len(key) < SHORTEST_KEY:
            raise RuleError(f"the key has {len(key)} characters; use at least {SHORTEST_KEY}")
        self._key = key.encode()
        self.key_id = self._digest("mc_pipeline erasure key")[:16]

    def of(self, email: str) -> str:
        """The pseudonym of an address; case and surrounding space make no difference."""
        return _PREFIX + self._digest(email.strip().lower())

    def _digest(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def with_former_addresses(email: str, renames: Collection[tuple[str, str]]) -> list[str]:
    """The address and every one that the person had before, as far as ``renames`` (old, new) show; sorted.

    One of them may have been passed on since, and be somebody else's now: renames do not show that.
    """
    known = {email}
    found = {email}
    while found:
        found = {old for old, new in renames if new in found} - known
        known |= found
    return sorted(known)


class ChangeLike(Protocol):
    """A change of address in Mailchimp. ``partner_id`` None: the partner that has the former address in
    Odoo."""

    @property
    def former(self) -> str: ...
    @property
    def email(self) -> str: ...
    @property
    def partner_id(self) -> int | None: ...


def with_changed_addresses(
    named: Collection[str],
    holders: Mapping[str, Collection[int]],
    open_changes: Collection[ChangeLike],
    corrected: Collection[int] = (),
) -> set[str]:
    """The addresses, and the other one of every change in Mailchimp that Odoo does not know yet (rule 6.6).

    Args:
        named: the addresses of the people.
        holders: the partners who have these addresses in Odoo.
        open_changes: all of them.
        corrected: partners with an open change who have another address in Odoo by now: the person who has
            their former one is somebody else.
    """
    found = set(named)
    partner_ids = {number for numbers in holders.values() for number in numbers}
    for change in open_changes:
        is_corrected = change.partner_id in corrected
        # Whom Odoo has at the present address may be somebody else, who left it as well.
        is_named = change.email in named and change.email not in holders
        if change.partner_id in partner_ids or is_named:
            found |= {change.email} if is_corrected else {change.former, change.email}
        elif change.former in named and not is_corrected:
            found.add(change.email)
    return found


def addresses_in(text: str) -> Iterator[str]:
    """Every address that a text may contain: it is one, it is JSON that holds one, or it mentions one."""
    if text[:1] in ("{", "["):
        try:
            for inner in _texts_of(json.loads(text)):
                yield from _mentioned_in(inner)
            return
        except ValueError:
            pass  # no JSON: a text like any other
    yield from _mentioned_in(text)


def _mentioned_in(text: str) -> Iterator[str]:
    if "@" not in text:
        return
    yield text.strip()
    for found in _ADDRESS.findall(text):
        yield found
        yield found.strip(_MARKS)


def _texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _texts_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts_of(inner)


def without_evidence_of_before(partners: pd.DataFrame, erased_at: Mapping[int, datetime]) -> pd.DataFrame:
    """Take from partners the evidence of consent that is older than the erasure of the person, or undated.

    It counts for nothing under whatever address the partner has by now: a ticked box of the partner itself,
    and the subscriptions of an address that the partner has. Opt-outs stay, for they restrict.

    Args:
        partners: the columns partner_id, email_normalized and evidence_json of ``odoo_partners``.
        erased_at: when the person of a partner was erased (UTC).
    """
    theirs = partners["partner_id"].isin(list(erased_at))
    if not theirs.any():
        return partners
    addresses = partners["email_normalized"].map(lambda text: text.lower() if isinstance(text, str) else None)
    since: dict[str, datetime] = {}
    for partner, address in zip(partners.loc[theirs, "partner_id"], addresses[theirs], strict=True):
        if address is not None:
            since[address] = max(erased_at[partner], since.get(address, erased_at[partner]))
    concerned = (theirs | addresses.isin(list(since))) & ~partners["evidence_json"].isin(["[]", ""])

    def left(text: Any) -> Any:
        if not isinstance(text, str):
            return text
        items = json.loads(text)
        kept = [item for item in items if item.get("opted_out") or not _is_void(item, erased_at, since)]
        return text if len(kept) == len(items) else json.dumps(kept, ensure_ascii=False)

    evidence = partners["evidence_json"].copy()
    evidence[concerned] = evidence[concerned].map(left)
    return partners.assign(evidence_json=evidence)


def _is_void(
    item: Mapping[str, Any], erased_at: Mapping[int, datetime], since: Mapping[str, datetime]
) -> bool:
    """Whether evidence is from before the erasure of the person whom it speaks of."""
    if item["kind"] == "boolean_field":
        at = erased_at.get(item.get("record_id") or 0)
    else:
        at = since.get(str(item["address"]).strip().lower())
    if at is None:
        return False
    date = item.get("consented_at")
    if not date:
        return True
    consented_at = datetime.fromisoformat(date)
    return (consented_at if consented_at.tzinfo else consented_at.replace(tzinfo=UTC)) <= at
