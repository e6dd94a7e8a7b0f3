"""Stored with the table odoo_partners: customers of orders here who belong to another company."""

import json
from collections.abc import Mapping

from mc_pipeline.tables.table import Table

_FACT = "customers_elsewhere"


def fact_of_customers_elsewhere(customers: Mapping[int, str]) -> dict[str, str]:
    """The fact to store: partner id to the name of the company that the partner belongs to."""
    return {_FACT: json.dumps({str(partner): name for partner, name in customers.items()})}


def customers_elsewhere_in(partners: Table) -> dict[int, str]:
    """Partner id to the name of the company, as stored; a table of an earlier version has none."""
    return {int(partner): str(name) for partner, name in json.loads(partners.facts.get(_FACT, "{}")).items()}
