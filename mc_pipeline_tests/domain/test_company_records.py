"""3.1 Who is a company and whose commercial partner, in an Odoo that has no company types."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_pipeline.domain.contacts.company_records import (
    COMPANY_IF,
    CONTACTS_BELOW,
    MEMORY,
    ODOO,
    CompanyRecord,
    PartnerInOdoo,
    judge_company_records,
)
from mc_pipeline.ledger.company_records import RememberedPartner


def now(commercial: int, parent: int | None = None, tax_id: str = "", **values: bool) -> PartnerInOdoo:
    """A partner as an Odoo without company types tells it."""
    values.setdefault("is_company", False)
    return PartnerInOdoo(commercial_partner_id=commercial, parent_id=parent, tax_id_mark=tax_id, **values)


def company(commercial: int, parent: int | None = None, tax_id: str = "") -> RememberedPartner:
    return RememberedPartner(True, commercial, parent, tax_id)


def person(commercial: int, parent: int | None = None, tax_id: str = "") -> RememberedPartner:
    return RememberedPartner(False, commercial, parent, tax_id)


def in_short(record: CompanyRecord) -> tuple[bool, int, str]:
    return record.is_company, record.commercial_partner_id, record.known_by


@pytest.mark.parametrize(
    ("partners", "memory", "number", "right"),
    [
        pytest.param({1: now(1)}, {1: company(1)}, 1, (True, 1, MEMORY), id="company without tax id"),
        pytest.param(
            {1: now(1, tax_id="f", is_company=True)},
            {1: person(1, tax_id="f")},
            1,
            (False, 1, MEMORY),
            id="person with tax id",
        ),
        pytest.param(
            {7: now(7), 8: now(7, 7), 9: now(7, 8)},
            {7: company(7), 8: company(8, 7), 9: person(8, 8)},
            9,
            (False, 8, MEMORY),
            id="buyer of a subsidiary",
        ),
        pytest.param(
            {7: now(7), 8: now(7, 7), 9: now(7, 8)},
            {7: company(7), 8: company(8, 7)},
            9,
            (False, 8, ODOO),
            id="new buyer of a known subsidiary",
        ),
        pytest.param(
            {7: now(7), 8: now(7, 7), 9: now(7, 8)}, {}, 9, (False, 7, ODOO), id="new buyer, nothing known"
        ),
        pytest.param(
            {1: now(1, tax_id="new", is_company=True)},
            {1: person(1, tax_id="old")},
            1,
            (True, 1, ODOO),
            id="memory ends when the tax id changes",
        ),
        pytest.param(
            {7: now(7, tax_id="new", is_company=True), 8: now(7, 7, "new"), 9: now(7, 8, "new")},
            {7: company(7, tax_id="f"), 8: company(8, 7, "g"), 9: person(8, 8, "g")},
            9,
            (False, 8, MEMORY),
            id="a tax id copied from the topmost parent is not their own",
        ),
        pytest.param(
            {7: now(7), 8: now(7, 7, "new"), 9: now(7, 8, "new")},
            {7: company(7), 8: company(8, 7, "g"), 9: person(8, 8, "g")},
            9,
            (False, 8, MEMORY),
            id="a contact keeps its company when that company's tax id is corrected",
        ),
        pytest.param(
            {1: now(1), 2: now(1, 1)},
            {1: company(1), 2: company(2)},
            2,
            (False, 1, ODOO),
            id="memory ends when the parent changes",
        ),
        pytest.param(
            {1: now(1), 2: now(2), 3: now(2, 2), 4: now(2, 3)},
            {1: company(1), 2: company(2), 3: person(1, 1), 4: person(1, 3)},
            4,
            (False, 2, MEMORY),
            id="whoever is between went to another company",
        ),
        pytest.param({1: now(1), 2: now(1, 1)}, {}, 1, (True, 1, CONTACTS_BELOW), id="contacts below"),
        pytest.param(
            {1: now(1), 2: now(1, 1, is_contact=False)}, {}, 1, (False, 1, ODOO), id="a delivery address"
        ),
        pytest.param(
            {1: now(1), 2: now(1, 1)}, {1: person(1)}, 1, (False, 1, MEMORY), id="a person with contacts"
        ),
        pytest.param({1: now(1, meets_company_if=True)}, {}, 1, (True, 1, COMPANY_IF), id="company_if"),
        pytest.param(
            {1: now(1, meets_company_if=True)}, {1: person(1)}, 1, (False, 1, MEMORY), id="known before"
        ),
        pytest.param({2: now(9, 1)}, {2: person(1, 1)}, 2, (False, 1, MEMORY), id="a hidden parent"),
        pytest.param(
            {2: now(9, 1)}, {1: company(1)}, 2, (False, 1, ODOO), id="a hidden parent that was a company"
        ),
        pytest.param(
            {2: now(9, 1)}, {1: person(5, 5), 5: company(5)}, 2, (False, 5, ODOO), id="above a hidden one"
        ),
        pytest.param(
            {1: now(1, 2), 2: now(1, 1)}, {2: person(2, 1)}, 1, (True, 1, CONTACTS_BELOW), id="a cycle"
        ),
        pytest.param({1: now(1, 1)}, {1: person(5, 1)}, 1, (False, 1, MEMORY), id="its own parent"),
    ],
)
def test_3_1_a_partner_is_what_it_was_until_its_own_tax_id_or_parent_changes(
    partners, memory, number, right
) -> None:
    assert in_short(judge_company_records(partners, memory)[number]) == right


def test_3_1_it_is_told_who_would_be_judged_otherwise_without_memory() -> None:
    partners = {1: now(1), 7: now(7), 8: now(7, 7), 9: now(7, 8), 10: now(7, 8), 11: now(7, 7)}
    memory = {1: person(1), 7: company(7), 8: company(8, 7), 9: person(8, 8), 11: person(7, 7)}
    judged = judge_company_records(partners, memory)
    assert {number for number, each in judged.items() if each.differs_without_memory} == {8, 9, 10}


Parents = dict[int, int | None]


@st.composite
def trees(draw: st.DrawFn) -> tuple[Parents, dict[int, bool], dict[int, str]]:
    """Partners with parents, who of them was ticked as a company, and tax ids; no cycles."""
    size = draw(st.integers(1, 12))
    parents: Parents = {}
    for number in range(1, size + 1):
        parents[number] = draw(st.sampled_from([None, *parents]))
    ticked = {number: draw(st.booleans()) for number in parents}
    tax_ids = {number: draw(st.sampled_from(["", "a", "b"])) for number in parents}
    return parents, ticked, tax_ids


def commercial(number: int, parents: Parents, ticked: dict[int, bool], topmost: bool) -> int:
    while (parent := parents[number]) is not None and (topmost or not ticked[number]):
        number = parent
    return number


def before(parents: Parents, ticked: dict[int, bool], tax_ids: dict[int, str]):
    """The partners as Odoo 17 to 19 tell them."""
    return {
        number: RememberedPartner(
            ticked[number], commercial(number, parents, ticked, False), parents[number], tax_ids[number]
        )
        for number in parents
    }


def after(parents: Parents, tax_ids: dict[int, str], shown=None):
    """The partners as Odoo 20 tells them."""
    return {
        number: now(
            (top := commercial(number, parents, {}, True)),
            parents[number],
            tax_ids[number],
            is_company=top == number and bool(tax_ids[number]),
        )
        for number in parents
        if shown is None or number in shown
    }


@given(trees(), st.data())
def test_3_1_an_upgrade_of_odoo_changes_nobody_who_was_known(tree, data) -> None:
    parents, _, tax_ids = tree
    memory = before(*tree)
    # Record rules of the upgraded Odoo may hide somebody in between.
    shown = data.draw(st.sets(st.sampled_from(sorted(parents)), min_size=1))
    judged = judge_company_records(after(parents, tax_ids, shown), memory)
    assert {number: in_short(each) for number, each in judged.items()} == {
        number: (memory[number].is_company, memory[number].commercial_partner_id, MEMORY) for number in shown
    }


@given(trees(), st.data())
def test_3_1_nobody_is_judged_by_memory_whose_own_tax_id_or_parent_changed(tree, data) -> None:
    parents, _, tax_ids = tree
    memory = before(*tree)
    number = data.draw(st.sampled_from(sorted(parents)))
    changed = {**tax_ids, number: data.draw(st.sampled_from(["c", "d"]))}
    judged = judge_company_records(after(parents, changed), memory)
    # Contacts of a company have its tax id, not one of their own.
    has_its_own = memory[number].commercial_partner_id == number
    expected = {number} if has_its_own else set()
    assert {each for each, record in judged.items() if record.known_by != MEMORY} == expected
    moved = {**parents, number: None if parents[number] else 99}
    partners = {each: now(each, moved[each], tax_ids[each]) for each in parents}
    judged = judge_company_records(partners, before(*tree))
    assert {each for each, record in judged.items() if record.known_by != MEMORY} == {number}


@given(
    st.dictionaries(st.integers(1, 6), st.integers(1, 8), min_size=1),
    st.dictionaries(st.integers(1, 8), st.tuples(st.booleans(), st.integers(1, 8), st.integers(1, 8))),
)
def test_3_1_circles_and_missing_parents_come_to_an_end(parents, remembered) -> None:
    partners = {number: now(number, parent) for number, parent in parents.items()}
    memory = {number: RememberedPartner(*values, "") for number, values in remembered.items()}
    assert judge_company_records(partners, memory).keys() == partners.keys()
