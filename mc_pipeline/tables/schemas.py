"""The columns of every table: names, types and meaning, in one place.

Writing uses them (a table with a missing or mistyped column is refused before a file appears), empty tables
are made from them, and Dagster shows them. Conventions: ids are 64-bit integers, addresses are normalised and
lower-case unless the column says otherwise, times are UTC, money says its currency, ``*_json`` holds
canonical JSON text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

# By Arrow's names: the library itself is loaded when a table is made.
TEXT = "string"
INTEGER = "int64"
NUMBER = "double"
BOOLEAN = "bool"
TIME = "timestamp[us, tz=UTC]"
TEXTS = "list<item: string>"
INTEGERS = "list<item: int64>"
DATE = "date32[day]"


@dataclass(frozen=True)
class Column:
    """One column: its type by Arrow's name, its meaning, and whether a row may lack it."""

    name: str
    type: str
    description: str
    nullable: bool = False
    repeats: bool = False
    """Few different values in many rows."""

    @property
    def arrow(self) -> "pa.DataType":
        return _arrow_types()[self.type]


@dataclass(frozen=True)
class TableColumns:
    """The ordered columns of one table; ``by_month``: stored in a file per month, by its column ``month``."""

    name: str
    columns: tuple[Column, ...]
    by_month: bool = False

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def repeating(self) -> list[str]:
        return [column.name for column in self.columns if column.repeats]

    def only(self, names: Sequence[str]) -> "TableColumns":
        """Return these columns alone, in the order of the table."""
        kept = tuple(column for column in self.columns if column.name in names)
        return TableColumns(self.name, kept, self.by_month)

    @property
    def arrow(self) -> "pa.Schema":
        import pyarrow as pa

        return pa.schema([pa.field(column.name, column.arrow, column.nullable) for column in self.columns])

    def empty(self) -> "pd.DataFrame":
        """Return a table without rows, typed like a full one."""
        return self.to_pandas(self.arrow.empty_table())

    def to_arrow(self, rows: "pd.DataFrame") -> "pa.Table":
        """Convert to Arrow; columns the schema does not name are dropped.

        Raises:
            ValueError: a column is missing, has the wrong type, or is empty where it may not be; the message
                names table and column and never quotes a value.
        """
        import pyarrow as pa

        arrays = []
        for column in self.columns:
            if column.name not in rows.columns:
                raise ValueError(f"table {self.name} lacks the column {column.name!r}")
            series = rows[column.name]
            try:
                array = pa.Array.from_pandas(series, type=column.arrow)
            except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
                raise ValueError(
                    f"table {self.name}, column {column.name!r}: values are not {column.type} "
                    f"({type(error).__name__})"
                ) from None
            if isinstance(array, pa.ChunkedArray):
                array = array.combine_chunks()
            if array.null_count and not column.nullable:
                raise ValueError(
                    f"table {self.name}, column {column.name!r}: {array.null_count} rows have no value, "
                    "yet every row needs one"
                )
            arrays.append(array)
        return pa.Table.from_arrays(arrays, schema=self.arrow)

    def to_pandas(self, table: "pa.Table") -> "pd.DataFrame":
        """Convert from Arrow: nullable integers stay integers, lists are Python lists, texts are objects.

        Equal texts of a column are one object: a million rows name few currencies.
        """
        import pandas as pd
        import pyarrow as pa

        texts = [column.name for column in self.columns if column.type == TEXT]
        frame = table.drop_columns(texts).to_pandas(
            types_mapper={pa.int64(): pd.Int64Dtype()}.get,
            timestamp_as_object=False,
        )
        columns = {}
        for column in self.columns:
            if column.type == TEXT:
                columns[column.name] = pd.Series(_shared_texts(table[column.name]), dtype=object)
            elif column.type in (TEXTS, INTEGERS):
                columns[column.name] = frame[column.name].map(list, na_action="ignore").astype(object)
            elif column.type == INTEGER and not column.nullable:
                columns[column.name] = frame[column.name].astype("int64")
            else:
                columns[column.name] = frame[column.name]
        return pd.DataFrame(columns, copy=False)


