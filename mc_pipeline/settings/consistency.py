"""What must hold between several entries of companies.yaml.

Works on the values as read, so that these problems are listed together with those of single values; an entry
that is itself wrong is skipped.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from mc_pipeline.settings.document import Document, KeyPath, dotted
from mc_pipeline.settings.errors import Problem
from mc_pipeline.settings.fields import suggestion
from mc_pipeline.settings.models import RuleSettings
from mc_pipeline.settings.reachability import covering_audiences, is_contradictory
from mc_pipeline.settings.references import holds_reference


@dataclass(frozen=True)
class _Checker:
    document: Document
    values: Mapping[str, Any]

    def problem(self, path: KeyPath, message: str) -> Problem:
        return Problem(dotted(path), message, self.document.line_of(path))

    def shown(self, path: KeyPath) -> str:
        """Return a value for a message: as written, so that nothing of the environment shows."""
        return f"'{self.document.value_at(path)}'"

    def companies(self) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
        for key, company in _mapping(self.values.get("companies")).items():
            if isinstance(company, Mapping):
                yield ("companies", key), company

    def audiences(self) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
        for path, company in self.companies():
            for key, audience in _mapping(company.get("audiences")).items():
                if isinstance(audience, Mapping):
                    yield (*path, "audiences", key), audience


def contradictions(document: Document, values: Mapping[str, Any]) -> list[Problem]:
    """Return the problems between entries: things named twice, names of nothing, rules never reached."""
    checker = _Checker(document, values)
    return [
        *_unknown_accounts(checker),
        *_accounts_of_one_user(checker),
        *_named_twice(checker),
        *_unreachable_audiences(checker),
        *_company_opt_outs_without_place(checker),
        *_all_are_restrictive(checker),
    ]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _unknown_accounts(checker: _Checker) -> Iterator[Problem]:
    accounts = _mapping(checker.values.get("mailchimp"))
    for path, company in checker.companies():
        name = company.get("mailchimp")
        if accounts and isinstance(name, str) and name not in accounts and not holds_reference(name):
            here = (*path, "mailchimp")
            hint = suggestion(name, accounts)
            yield checker.problem(
                here,
                f"found {checker.shown(here)}; must be a name under mailchimp: {', '.join(accounts)}{hint}",
            )


def _accounts_of_one_user(checker: _Checker) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for name, account in _mapping(checker.values.get("mailchimp")).items():
        api_key = _mapping(account).get("api_key")
        if not isinstance(api_key, str) or holds_reference(api_key):
            continue
        other = seen.setdefault(api_key, name)
        if other != name:
            yield checker.problem(
                ("mailchimp", name, "api_key"),
                f"is the same key as that of {other}; one Mailchimp user is one entry, since all share its"
                f" connections: let the companies name {other}",
            )


def _named_twice(checker: _Checker) -> Iterator[Problem]:
    companies: dict[str, KeyPath] = {}
    for path, company in checker.companies():
        place = (*path, "odoo_company_id")
        why = "each Odoo company has one entry"
        yield from _second_use(checker, companies, company.get("odoo_company_id"), place, why)
    lists: dict[str, KeyPath] = {}
    stores: dict[str, KeyPath] = {}
    for path, audience in checker.audiences():
        why = "two audiences in one list would undo each other; give each its own list"
        yield from _second_use(checker, lists, audience.get("list_id"), (*path, "list_id"), why)
        store = _mapping(audience.get("store"))
        why = "a store belongs to one audience; choose another id"
        yield from _second_use(checker, stores, store.get("id"), (*path, "store", "id"), why)


def _second_use(
    checker: _Checker, seen: dict[str, KeyPath], value: Any, path: KeyPath, why: str
) -> Iterator[Problem]:
    if isinstance(value, bool) or not isinstance(value, str | int) or holds_reference(value):
        return
    first = seen.setdefault(str(value).strip().casefold(), path)
    if first != path:
        yield checker.problem(path, f"found {checker.shown(path)}, which {dotted(first)} uses already; {why}")


def _unreachable_audiences(checker: _Checker) -> Iterator[Problem]:
    for company_path, company in checker.companies():
        earlier: list[tuple[str, RuleSettings]] = []
        for key, audience in _mapping(company.get("audiences")).items():
            rule = _rule_of(audience)
            if rule is None:
                continue
            path = (*company_path, "audiences", key)
            place = (*path, "when") if "when" in audience else path
            if is_contradictory(rule):
                yield checker.problem(place, "nobody can meet these conditions: they exclude each other")
                continue
            covering = covering_audiences(rule, earlier)
            if covering:
                yield checker.problem(
                    place,
                    "no contact can reach this audience: the first matching rule wins, and"
                    f" {_listed(covering)} above it takes everyone who meets its conditions; put the narrower"
                    " rule first",
                )
            earlier.append((key, rule))


def _rule_of(audience: Any) -> RuleSettings | None:
    if not isinstance(audience, Mapping):
        return None
    try:
        return RuleSettings.model_validate(audience.get("when", {}))
    except ValidationError:
        return None


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} together"


def _company_opt_outs_without_place(checker: _Checker) -> Iterator[Problem]:
    for path, company in checker.companies():
        audiences = _mapping(company.get("audiences")).values()
        if company.get("opt_out_scope") == "company" and not any(
            _mapping(a).get("consent") for a in audiences
        ):
            yield checker.problem(
                (*path, "opt_out_scope"),
                "found 'company', but no audience of this company names a mailing_list or boolean_field under"
                " consent to write opt-outs to; name one, or choose everywhere",
            )


def _all_are_restrictive(checker: _Checker) -> Iterator[Problem]:
    for path, company in checker.companies():
        audiences = _mapping(company.get("audiences"))
        if len(audiences) > 1 and all(
            _mapping(each).get("restrictive") is True for each in audiences.values()
        ):
            yield checker.problem(
                (*path, "audiences", list(audiences)[-1], "restrictive"),
                "is true for every audience of the company, so none of them wins; keep it only where an "
                "audience should win if contacts that share an address match several",
            )
