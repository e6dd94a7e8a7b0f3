"""Record rules that make Odoo answer with fewer rows and no error.

A search never says that rules hid rows. For sales and invoices the rule is a standard one: a user of the
group "User: Own Documents Only" who is not in "User: All Documents" sees their own orders and invoices only.
"""

from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.errors import OdooConnectionError, OdooError

_OWN_DOCUMENTS = "sales_team.group_sale_salesman"
_ALL_DOCUMENTS = "sales_team.group_sale_salesman_all_leads"


def hidden_sales_documents(client: OdooClient) -> str:
    """Why orders, their lines or invoices may be hidden from the user; an empty text when they are not.

    A server that does not report groups is not assumed to hide anything.
    """
    try:
        limited = client.has_group(_OWN_DOCUMENTS) and not client.has_group(_ALL_DOCUMENTS)
    except OdooConnectionError:
        raise
    except OdooError:
        return ""
    if limited:
        return (
            "the Odoo user sees only its own orders and invoices: "
            "give it the right Sales / User: All Documents (or Administrator)"
        )
    return ""