@cache
def _arrow_types() -> "dict[str, pa.DataType]":
    import pyarrow as pa

    return {
        TEXT: pa.string(),
        INTEGER: pa.int64(),
        NUMBER: pa.float64(),
        BOOLEAN: pa.bool_(),
        TIME: pa.timestamp("us", tz="UTC"),
        TEXTS: pa.list_(pa.string()),
        INTEGERS: pa.list_(pa.int64()),
        DATE: pa.date32(),
    }


def _shared_texts(texts: "pa.ChunkedArray") -> "np.ndarray":
    """Return texts as objects, None where there is none."""
    import numpy as np

    encoded = texts.combine_chunks().dictionary_encode()
    values = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    shared: np.ndarray = values[encoded.indices.fill_null(len(values) - 1).to_numpy(zero_copy_only=False)]
    return shared


ODOO_PARTNERS = TableColumns(
    "odoo_partners",
    (
        Column("partner_id", INTEGER, "id of the res.partner record"),
        Column("active", BOOLEAN, "false: archived in Odoo"),
        Column("name", TEXT, "name as Odoo has it"),
        Column("first_name", TEXT, "first name, where a module adds such a field", True),
        Column("last_name", TEXT, "last name, where a module adds such a field", True),
        Column("email", TEXT, "e-mail exactly as typed in Odoo", True),
        Column("email_normalized", TEXT, "Odoo's normalised e-mail; empty when it is not valid", True),
        Column("is_company", BOOLEAN, "the record is a company, not a person"),
        Column("parent_id", INTEGER, "company that this contact belongs to", True),
        Column("commercial_partner_id", INTEGER, "commercial entity: the company, or the partner itself"),
        Column(
            "company_known_by",
            TEXT,
            "how these two are known: odoo; or, where Odoo has no company types: memory, contacts_below, "
            "company_if",
            True,
            repeats=True,
        ),
        Column("differs_without_memory", BOOLEAN, "without memory these two would be different", True),
        Column("company_id", INTEGER, "Odoo company that owns the record; empty: shared", True),
        Column("type", TEXT, "address type: contact, invoice, delivery, other, private"),
        Column("lang", TEXT, "language code of Odoo, such as fr_FR", True),
        Column("street", TEXT, "street", True),
        Column("street2", TEXT, "second line of the street", True),
        Column("zip", TEXT, "postal code", True),
        Column("city", TEXT, "city", True),
        Column("state", TEXT, "name of the state or province", True),
        Column("country_code", TEXT, "ISO 3166 two-letter country code", True),
        Column("phone", TEXT, "phone number as typed", True),
        Column("company_name", TEXT, "name of the commercial company", True),
        Column("industry", TEXT, "industry of the partner", True),
        Column("tag_ids", INTEGERS, "ids of the partner's tags"),
        Column("tag_names", TEXTS, "full paths of the partner's tags, 'Parent / Child'"),
        Column("supplier_rank", INTEGER, "above 0: has vendor bills"),
        Column("message_bounce", INTEGER, "how often Odoo's mail bounced"),
        Column(
            "is_internal_user", BOOLEAN, "partner of a user other than a portal user, archived users included"
        ),
        Column("is_employee", BOOLEAN, "work contact of an employee"),
        Column("is_own_company", BOOLEAN, "partner of one of the Odoo companies themselves"),
        Column("is_public_or_template_user", BOOLEAN, "partner of the public or a template user"),
        Column("is_blacklisted", BOOLEAN, "the address has an active row in mail.blacklist"),
        Column("evidence_json", TEXT, "evidence of consent found in Odoo for this address"),
        Column("write_date", TIME, "last change in Odoo", True),
    ),
)

