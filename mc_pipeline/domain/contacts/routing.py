"""Which audience a contact belongs to, and why.

Company type, country and industry are judged on the commercial partner: in Odoo every contact of a company
is a ``person`` without tags of its own, and judged naively all B2B buyers would land in the B2C audience.
Conditions are data, never evaluated expressions.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from mc_pipeline.domain.columns import map_texts, texts
from mc_pipeline.domain.company import AmountRule, AudienceRules, RoutingRule
from mc_pipeline.domain.contacts.tags import TagCatalogue, TagHolders
from mc_pipeline.domain.errors import RuleError

AMOUNT_FIELDS = ("order_count", "total_spent", "first_order_date", "last_order_date")
"""What a bound may be put on. Dates are days in the company's timezone."""


class RoutingFacts:
    """What rules may ask about contacts, one row each, in the order of ``rows``.

    Args:
        rows: judged partners joined with their person's ``AMOUNT_FIELDS`` (dates as midnights without zone).
        partners: all judged partners, for the commercial partners of ``rows``.

    A commercial partner that is not among ``partners`` (Odoo did not show it) makes every condition about it
    fail, and ``no_tag`` too: nobody is put in an audience on what could not be seen.
    """

    def __init__(self, rows: pd.DataFrame, partners: pd.DataFrame) -> None:
        self.rows = rows.reset_index(drop=True)
        commercial = partners.set_index("partner_id").reindex(self.rows["commercial_partner_id"])
        commercial = commercial.reset_index(drop=True)
        self.commercial_known = commercial["is_company"].notna().to_numpy()
        self.commercial_is_company = (commercial["is_company"] == True).to_numpy()  # noqa: E712 - may be missing
        self.country = map_texts(texts(commercial, "country_code"), str.upper)
        self.industry = map_texts(texts(commercial, "industry"), _folded)
        self.language = texts(self.rows, "lang")
        self.tags = TagHolders(self.rows["tag_ids"], commercial["tag_ids"])


@dataclass(frozen=True)
class Condition:
    """One condition of a rule, in words, and for which rows of the facts it holds."""

    wanted: str
    holds: np.ndarray


def judge_conditions(rule: RoutingRule, facts: RoutingFacts, catalogue: TagCatalogue) -> list[Condition]:
    """Judge every condition that a rule has; an empty rule has none.

    Raises:
        RuleError: a tag name fits several tags, or a condition is about something that rules cannot ask.
    """
    known = facts.commercial_known
    conditions = []
    if rule.company_type is not None:
        is_wanted = facts.commercial_is_company == (rule.company_type == "company")
        conditions.append(Condition(f"its commercial partner is a {rule.company_type}", known & is_wanted))
    if rule.countries:
        countries = [country.upper() for country in rule.countries]
        conditions.append(
            Condition(
                f"the country is {_either(countries)}", known & facts.country.isin(countries).to_numpy()
            )
        )
    if rule.industries:
        names = [_industry_name(name) for name in rule.industries]
        folded = [_folded(name) for name in names]
        conditions.append(
            Condition(f"the industry is {_either(names)}", known & facts.industry.isin(folded).to_numpy())
        )
    if rule.any_tag:
        held = np.logical_or.reduce([facts.tags.having(catalogue.find(name)) for name in rule.any_tag])
        conditions.append(Condition(f"it has the tag {_tag_names(rule.any_tag, catalogue, ' or ')}", held))
    if rule.all_tags:
        held = np.logical_and.reduce([facts.tags.having(catalogue.find(name)) for name in rule.all_tags])
        conditions.append(Condition(f"it has the tags {_tag_names(rule.all_tags, catalogue, ' and ')}", held))
    if rule.no_tag:
        held = np.logical_or.reduce([facts.tags.having(catalogue.find(name)) for name in rule.no_tag])
        conditions.append(
            Condition(f"it has no tag {_tag_names(rule.no_tag, catalogue, ' or ')}", known & ~held)
        )
    if rule.languages:
        spoken = np.array([_speaks(code, rule.languages) for code in facts.language], dtype=bool)
        conditions.append(Condition(f"the language is {_either(rule.languages)}", spoken))
    for amount in rule.amounts:
        conditions.append(Condition(describe_amount(amount), meets_amount(amount, facts.rows)))
    return conditions


def _either(values: Sequence[str | int]) -> str:
    return " or ".join(str(value) for value in values)


def _tag_names(names: Sequence[str | int], catalogue: TagCatalogue, joined_by: str) -> str:
    return joined_by.join(catalogue.describe(name) for name in names)


def _folded(text: str) -> str:
    return text.strip().casefold()


