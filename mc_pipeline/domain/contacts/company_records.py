"""Which partners are companies and who is whose commercial partner, where Odoo no longer has company types.

Until Odoo 19.0 a user says who is a company, and the commercial partner is the first company upwards. From
19.1 (Odoo Online) and 20 on ``is_company`` means "its own commercial partner, with a tax id" by rules of each
country, and the commercial partner is the topmost parent (Odoo, base/models/res_partner.py). So what was last
read from a version with company types is remembered, and holds until the partner's own tax id or parent
changes: an upgrade of Odoo moves nobody who was known before it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

from mc_pipeline.domain.columns import flags, ids, items, texts
from mc_pipeline.domain.company import CompanyIfRule
from mc_pipeline.domain.contacts.tags import TagCatalogue
from mc_pipeline.domain.errors import RuleError

ODOO = "odoo"
MEMORY = "memory"
CONTACTS_BELOW = "contacts_below"
COMPANY_IF = "company_if"
"""By what it is known whether a partner is a company: Odoo says so; it was so when Odoo last had company
types; contacts are below it; the setting ``company_if`` holds."""


class Remembered(Protocol):
    """A partner as last read from an Odoo with company types.

    ``tax_id_mark`` is the mark of its tax id by which a change is seen ("" for none). ``company_name``: the
    name of a company that was typed on the contact itself, which Odoo has no field for from 19.4 on ("" for
    none).
    """

    @property
    def is_company(self) -> bool: ...
    @property
    def commercial_partner_id(self) -> int: ...
    @property
    def parent_id(self) -> int | None: ...
    @property
    def tax_id_mark(self) -> str: ...
    @property
    def company_name(self) -> str: ...


@dataclass(frozen=True, slots=True)
class PartnerInOdoo:
    """A partner as Odoo shows it now.

    ``is_contact``: its address type is contact: a delivery or invoice address below makes nobody a company.
    ``meets_company_if``: the company's setting ``company_if`` holds for it.
    """

    is_company: bool
    commercial_partner_id: int
    parent_id: int | None
    tax_id_mark: str
    is_contact: bool = True
    meets_company_if: bool = False


@dataclass(frozen=True, slots=True)
class CompanyRecord:
    """What a partner counts as: a company or a person, its commercial partner, and by what that is known.

    ``differs_without_memory``: without anything remembered, of itself or of others, it would be judged
    otherwise.
    """

    is_company: bool
    commercial_partner_id: int
    known_by: str
    differs_without_memory: bool = False


def judge_company_records(
    partners: Mapping[int, PartnerInOdoo], memory: Mapping[int, Remembered]
) -> dict[int, CompanyRecord]:
    """Judge the partners of an Odoo without company types; the keys are ids of res.partner.

    Args:
        partners: all partners that Odoo shows, archived ones too.
        memory: what was remembered of any partner, also of those that Odoo does not show now.

    A partner that is remembered, and whose own tax id and parent are as they were, is what it was. Its
    remembered commercial partner counts as long as it is still above it, or is hidden. Any other partner is a
    company when Odoo says so, a contact is below it, or ``company_if`` holds; its commercial partner is the
    nearest one upwards that memory calls a company, else Odoo's.
    """
    with_contacts = {each.parent_id for each in partners.values() if each.is_contact and each.parent_id}
    valid = {
        number: remembered
        for number, remembered in memory.items()
        if number not in partners or _is_as_it_was(number, remembered, partners)
    }
    judged = {}
    for number, partner in partners.items():
        by_rule, reason = _company_by_rule(partner, number in with_contacts)
        forgotten = CompanyRecord(by_rule, partner.commercial_partner_id, reason)
        remembered = valid.get(number)
        is_company, commercial = by_rule, None
        if remembered is not None:
            is_company, reason = remembered.is_company, MEMORY
            commercial = _remembered_commercial(number, remembered, partners, valid)
        if commercial is None:
            commercial = _nearest_company(number, partners, valid) or partner.commercial_partner_id
        differs = (is_company, commercial) != (forgotten.is_company, forgotten.commercial_partner_id)
        judged[number] = CompanyRecord(is_company, commercial, reason, differs)
    return judged


def _is_as_it_was(number: int, remembered: Remembered, partners: Mapping[int, PartnerInOdoo]) -> bool:
    """Whether its parent and its own tax id are those of then.

    Odoo copies the tax id of a commercial partner to everybody below: until 19.0 that of the company of a
    contact, after that the one of the topmost parent. What was copied is not their own.
    """
    partner = partners[number]
    had_one_copied = remembered.commercial_partner_id != number
    top = partners.get(partner.commercial_partner_id, partner)
    is_copied = top is not partner and partner.tax_id_mark == top.tax_id_mark
    is_same = had_one_copied or is_copied or partner.tax_id_mark == remembered.tax_id_mark
    return is_same and partner.parent_id == remembered.parent_id


def _company_by_rule(partner: PartnerInOdoo, has_contacts: bool) -> tuple[bool, str]:
    if partner.is_company:
        return True, ODOO
    if has_contacts:
        return True, CONTACTS_BELOW
    if partner.meets_company_if:
        return True, COMPANY_IF
    return False, ODOO


def _remembered_commercial(
    number: int,
    remembered: Remembered,
    partners: Mapping[int, PartnerInOdoo],
    memory: Mapping[int, Remembered],
) -> int | None:
    """The remembered commercial partner; None when a partner in between went to another parent."""
    commercial = remembered.commercial_partner_id
    if commercial == number:
        return commercial
    last = number
    for above in _upwards(number, partners, memory):
        if above == commercial:
            return commercial
        last = above
    # Where the way up ends at somebody hidden, nothing says that it is another one than before.
    return commercial if last not in partners else None


def _nearest_company(
    number: int, partners: Mapping[int, PartnerInOdoo], memory: Mapping[int, Remembered]
) -> int | None:
    for above in _upwards(number, partners, memory):
        if above in memory and memory[above].is_company:
            return above
    return None


def _upwards(
    number: int, partners: Mapping[int, PartnerInOdoo], memory: Mapping[int, Remembered]
) -> Iterator[int]:
    """The partners above one, the nearest first; above a hidden one, those that memory knows. Never twice."""
    seen = {number}
    while True:
        here: PartnerInOdoo | Remembered | None = partners.get(number) or memory.get(number)
        if here is None or here.parent_id is None or here.parent_id in seen:
            return
        number = here.parent_id
        seen.add(number)
        yield number


def with_company_records(
    rows: pd.DataFrame,
    memory: Mapping[int, Remembered],
    company_if: CompanyIfRule | None,
    known_tags: Mapping[int, str],
) -> pd.DataFrame:
    """Judge the partners of an Odoo without company types, and name the company of each.

    Args:
        rows: partners as they were read (``odoo.partners.read_partners``), with Odoo's own values.
        memory: what was remembered of partners, by id.
        company_if: the company's setting.
        known_tags: every tag of Odoo (id to full path); needed where ``company_if`` names tags.

    Returns:
        The rows with ``is_company``, ``commercial_partner_id``, ``company_name``, ``company_known_by`` and
        ``differs_without_memory`` as judged.

    Raises:
        RuleError: a tag that ``company_if`` names fits several tags of Odoo, or none.
    """
    partners = _partners_in_odoo(rows, company_if, known_tags)
    judged = judge_company_records(partners, memory)
    found = [judged[number] for number in partners]
    columns: dict[str, list[Any]] = {
        "is_company": [each.is_company for each in found],
        "commercial_partner_id": [each.commercial_partner_id for each in found],
        "company_known_by": [each.known_by for each in found],
        "differs_without_memory": [each.differs_without_memory for each in found],
        "company_name": _company_names(rows, partners, judged, memory),
    }
    return rows.assign(
        **{
            name: pd.Series(values, index=rows.index, dtype=rows[name].dtype)
            for name, values in columns.items()
        }
    )


def to_remember(rows: pd.DataFrame) -> dict[int, dict[str, Any]]:
    """List what to remember of partners read from an Odoo with company types, by id (see ``Remembered``).

    The company's name that was typed on a contact counts only where it has no commercial partner that is a
    company: elsewhere Odoo shows that one's name.
    """
    names = _typed_names_in_use(rows)
    columns = zip(
        rows["partner_id"].tolist(),
        flags(rows, "is_company").tolist(),
        rows["commercial_partner_id"].tolist(),
        ids(rows, "parent_id").tolist(),
        texts(rows, "tax_id_mark"),
        names,
        strict=True,
    )
    return {
        int(number): {
            "is_company": is_company,
            "commercial_partner_id": int(commercial),
            "parent_id": None if pd.isna(parent) else int(parent),
            "tax_id_mark": mark or "",
            "company_name": name or "",
        }
        for number, is_company, commercial, parent, mark, name in columns
    }


def _typed_names_in_use(rows: pd.DataFrame) -> list[str | None]:
    typed, shown = texts(rows, "typed_company_name"), texts(rows, "company_name")
    return [name if name == used else None for name, used in zip(typed, shown, strict=True)]


def _partners_in_odoo(
    rows: pd.DataFrame, company_if: CompanyIfRule | None, known_tags: Mapping[int, str]
) -> dict[int, PartnerInOdoo]:
    wanted: set[int | None] = set()
    if company_if is not None and company_if.any_tag:
        catalogue = TagCatalogue(known_tags, complete=True)
        try:
            wanted = {catalogue.find(name) for name in company_if.any_tag}
        except RuleError as error:
            raise RuleError(f"company_if.any_tag: {error}") from None
    meets = [
        is_ticked or not wanted.isdisjoint(items(tags))
        for is_ticked, tags in zip(flags(rows, "company_if_field"), rows["tag_ids"], strict=True)
    ]
    columns = zip(
        rows["partner_id"].tolist(),
        flags(rows, "is_company").tolist(),
        rows["commercial_partner_id"].tolist(),
        ids(rows, "parent_id").tolist(),
        texts(rows, "tax_id_mark"),
        (rows["type"] == "contact").tolist(),
        meets,
        strict=True,
    )
    return {
        int(number): PartnerInOdoo(
            is_company=is_company,
            commercial_partner_id=int(commercial),
            parent_id=None if pd.isna(parent) else int(parent),
            tax_id_mark=mark or "",
            is_contact=is_contact,
            meets_company_if=is_met,
        )
        for number, is_company, commercial, parent, mark, is_contact, is_met in columns
    }


def _company_names(
    rows: pd.DataFrame,
    partners: Mapping[int, PartnerInOdoo],
    judged: Mapping[int, CompanyRecord],
    memory: Mapping[int, Remembered],
) -> list[str | None]:
    """The name of each partner's company: never a private person's own name.

    As until Odoo 19.0: the name of the commercial partner that is a company, else what was typed on the
    contact. Of a commercial partner that is hidden, only Odoo's word is there.
    """
    names = dict(zip(partners, texts(rows, "name"), strict=True))
    field_is_gone = "typed_company_name" not in rows.columns
    found = []
    columns = zip(partners, texts(rows, "typed_company_name"), texts(rows, "name_by_odoo"), strict=True)
    for number, typed, by_odoo in columns:
        record = judged[number]
        commercial = record.commercial_partner_id
        if field_is_gone and record.known_by == MEMORY:
            typed = memory[number].company_name or None
        if commercial in judged:
            found.append(names[commercial] if judged[commercial].is_company else typed)
        elif commercial in memory and not memory[commercial].is_company:
            found.append(typed)
        else:
            same = commercial == partners[number].commercial_partner_id
            found.append(by_odoo if same else typed)
    return found