ODOO_ORDERS = TableColumns(
    "odoo_orders",
    (
        Column("order_id", INTEGER, "id of the sale.order record"),
        Column("name", TEXT, "order number"),
        Column("partner_id", INTEGER, "customer"),
        Column("partner_invoice_id", INTEGER, "invoice address"),
        Column("state", TEXT, "sale or cancel", repeats=True),
        Column("date_order", TIME, "order date, UTC"),
        Column("month", TEXT, "month of the order date in the company's timezone, YYYY-MM", repeats=True),
        Column("currency", TEXT, "ISO 4217 currency of the order", repeats=True),
        Column("company_currency", TEXT, "ISO 4217 currency of the company", repeats=True),
        Column("decimal_places", INTEGER, "decimal places of the order's currency"),
        Column("company_decimal_places", INTEGER, "decimal places of the company's currency"),
        Column("currency_rate", NUMBER, "order currency per unit of company currency, fixed by the order"),
        Column("amount_untaxed", NUMBER, "ordered without tax, order currency"),
        Column("amount_tax", NUMBER, "tax of the order, order currency"),
        Column("amount_total", NUMBER, "ordered with tax, order currency"),
        Column("amount_untaxed_company", NUMBER, "ordered without tax, company currency"),
        Column("kept_untaxed", NUMBER, "kept after posted credit notes, untaxed, order currency"),
        Column("kept_tax", NUMBER, "tax kept after posted credit notes, order currency"),
        Column("kept_untaxed_company", NUMBER, "kept_untaxed in company currency, at the order's rate"),
        Column("below_zero", BOOLEAN, "more was refunded than the order says: an amount is below zero"),
        Column("write_date", TIME, "last change in Odoo", True),
    ),
    by_month=True,
)

ODOO_REFUNDS = TableColumns(
    "odoo_refunds",
    (
        Column("move_id", INTEGER, "id of the account.move record: a posted invoice or credit note"),
        Column("move_type", TEXT, "out_invoice or out_refund (credit note)"),
        Column("state", TEXT, "posted"),
        Column("name", TEXT, "number of the document", True),
        Column("reversed_entry_id", INTEGER, "document that this one reverses, where it names one", True),
        Column("currency", TEXT, "ISO 4217 currency of the document"),
        Column("amount_untaxed", NUMBER, "document without tax; positive on credit notes too"),
        Column("amount_tax", NUMBER, "tax of the document"),
        Column("amount_total", NUMBER, "document with tax"),
        Column("amount_total_company", NUMBER, "document with tax, company currency, at its own rate"),
        Column("date", DATE, "accounting date", True),
        Column("invoice_date", DATE, "date on the document", True),
        Column("payment_state", TEXT, "payment state by Odoo; of an invoice", True),
        Column("write_date", TIME, "last change of the document in Odoo", True),
        Column("line_id", INTEGER, "id of the account.move.line record; empty: no goods on it", True),
        Column("display_type", TEXT, "product, or rounding (of cash)", True),
        Column("sale_line_ids", INTEGERS, "order lines that the line is linked to"),
        Column("quantity", NUMBER, "quantity of the line", True),
        Column("price_subtotal", NUMBER, "line without tax, document currency", True),
        Column("price_total", NUMBER, "line with tax, document currency", True),
        Column("cash_rounding_untaxed", NUMBER, "cash rounding within amount_untaxed", True),
        Column("cash_rounding_tax", NUMBER, "cash rounding within amount_tax", True),
        Column(
            "booked_untaxed_company",
            NUMBER,
            "line in the general ledger: company currency, at the document's own rate; below zero on "
            "credit notes",
            True,
        ),
        Column("is_income", BOOLEAN, "the line is booked on an income account", True),
        Column("order_id", INTEGER, "order that a refunding line lowers", True),
        Column("unmatched_because", TEXT, "why a refunding line lowers no order; otherwise empty"),
    ),
)

ODOO_PRODUCTS = TableColumns(
    "odoo_products",
    (
        Column("product_id", INTEGER, "id of the product.product record (a variant)"),
        Column("product_template_id", INTEGER, "id of its product.template record"),
        Column("active", BOOLEAN, "false: archived in Odoo"),
        Column("name", TEXT, "name of the product"),
        Column(
            "variant_name",
            TEXT,
            "what distinguishes the variant from its siblings; otherwise the name",
            True,
        ),
        Column("default_code", TEXT, "internal reference (SKU)", True),
        Column("list_price", NUMBER, "sales price, untaxed or taxed as the company enters it"),
        Column("write_date", TIME, "last change in Odoo", True),
    ),
)