def _industry_name(name: str | int) -> str:
    if isinstance(name, int):
        raise RuleError(f"industries: {name} is an id; name the industry as it is written in Odoo")
    return name


def _speaks(code: str | None, wanted: Sequence[str]) -> bool:
    """Return whether an Odoo language code is one of the wanted; ``en`` means every ``en_…``."""
    return code is not None and (code in wanted or re.split("[_@]", code)[0] in wanted)


def describe_amount(amount: AmountRule) -> str:
    """Return an amount condition in words: ``total_spent is at least 5000``."""
    bounds = []
    if amount.at_least is not None:
        bounds.append(f"at least {_shown(amount.at_least)}")
    if amount.at_most is not None:
        bounds.append(f"at most {_shown(amount.at_most)}")
    return f"{amount.field} is {' and '.join(bounds)}"


def _shown(bound: float | date) -> str:
    return bound.isoformat() if isinstance(bound, date) else f"{bound:.12g}"


def meets_amount(amount: AmountRule, rows: pd.DataFrame) -> np.ndarray:
    """Say for every row whether its person's amount is within the bounds; no amount meets none.

    Raises:
        RuleError: the field is not one of ``AMOUNT_FIELDS``, or a bound is of another kind than the field.
    """
    if amount.field not in AMOUNT_FIELDS:
        raise RuleError(f"field: {amount.field!r} is not one of {', '.join(AMOUNT_FIELDS)}")
    is_date = amount.field.endswith("_date")
    values = rows[amount.field]
    holds = values.notna().to_numpy()
    for bound, is_lower in ((amount.at_least, True), (amount.at_most, False)):
        if bound is None:
            continue
        if isinstance(bound, date) != is_date:
            kind = "a date written YYYY-MM-DD" if is_date else "a number"
            raise RuleError(f"{amount.field}: the bound {bound!r} must be {kind}")
        limit = pd.Timestamp(bound) if isinstance(bound, date) else bound
        within = values >= limit if is_lower else values <= limit
        holds = holds & within.to_numpy(dtype=bool, na_value=False)
    return holds


@dataclass(frozen=True)
class Routes:
    """Where contacts belong: ``audience`` per row of the facts (None: nowhere); why, per audience."""

    audience: pd.Series
    because: Mapping[str, str]


def route(facts: RoutingFacts, audiences: Mapping[str, AudienceRules], catalogue: TagCatalogue) -> Routes:
    """Put every row in the first audience whose conditions all hold.

    Raises:
        RuleError: as ``judge_conditions``.
    """
    audience = np.full(len(facts.rows), None, dtype=object)
    unrouted = np.ones(len(facts.rows), dtype=bool)
    because = {}
    for key, rules in audiences.items():
        conditions = judge_conditions(rules.when, facts, catalogue)
        matches = unrouted.copy()
        for condition in conditions:
            matches &= condition.holds
        audience[matches] = key
        unrouted &= ~matches
        wanted = ", ".join(condition.wanted for condition in conditions) or "it takes everyone"
        because[key] = f"first matching rule: {wanted}"
    return Routes(pd.Series(audience, dtype=object), because)


@dataclass(frozen=True)
class JointRoute:
    """Where partners with one address belong together: an audience, nothing, or a conflict.

    ``outvoted`` are audiences that others of the partners fit; ``wins_as`` says why the audience wins.
    """

    audience: str | None
    conflict: tuple[str, ...] = ()
    outvoted: tuple[str, ...] = ()
    wins_as: str = ""


RESTRICTIVE = "the one that is restrictive"
FOR_COMPANIES = "the one for companies"


def agree_on_route(routes: Sequence[str | None], audiences: Mapping[str, AudienceRules]) -> JointRoute:
    """Settle where a person belongs whose partners may route differently.

    A partner that matches no audience has no say. The more restrictive audience wins: the one that the
    settings mark as such, else the one for companies. Where it is not exactly one, the person is set aside;
    of several that are marked, only those can win.
    """
    distinct = sorted({audience for audience in routes if audience is not None}, key=list(audiences).index)
    if len(distinct) <= 1:
        return JointRoute(distinct[0] if distinct else None)
    restrictive = [key for key in distinct if audiences[key].restrictive]
    candidates = restrictive or distinct
    winners, wins_as = restrictive, RESTRICTIVE
    if len(restrictive) != 1:
        winners = [key for key in candidates if audiences[key].when.company_type == "company"]
        wins_as = FOR_COMPANIES
    if len(winners) != 1:
        return JointRoute(None, conflict=tuple(distinct))
    (winner,) = winners
    return JointRoute(winner, outvoted=tuple(key for key in distinct if key != winner), wins_as=wins_as)
