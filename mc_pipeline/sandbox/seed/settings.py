"""The companies.yaml of the demo's world."""

from __future__ import annotations

from mc_pipeline.sandbox.seed.world import LISTS, ODOO_USER

_SETTINGS = """\
# The demo's companies. Secrets are references to the environment and never stand here.
odoo:
  url: {odoo_url}
  database: sandbox
  user: {user}
  secret: ${{ODOO_SECRET}}

mailchimp:
  main:
    api_key: ${{MAILCHIMP_API_KEY}}
    base_url: {mailchimp_url}
    max_connections: 8
    hear_every_seconds: 0   # the stand-in has no limits; leave it out for the real Mailchimp

companies:
  acme_uk:
    odoo_company_id: {uk}
    mailchimp: main
    timezone: Europe/London
    customers: {{contacts: order}}
    duplicates: most_recent_order
    revenue: confirmed
    guards: {{created: 10%, archived: 2%, moved: 2%, email_changes: 2%}}
    languages: {{en_GB: en, fr_FR: fr, de_DE: de}}
    audiences:
      wholesale:
        list_id: {uk_wholesale}
        when: {{company_type: company, any_tag: [Wholesale, Partners / Reseller]}}
        merge_fields:
          FNAME: first_name
          LNAME: last_name
          COMPANY: company_name
          ORDERS: order_count
          SPENT: total_spent
          LASTORDER: last_order_date
        tags:
          B2B: always
          VIP: {{field: total_spent, at_least: 5000}}
        store: {{id: acme-uk-wholesale, name: ACME UK Wholesale, currency: GBP}}
      retail:
        list_id: {uk_retail}
        when: {{company_type: person}}
        consent: {{mailing_list: Newsletter}}
        merge_fields:
          FNAME: first_name
          LNAME: last_name
          ORDERS: order_count
          SPENT: total_spent
          LASTORDER: last_order_date
        names: whole   # the last name that a member gave stays, and the first name is the rest of the name
        tags:
          VIP: {{field: total_spent, at_least: 1000}}
          Regular: {{field: order_count, at_least: 3}}
        store: {{id: acme-uk-retail, name: ACME UK Retail, currency: GBP}}

  acme_fr:
    odoo_company_id: {fr}
    mailchimp: main
    timezone: Europe/Paris
    languages: {{fr_FR: fr, en_GB: en, de_DE: de}}
    audiences:
      professionnels:
        list_id: {fr_professionnels}
        when: {{company_type: company}}
        merge_fields:
          FNAME: first_name
          LNAME: last_name
          COMPANY: company_name
          ORDERS: order_count
          SPENT: total_spent
        tags:
          B2B: always
        store: {{id: acme-fr-professionnels, name: ACME France Professionnels, currency: EUR}}
      particuliers:
        list_id: {fr_particuliers}
        when: {{company_type: person, countries: [FR, BE, LU, CH]}}
        consent: {{mailing_list: Infolettre}}
        merge_fields:
          FNAME: first_name
          LNAME: last_name
          ORDERS: order_count
          SPENT: total_spent
          LASTORDER: last_order_date
        store: {{id: acme-fr-particuliers, name: ACME France Particuliers, currency: EUR}}
"""


def demo_companies_yaml(odoo_url: str, mailchimp_url: str) -> str:
    """The text of companies.yaml for a seeded world served at these addresses."""
    lists = {f"{company.removeprefix('acme_')}_{audience}": id for (company, audience), id in LISTS.items()}
    return _SETTINGS.format(
        odoo_url=odoo_url, mailchimp_url=mailchimp_url, user=ODOO_USER, uk=1, fr=2, **lists
    )