ODOO_ORDER_LINES = TableColumns(
    "odoo_order_lines",
    (
        Column("line_id", INTEGER, "id of the sale.order.line record"),
        Column("order_id", INTEGER, "order that this line belongs to"),
        Column("month", TEXT, "month of the order, YYYY-MM, in the company's timezone", repeats=True),
        Column("product_id", INTEGER, "product; empty on sections, notes and free text", True),
        Column("name", TEXT, "text of the line, or its product's name; empty on some sections", True),
        Column("quantity", NUMBER, "quantity as ordered now"),
        Column("price_unit", NUMBER, "price of one, order currency"),
        Column("discount", NUMBER, "discount in per cent"),
        Column("price_subtotal", NUMBER, "line without tax, order currency"),
        Column("price_tax", NUMBER, "tax of the line, order currency"),
        Column("price_total", NUMBER, "line with tax, order currency"),
        Column("is_downpayment", BOOLEAN, "down payment: payment for the same goods"),
        Column("is_delivery", BOOLEAN, "shipping"),
        Column("display_type", TEXT, "section or note; empty on ordinary lines", True, True),
    ),
    by_month=True,
)

STORE_ORDERS = TableColumns(
    "store_orders",
    (
        Column("order_id", INTEGER, "id of the sale.order record"),
        Column("name", TEXT, "order number in Odoo"),
        Column("month", TEXT, "month of the order, YYYY-MM, in the company's timezone", repeats=True),
        Column("state", TEXT, "sale or cancel", repeats=True),
        Column("partner_id", INTEGER, "partner that the order counts for", True),
        Column("email", TEXT, "normalised address of the person that it counts for", True),
        Column("audience", TEXT, "audience whose store holds it, by its name in the settings", True, True),
        Column("list_id", TEXT, "Mailchimp's id of the audience", True, True),
        Column("store_id", TEXT, "id of the store that should hold it", True, True),
        Column("foreign_order_id", TEXT, "id of the order in the store"),
        Column("processed_at", TIME, "date of the order, UTC"),
        Column("cancelled_at", TIME, "when it was seen cancelled, UTC; empty unless state is cancel", True),
        Column("currency", TEXT, "ISO 4217 currency of the amounts below: the store's", repeats=True),
        Column("order_total", NUMBER, "kept goods + shipping + tax"),
        Column("tax_total", NUMBER, "kept tax, on shipping too"),
        Column("shipping_total", NUMBER, "kept shipping, untaxed"),
        Column("goods_total", NUMBER, "kept goods, untaxed: order_total - tax_total - shipping_total"),
        Column(
            "lines_json",
            TEXT,
            "kept lines as the store should hold them: id, product_id, product_variant_id, quantity, price",
        ),
        Column("kept_untaxed_company", NUMBER, "kept goods and shipping, untaxed, by Odoo, company currency"),
        Column("ordered_untaxed_company", NUMBER, "ordered, untaxed, company currency"),
        Column("below_zero", BOOLEAN, "more was refunded than the order says: sent as zero"),
        Column(
            "excluded_because",
            TEXT,
            "code of the reason why no store should hold it; empty: it is due",
            repeats=True,
        ),
        Column("excluded_detail", TEXT, "the reason in words", True, True),
        Column(
            "uncounted_because",
            TEXT,
            "code of the reason why its amounts are not revenue for any customer; empty: they are",
            repeats=True,
        ),
    ),
    by_month=True,
)

ODOO_BLACKLIST = TableColumns(
    "odoo_blacklist",
    (
        Column("blacklist_id", INTEGER, "id of the mail.blacklist record"),
        Column("email", TEXT, "normalised address"),
        Column("active", BOOLEAN, "false: the opt-out was removed"),
        Column("write_date", TIME, "last change in Odoo", True),
    ),
)

MAILCHIMP_MEMBERS = TableColumns(
    "mailchimp_members",
    (
        Column("audience", TEXT, "audience by its name in the settings"),
        Column("list_id", TEXT, "Mailchimp's id of the audience"),
        Column("email", TEXT, "address in lower case"),
        Column("email_address", TEXT, "address as Mailchimp has it"),
        Column("subscriber_hash", TEXT, "MD5 of the lower-case address: Mailchimp's member id"),
        Column("contact_id", TEXT, "id that survives a change of address", True),
        Column("status", TEXT, "subscribed, unsubscribed, cleaned, pending, transactional or archived"),
        Column("merge_fields_json", TEXT, "merge fields as observed"),
        Column("tags", TEXTS, "names of the member's tags"),
        Column("language", TEXT, "language of the member", True),
        Column("last_changed", TIME, "last change in Mailchimp", True),
        Column("timestamp_signup", TIME, "when the person signed up", True),
        Column("timestamp_opt", TIME, "when the person confirmed", True),
        Column("unsubscribe_reason", TEXT, "reason given when unsubscribing", True),
        Column("permissions_json", TEXT, "marketing permissions (GDPR): name and whether given", True),
        Column("source", TEXT, "where the contact came from, according to Mailchimp", True),
    ),
)

