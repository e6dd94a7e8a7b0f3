"""Evidence of consent found in Odoo: what was found, and which of it counts.

Evidence is a mailing-list subscription that was not opted out, or a ticked box on the partner. Which of them
an audience accepts is named in its settings; what status follows is decided in ``consent``, and who took
consent back in ``withdrawals``.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mc_pipeline.domain.company import ConsentRule
from mc_pipeline.domain.errors import RuleError

MAILING_LIST = "mailing_list"
BOOLEAN_FIELD = "boolean_field"


@dataclass(frozen=True)
class Evidence:
    """One statement of Odoo about one address.

    ``source`` is the mailing list's name or the field's technical name, ``record_id`` the mailing list's or
    the partner's id, ``subscription_id`` the mailing subscription's. ``consented_at`` is Odoo's own time of
    it, None when Odoo has none; no time is invented.
    """

    source: str
    kind: str
    address: str
    record_id: int | None = None
    consented_at: datetime | None = None
    opted_out: bool = False
    opted_out_at: datetime | None = None
    subscription_id: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what is kept with a contact: what was relied on, for which address, since when."""
        return {
            "source": self.source,
            "kind": self.kind,
            "record_id": self.record_id,
            **({"subscription_id": self.subscription_id} if self.subscription_id is not None else {}),
            "address": self.address,
            "at": self.consented_at.isoformat() if self.consented_at else None,
        }


def _time(value: Any) -> datetime | None:
    if not value:
        return None
    time = datetime.fromisoformat(value)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def parse_evidence(evidence_json: str | None) -> tuple[Evidence, ...]:
    """Read the ``evidence_json`` column of one partner.

    Raises:
        RuleError: the text is not a list of evidence as the reader of Odoo writes it.
    """
    if not evidence_json or evidence_json == "[]":
        return ()
    try:
        return tuple(
            Evidence(
                source=str(item["source"]),
                kind=item["kind"],
                address=str(item["address"]).strip().lower(),
                record_id=item.get("record_id"),
                consented_at=_time(item.get("consented_at")),
                opted_out=bool(item.get("opted_out")),
                opted_out_at=_time(item.get("opted_out_at")),
                subscription_id=item.get("subscription_id"),
            )
            for item in json.loads(evidence_json)
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RuleError(
            f"evidence_json must be a list of objects with source, kind and address, found a "
            f"{type(error).__name__}; read the partners again"
        ) from None


def _accepts(consent: ConsentRule, evidence: Evidence) -> bool:
    if evidence.kind == BOOLEAN_FIELD:
        return consent.boolean_field is not None and evidence.source == consent.boolean_field
    if evidence.kind != MAILING_LIST or consent.mailing_list is None:
        return False
    if isinstance(consent.mailing_list, int):
        return evidence.record_id == consent.mailing_list
    return evidence.source.strip().casefold() == consent.mailing_list.strip().casefold()


def require_one_list(evidence: Iterable[Evidence], consent: ConsentRule) -> None:
    """Refuse a name that several mailing lists have: consent to one is no consent to another.

    Raises:
        RuleError: naming the ids of the lists.
    """
    lists = {
        item.record_id
        for item in evidence
        if item.kind == MAILING_LIST and item.record_id is not None and _accepts(consent, item)
    }
    if len(lists) > 1:
        raise RuleError(
            f"the mailing list name {consent.mailing_list!r} fits several lists in Odoo: "
            f"{', '.join(map(str, sorted(lists)))}; name one by its id"
        )


@dataclass(frozen=True)
class EvidenceVerdict:
    """The evidence that counts (None: none does), and why in a sentence's second half."""

    evidence: Evidence | None
    because: str


def counting_evidence(evidence: Iterable[Evidence], consent: ConsentRule | None) -> EvidenceVerdict:
    """Choose the evidence that counts for an audience: of a named source, not opted out, dated.

    An opt-out from a named source wins over every consent, however many mailing contacts share the address.
    Of several consents the latest counts.

    Raises:
        RuleError: the name of the mailing list fits several lists.
    """
    if consent is None or (consent.mailing_list is None and consent.boolean_field is None):
        return EvidenceVerdict(None, "the audience names no evidence of consent")
    accepted = [item for item in evidence if _accepts(consent, item)]
    require_one_list(accepted, consent)
    if any(item.opted_out for item in accepted):
        return EvidenceVerdict(None, "opted out in Odoo of a list or field that the audience relies on")
    if not accepted:
        return EvidenceVerdict(None, "no evidence of consent in Odoo")
    dated = [item for item in accepted if item.consented_at is not None]
    if dated:
        latest = max(dated, key=lambda item: (item.consented_at, item.source, item.record_id or 0))
        assert latest.consented_at is not None
        return EvidenceVerdict(latest, f"consent by {latest.source} on {latest.consented_at:%Y-%m-%d}")
    if not consent.accept_undated:
        return EvidenceVerdict(None, "the consent in Odoo has no date")
    undated = min(accepted, key=lambda item: (item.source, item.record_id or 0))
    return EvidenceVerdict(undated, f"consent by {undated.source}, undated")
