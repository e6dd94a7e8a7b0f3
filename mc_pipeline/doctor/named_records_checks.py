"""Checks of what the settings name in Odoo: sources of consent with what they hold, tags, industries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mc_pipeline.doctor.findings import Check, Result, ok, problem, warning
from mc_pipeline.doctor.subjects import CompanyInOdoo
from mc_pipeline.domain.contacts.tags import TagCatalogue
from mc_pipeline.domain.errors import RuleError
from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.errors import OdooFieldMissingError
from mc_pipeline.odoo.evidence import boolean_evidence_fields
from mc_pipeline.odoo.fields import optional_model_fields, require_boolean_field
from mc_pipeline.odoo.partners import has_company_types
from mc_pipeline.odoo.tags import read_tag_paths
from mc_pipeline.settings import AudienceSettings


def check_consent(company: CompanyInOdoo) -> Iterator[Result]:
    """The source of evidence that each audience names exists in Odoo."""
    for audience in company.settings.audiences.values():
        if audience.consent is None:
            continue
        if audience.consent.mailing_list is not None:
            yield _mailing_list(company, audience, audience.consent.mailing_list)
        if audience.consent.boolean_field is not None:
            yield _boolean_field(company, audience, audience.consent.boolean_field)


def _mailing_list(company: CompanyInOdoo, audience: AudienceSettings, wanted: str | int) -> Result:
    if optional_model_fields(company.client, "mailing.list") is None:
        return problem(
            f"mailing list {wanted!r}: there are no mailing lists",
            f"Install Email Marketing in Odoo, or remove {company.where(audience, 'consent')}.",
        )
    lists = {
        record["id"]: str(record["name"] or "")
        for record in company.client.search_read("mailing.list", [], ["name"], order="id")
    }
    if isinstance(wanted, int):
        found = [wanted] if wanted in lists else []
    else:
        found = [each for each, name in lists.items() if name.strip().casefold() == wanted.strip().casefold()]
    setting = company.where(audience, "consent.mailing_list")
    if len(found) == 1:
        found_in = f"mailing list {lists[found[0]]} (id {found[0]})"
        return _evidence(company, audience, found_in, _count_subscriptions(company.client, found[0]))
    if found:
        ids = ", ".join(map(str, found))
        return problem(f"mailing list {wanted!r} fits several", f"Name one by its id in {setting}: {ids}.")
    return problem(
        f"no mailing list {wanted!r}",
        f"Correct {setting}; Odoo has {_listed([f'{name} ({each})' for each, name in lists.items()])}.",
    )


def _boolean_field(company: CompanyInOdoo, audience: AudienceSettings, wanted: str) -> Result:
    setting = company.where(audience, "consent.boolean_field")
    try:
        dated = boolean_evidence_fields(company.client, [wanted])[wanted]
    except OdooFieldMissingError as error:
        return problem(f"field {wanted}: not usable", f"Correct {setting}: {error.message}.")
    ticked = company.seeing_partners.search_count(
        "res.partner", [*company.partners_domain, (wanted, "=", True)]
    )
    count = (
        0
        if dated is None
        else company.seeing_partners.search_count(
            "res.partner", [*company.partners_domain, (wanted, "=", True), (dated, "!=", False)]
        )
    )
    described = f"field {wanted}, dated by {dated}" if dated else f"field {wanted} without a date field"
    return _evidence(company, audience, described, EvidenceCounts(count, ticked - count))


@dataclass(frozen=True)
class EvidenceCounts:
    """How much evidence of one source there is; opted-out entries are neither dated nor undated."""

    dated: int
    undated: int
    opted_out: int = 0


def _count_subscriptions(client: OdooClient, list_id: int) -> EvidenceCounts:
    def count(*conditions: tuple[str, str, object]) -> int:
        return client.search_count("mailing.subscription", [("list_id", "=", list_id), *conditions])

    opted_out, standing = count(("opt_out", "=", True)), ("opt_out", "=", False)
    undated = count(standing, ("create_date", "=", False))
    return EvidenceCounts(count(standing) - undated, undated, opted_out)


def _evidence(
    company: CompanyInOdoo, audience: AudienceSettings, source: str, counts: EvidenceCounts
) -> Result:
    found = f"{audience.key}: {source}: {counts.dated:,} dated, {counts.undated:,} undated"
    if counts.opted_out:
        found += f", {counts.opted_out:,} opted out"
    assert audience.consent is not None
    if audience.consent.accept_undated:
        return ok(f"{found}; undated consent is accepted")
    if counts.undated and not counts.dated:
        setting = company.where(audience, "consent.accept_undated")
        field = audience.consent.boolean_field
        remedy = f"add a date field {field}_date in Odoo" if field else "ask people to subscribe again"
        return warning(
            found, f"Undated consent subscribes nobody: {remedy}, or set {setting}: true to accept it."
        )
    return ok(found)


def check_tags_and_industries(company: CompanyInOdoo) -> Iterator[Result]:
    """Tags and industries that the rules name exist in Odoo, and their names are clear."""
    audiences = company.settings.audiences.values()
    if any(audience.when.any_tag or audience.when.all_tags or audience.when.no_tag for audience in audiences):
        yield from _tags(company)
    if any(audience.when.industries for audience in audiences):
        yield from _industries(company)


def _tags(company: CompanyInOdoo) -> Iterator[Result]:
    catalogue = TagCatalogue(read_tag_paths(company.client), complete=True)
    known = []
    for audience in company.settings.audiences.values():
        for key in ("any_tag", "all_tags", "no_tag"):
            wanted: Sequence[str | int] = getattr(audience.when, key)
            for name in wanted:
                try:
                    known.append(catalogue.describe(name))
                except RuleError as error:
                    yield problem(
                        f"tag {name!r}",
                        f"Correct {company.where(audience, f'when.{key}')}: {error}; Odoo has "
                        f"{_listed(sorted(catalogue.paths.values()))}.",
                    )
    if known:
        yield ok(f"tags {', '.join(dict.fromkeys(known))}")


def check_company_if(company: CompanyInOdoo) -> Iterator[Result]:
    """What ``company_if`` names exists in Odoo: tags with clear names, or a yes/no field."""
    company_if = company.settings.company_if
    if company_if is None:
        return
    setting = f"companies.{company.settings.key}.company_if"
    found = []
    if company_if.field is not None:
        try:
            require_boolean_field(company.client, company_if.field, "company_if.field")
            found.append(f"field {company_if.field}")
        except OdooFieldMissingError as error:
            yield problem(
                f"field {company_if.field}: not usable", f"Correct {setting}.field: {error.message}."
            )
    if company_if.any_tag:
        catalogue = TagCatalogue(read_tag_paths(company.client), complete=True)
        for name in company_if.any_tag:
            try:
                found.append(f"tag {catalogue.describe(name)}")
            except RuleError as error:
                there = _listed(sorted(catalogue.paths.values()))
                fix = f"Correct {setting}.any_tag: {error}; Odoo has {there}."
                yield problem(f"tag {name!r}", fix)
    if found:
        unused = has_company_types(company.client)
        note = "; without effect until Odoo is upgraded: it has company types" if unused else ""
        yield ok(f"{', '.join(found)}{note}")


def _industries(company: CompanyInOdoo) -> Iterator[Result]:
    if optional_model_fields(company.client, "res.partner.industry") is None:
        names: list[str] = []
    else:
        records = company.client.search_read("res.partner.industry", [], ["name"], order="id")
        names = [str(record["name"] or "") for record in records]
    folded = {name.strip().casefold() for name in names}
    known = []
    for audience in company.settings.audiences.values():
        for wanted in audience.when.industries:
            setting = company.where(audience, "when.industries")
            if isinstance(wanted, int):
                yield problem(f"industry {wanted}", f"Write its English name in {setting}, not its id.")
            elif wanted.strip().casefold() in folded:
                known.append(wanted)
            else:
                yield problem(
                    f"no industry {wanted!r}",
                    f"Correct {setting}; in English Odoo has {_listed(sorted(names))}.",
                )
    if known:
        yield ok(f"industries {', '.join(dict.fromkeys(known))}")


def _listed(names: Sequence[str], most: int = 20) -> str:
    shown = ", ".join(names[:most]) or "none"
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


NAMED_RECORDS_CHECKS: tuple[Check[CompanyInOdoo], ...] = (
    Check("consent", check_consent),
    Check("tags and industries", check_tags_and_industries),
    Check("company_if", check_company_if),
)