CONTACTS = TableColumns(
    "contacts",
    (
        Column("email", TEXT, "normalised address: the person"),
        Column("partner_id", INTEGER, "winner: the partner whose name, address and tags are used"),
        Column("partner_ids", INTEGERS, "every partner with this address, the winner first"),
        Column("audience", TEXT, "audience by its name in the settings"),
        Column("audience_because", TEXT, "which rule put the person there"),
        Column("name", TEXT, "whole name"),
        Column("first_name", TEXT, "first name", True),
        Column("last_name", TEXT, "last name", True),
        Column(
            "one_name",
            TEXT,
            "`person` or `company`: Odoo has one name field, and the audience's setting `names` decides "
            "how it fills first and last name; empty: Odoo has both fields",
        ),
        Column("company_name", TEXT, "name of the commercial company", True),
        Column("language", TEXT, "Mailchimp language code", True),
        Column("country_code", TEXT, "ISO 3166 two-letter country code", True),
        Column("address_json", TEXT, "complete postal address as Mailchimp wants it", True),
        Column("phone", TEXT, "phone number", True),
        Column("order_count", INTEGER, "confirmed orders, ever"),
        Column("total_spent", NUMBER, "kept of all confirmed orders, untaxed, in `currency`"),
        Column("currency", TEXT, "ISO 4217 currency of the company", True),
        Column("first_order_date", TIME, "date of the first confirmed order, UTC", True),
        Column("last_order_date", TIME, "date of the latest confirmed order, UTC", True),
        Column("merge_fields_json", TEXT, "merge fields the member should have"),
        Column("tags", TEXTS, "tags of the settings that the member should have"),
        Column("evidence_json", TEXT, "the evidence of consent that counts", True),
        Column("status_for_new", TEXT, "status when created; empty: never created"),
        Column("status_because", TEXT, "why this status"),
        Column("several_addresses", BOOLEAN, "Odoo's field holds several addresses; the first is used"),
    ),
)

SET_ASIDE = TableColumns(
    "set_aside",
    (
        Column("partner_id", INTEGER, "partner that was left out"),
        Column("email", TEXT, "e-mail exactly as typed in Odoo", True),
        Column("person_email", TEXT, "normalised address", True),
        Column("audience", TEXT, "audience concerned, where known", True),
        Column("reason", TEXT, "reason code"),
        Column("detail", TEXT, "what was found"),
        Column("fix", TEXT, "what to do about it"),
        Column("duplicate_of", INTEGER, "the winner: the partner whose data is used for this address", True),
    ),
)

AUDIENCE_PLAN = TableColumns(
    "audience_plan",
    (
        Column("plan_id", TEXT, "digest of the whole plan"),
        Column("row_key", TEXT, "digest of operation, audience and address: what an approval covers"),
        Column("sequence", INTEGER, "order of application: addresses are freed before they are taken"),
        Column("operation", TEXT, "create, update, change_email, archive, tag, untag, upgrade or permit"),
        Column("audience", TEXT, "audience by its name in the settings"),
        Column("list_id", TEXT, "Mailchimp's id of the audience"),
        Column("email", TEXT, "address of the member"),
        Column("subscriber_hash", TEXT, "Mailchimp's member id"),
        Column("partner_id", INTEGER, "partner in Odoo", True),
        Column("new_email", TEXT, "address after the change", True),
        Column("tag", TEXT, "tag to add or remove", True),
        Column("status", TEXT, "status to send, for creates and upgrades only", True),
        Column("cause", TEXT, "kind of reason, such as new_contact, moved or fields_differ"),
        Column("before_json", TEXT, "what Mailchimp has"),
        Column("after_json", TEXT, "what is sent"),
        Column("because", TEXT, "why"),
        Column("held_back_because", TEXT, "why it is not sent; empty: it is"),
    ),
)

OUTCOME = (
    Column("outcome", TEXT, "applied, unchanged, rejected, deferred, held_back or unknown"),
    Column("detail", TEXT, "what Mailchimp said", True),
)

