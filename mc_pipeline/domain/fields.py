"""What we write into Mailchimp's merge fields: where a value comes from, and its format and limits.

Only desired values are made here. Whether an empty one is sent is decided by the plan: an empty Odoo
value may only clear what this pipeline wrote.
"""

from collections.abc import Mapping
from types import MappingProxyType

MERGE_FIELD_SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "first_name": "text",
        "last_name": "text",
        "name": "text",
        "company_name": "text",
        "is_company": "text",
        "industry": "text",
        "street": "text",
        "street2": "text",
        "city": "text",
        "state": "text",
        "zip": "text",
        "country": "text",
        "address": "address",
        "phone": "phone",
        "language": "text",
        "currency": "text",
        "order_count": "number",
        "total_spent": "number",
        "first_order_date": "date",
        "last_order_date": "date",
        "partner_id": "number",
    }
)
"""What a merge field may be filled from (``merge_fields: {SPENT: total_spent}``), and the Mailchimp type of
the field that is created for it."""
