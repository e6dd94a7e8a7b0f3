"""Which audiences no one can ever reach, because earlier rules of the company take everyone first.

Judged from the conditions alone. What is reported is certain; a rule that only the data makes empty (a tag
that nobody has) is not found here.
"""

import math
from collections.abc import Sequence
from datetime import date

from mc_pipeline.settings.models import AmountCondition, RuleSettings

_MOST_SPLITS = 6
"""How many yes/no questions are tried when several earlier rules together may cover a later one."""


def is_contradictory(rule: RuleSettings) -> bool:
    """Say whether the conditions exclude each other, so that nobody can meet them."""
    no_tag = set(rule.no_tag)
    if no_tag & set(rule.all_tags) or (rule.any_tag and set(rule.any_tag) <= no_tag):
        return True
    return any(low > high for low, high in map(_interval, _amounts_by_field(rule).values()))


def covering_audiences(rule: RuleSettings, earlier: Sequence[tuple[str, RuleSettings]]) -> list[str] | None:
    """Return the earlier audiences that take everyone whom the rule matches, None when somebody is left.

    One audience when its conditions follow from the rule's; several when they cover it together, such as
    one for companies and one for persons.
    """
    tags = {tag for _, other in earlier for tag in (*other.any_tag, *other.all_tags, *other.no_tag)}
    return _cover(rule, earlier, sorted(tags, key=str)[:_MOST_SPLITS])


def _cover(
    rule: RuleSettings, earlier: Sequence[tuple[str, RuleSettings]], tags: Sequence[str | int]
) -> list[str] | None:
    for name, other in earlier:
        if implies(rule, other):
            return [name]
    if rule.company_type is None and any(other.company_type for _, other in earlier):
        return _cover_each(
            [
                rule.model_copy(update={"company_type": "company"}),
                rule.model_copy(update={"company_type": "person"}),
            ],
            earlier,
            tags,
        )
    for position, tag in enumerate(tags):
        if tag not in rule.all_tags and tag not in rule.no_tag:
            with_tag = rule.model_copy(update={"all_tags": (*rule.all_tags, tag)})
            without_tag = rule.model_copy(update={"no_tag": (*rule.no_tag, tag)})
            return _cover_each([with_tag, without_tag], earlier, tags[position + 1 :])
    return None


def _cover_each(
    parts: Sequence[RuleSettings], earlier: Sequence[tuple[str, RuleSettings]], tags: Sequence[str | int]
) -> list[str] | None:
    names: list[str] = []
    for part in parts:
        if is_contradictory(part):
            continue
        covering = _cover(part, earlier, tags)
        if covering is None:
            return None
        names.extend(name for name in covering if name not in names)
    return names


def implies(narrow: RuleSettings, wide: RuleSettings) -> bool:
    """Say whether everyone who meets the narrow rule meets the wide one."""
    return (
        wide.company_type in (None, narrow.company_type)
        and _among(narrow.countries, wide.countries)
        and _among(narrow.industries, wide.industries)
        and _among(narrow.languages, wide.languages)
        and _has_any_tag(narrow, wide.any_tag)
        and set(wide.all_tags) <= set(_certain_tags(narrow))
        and set(wide.no_tag) <= set(narrow.no_tag)
        and all(_implies_amount(narrow, condition) for condition in wide.amounts)
    )


def _among(narrow: Sequence[str | int], wide: Sequence[str | int]) -> bool:
    return not wide or (bool(narrow) and set(narrow) <= set(wide))


def _certain_tags(rule: RuleSettings) -> tuple[str | int, ...]:
    possible = set(rule.any_tag) - set(rule.no_tag)
    return (*rule.all_tags, *possible) if len(possible) == 1 else rule.all_tags


def _has_any_tag(narrow: RuleSettings, wanted: Sequence[str | int]) -> bool:
    if not wanted or set(narrow.all_tags) & set(wanted):
        return True
    return bool(narrow.any_tag) and set(narrow.any_tag) - set(narrow.no_tag) <= set(wanted)


def _implies_amount(narrow: RuleSettings, condition: AmountCondition) -> bool:
    same_field = _amounts_by_field(narrow).get(condition.field, [])
    low, high = _interval(same_field)
    wide_low, wide_high = _interval([condition])
    return low >= wide_low and high <= wide_high


def _amounts_by_field(rule: RuleSettings) -> dict[str, list[AmountCondition]]:
    by_field: dict[str, list[AmountCondition]] = {}
    for condition in rule.amounts:
        by_field.setdefault(condition.field, []).append(condition)
    return by_field


def _interval(conditions: Sequence[AmountCondition]) -> tuple[float, float]:
    """Return the values that meet all conditions on one field, dates as their day number."""
    low = max((_number(c.at_least) for c in conditions if c.at_least is not None), default=-math.inf)
    high = min((_number(c.at_most) for c in conditions if c.at_most is not None), default=math.inf)
    return low, high


def _number(value: float | date) -> float:
    return float(value.toordinal()) if isinstance(value, date) else value