AUDIENCE_PUSH = TableColumns(
    "audience_push",
    (
        *AUDIENCE_PLAN.columns,
        Column(
            "outcome",
            TEXT,
            "applied, unchanged, rejected, deferred, held_back, waits (for an approval) or unknown",
        ),
        Column("detail", TEXT, "what Mailchimp said, or which plan waits and why", True),
    ),
)

MAILCHIMP_UNSUBSCRIBES = TableColumns(
    "mailchimp_unsubscribes",
    (
        Column("audience", TEXT, "audience by its name in the settings"),
        Column("list_id", TEXT, "Mailchimp's id of the audience"),
        Column("email", TEXT, "address of the member"),
        Column("subscriber_hash", TEXT, "Mailchimp's member id"),
        Column("status_before", TEXT, "status before"),
        Column("cause", TEXT, "blacklist, or evidence withdrawn"),
        *OUTCOME,
    ),
)

PRODUCT_PUSH = TableColumns(
    "product_push",
    (
        Column("store_id", TEXT, "id of the store"),
        Column("audience", TEXT, "audience of the store"),
        Column("foreign_product_id", TEXT, "id of the product in the store"),
        Column("product_template_id", INTEGER, "product.template in Odoo; empty: a placeholder", True),
        Column("operation", TEXT, "create or update"),
        *OUTCOME,
    ),
)

ORDER_PUSH = TableColumns(
    "order_push",
    (
        Column("store_id", TEXT, "id of the store"),
        Column("audience", TEXT, "audience of the store"),
        Column("order_id", INTEGER, "id of the sale.order record", True),
        Column("foreign_order_id", TEXT, "id of the order in the store"),
        Column("month", TEXT, "month of the order, YYYY-MM"),
        Column("operation", TEXT, "create, update, replace or delete"),
        Column("because", TEXT, "what differs, or why it leaves the store"),
        *OUTCOME,
    ),
)

REVENUE_RECONCILIATION = TableColumns(
    "revenue_reconciliation",
    (
        Column("order_id", INTEGER, "id of the sale.order record; empty: not Odoo's, or a sum", True),
        Column("name", TEXT, "order number in Odoo", True),
        Column("month", TEXT, "month of the order, YYYY-MM, in the company's timezone"),
        Column("state", TEXT, "sale or cancel", True),
        Column("audience", TEXT, "audience by its name in the settings", True),
        Column("store_id", TEXT, "id of the store", True),
        Column("foreign_order_id", TEXT, "id of the order in the store", True),
        Column(
            "orders",
            INTEGER,
            "orders of Odoo that the row stands for: 1; more for the sum of erased people's, 0 for an order "
            "that a store should not hold",
        ),
        Column("currency", TEXT, "ISO 4217 currency of the amounts: the company's"),
        Column("ordered_untaxed", NUMBER, "ordered goods and shipping, untaxed, by Odoo"),
        Column("given_back_untaxed", NUMBER, "of that, credited or cancelled"),
        Column("kept_untaxed", NUMBER, "of that, kept"),
        Column(
            "left_out_because", TEXT, "code of the reason why not all that is kept is in a store; or empty"
        ),
        Column("left_out_untaxed", NUMBER, "of what is kept, in no store for that reason"),
        Column("due_goods", NUMBER, "goods that the store should hold, untaxed: Mailchimp's revenue"),
        Column("due_shipping", NUMBER, "shipping that the store should hold, untaxed"),
        Column("due_tax", NUMBER, "tax that the store should hold"),
        Column("held", BOOLEAN, "the store holds the order"),
        Column("held_goods", NUMBER, "goods that Mailchimp holds: total - tax - shipping"),
        Column("held_shipping", NUMBER, "shipping that Mailchimp holds"),
        Column("held_tax", NUMBER, "tax that Mailchimp holds"),
        Column("difference_goods", NUMBER, "held less due"),
        Column("difference_shipping", NUMBER, "held less due"),
        Column("difference_tax", NUMBER, "held less due"),
        Column("differs_because", TEXT, "code of how the store differs; empty: it does not"),
        Column("differs_detail", TEXT, "how it differs, in words", True),
        Column("push_outcome", TEXT, "of an order that differs: outcome of the last push", True),
        Column("push_detail", TEXT, "what Mailchimp said then, addresses masked", True),
    ),
)

