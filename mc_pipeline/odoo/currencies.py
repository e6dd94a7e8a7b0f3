"""Currencies as Odoo has them: their codes and decimal places, and the company's own."""

from dataclasses import dataclass

from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.errors import OdooServerError
from mc_pipeline.odoo.reading import money


@dataclass(frozen=True)
class Currency:
    """ISO 4217 code and the number of decimal places amounts are rounded to."""

    code: str
    decimal_places: int

    def rounded(self, amount: float) -> float:
        return money(amount, self.decimal_places)


def read_currencies(client: OdooClient) -> dict[int, Currency]:
    """All currencies by id, archived ones included (old orders use them)."""
    return {
        record["id"]: Currency(str(record["name"]), int(record["decimal_places"]))
        for record in client.search_read("res.currency", [], ["name", "decimal_places"], order="id")
    }


def company_currency(client: OdooClient, company_id: int, currencies: dict[int, Currency]) -> Currency:
    """The currency a company keeps its books in."""
    companies = client.read("res.company", [company_id], ["currency_id"])
    if len(companies) != 1 or companies[0]["currency_id"] not in currencies:
        raise OdooServerError(
            f"Odoo did not return the currency of company {company_id}", "res.company", "read"
        )
    return currencies[companies[0]["currency_id"]]