MAILCHIMP_OPT_OUTS = TableColumns(
    "mailchimp_opt_outs",
    (
        Column("audience", TEXT, "audience by its name in the settings"),
        Column("list_id", TEXT, "Mailchimp's id of the audience"),
        Column("email", TEXT, "address in lower case"),
        Column("event", TEXT, "opt_out, clean, complaint, subscribe, archive, …"),
        Column("origin", TEXT, "ours, person, admin or unknown"),
        Column("status_from", TEXT, "status before; empty: not known"),
        Column("status_to", TEXT, "status after"),
        Column("occurred_at", TIME, "when it happened, according to Mailchimp, UTC"),
        Column("seen_at", TIME, "when the pipeline learned of it, UTC"),
        Column("source", TEXT, "poll, webhook, observation or write"),
    ),
)

ODOO_OPT_OUTS = TableColumns(
    "odoo_opt_outs",
    (
        Column("email", TEXT, "normalised address: the person"),
        Column("partner_id", INTEGER, "one partner with the address; empty: Odoo does not know it", True),
        Column("action", TEXT, "opt_out, lift or none"),
        Column("cause", TEXT, "event that requires it"),
        Column("occurred_at", TIME, "when that event happened, UTC", True),
        Column("conflict", TEXT, "what a person has to decide; empty: nothing", True),
        Column("because", TEXT, "why, in words"),
        *OUTCOME,
    ),
)

MISSED_OPT_OUTS = TableColumns(
    "missed_opt_outs",
    (
        Column("system", TEXT, "where it was applied: Odoo or Mailchimp"),
        Column("audience", TEXT, "audience by its name in the settings; empty for Odoo"),
        Column("email", TEXT, "address in lower case"),
        Column("partner_id", INTEGER, "one partner with the address, where Odoo was written", True),
        Column("action", TEXT, "opt_out or lift in Odoo, unsubscribe in Mailchimp"),
        Column("cause", TEXT, "what asks for it"),
        *OUTCOME,
    ),
)

COMPANY_STATUS = TableColumns(
    "company_status",
    (
        Column("part", TEXT, "kind of place: audience, store, merge_field, odoo, step, check, …"),
        Column("place", TEXT, "which one, by its name in the settings or in the two systems"),
        Column("code", TEXT, "short name of the fault; part, place and code identify it"),
        Column("kind", TEXT, "broken, waits (for a person) or not_looked_at (not checked)"),
        Column("sentence", TEXT, "what is wrong"),
        Column("what_to_do", TEXT, "what to do about it; empty: nothing, it is retried"),
        Column("owner", TEXT, "who acts: data engineering, marketing ops or finance"),
        Column("step", TEXT, "the steps that reported it"),
        Column("since", TIME, "when it was first found, UTC"),
        Column("seen_at", TIME, "when a run last checked and found it, UTC"),
        Column("new", BOOLEAN, "first found in this run"),
        Column(
            "of_this_run", BOOLEAN, "this run checked it; otherwise the state is from the last run that did"
        ),
    ),
)

ODOO_RECORDS = TableColumns(
    "odoo_records",
    (
        Column("record_id", INTEGER, "id of the record in Odoo"),
        Column("record_json", TEXT, "the fields as Odoo gave them"),
    ),
)
"""Records of one model as they were read, for the next read to build upon; no asset."""

ALL = {
    table.name: table
    for table in (
        ODOO_PARTNERS,
        ODOO_REFUNDS,
        ODOO_ORDERS,
        ODOO_ORDER_LINES,
        ODOO_PRODUCTS,
        ODOO_BLACKLIST,
        MAILCHIMP_MEMBERS,
        CONTACTS,
        SET_ASIDE,
        AUDIENCE_PLAN,
        AUDIENCE_PUSH,
        ODOO_OPT_OUTS,
        MAILCHIMP_UNSUBSCRIBES,
        MISSED_OPT_OUTS,
        STORE_ORDERS,
        PRODUCT_PUSH,
        ORDER_PUSH,
        MAILCHIMP_OPT_OUTS,
        REVENUE_RECONCILIATION,
        COMPANY_STATUS,
    )
}
