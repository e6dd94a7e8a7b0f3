"""The ids that products, orders and lines have in a Mailchimp store; ids of customers are not made here.

An id is made from Odoo's own, so that the same record is always the same thing in the store, whatever it is
called; only what Odoo has no record of is known by its text. All are short (Mailchimp takes 50 characters),
have no slash, and never hold the word "server".
"""

import hashlib

_DIGITS = 18
"""More digits no id in Odoo has, nor does a 64-bit number."""

FREE_TEXT = "free-text"
"""Product and variant of lines without a product in Odoo and without a text."""
_TEXT = "text-"
ADJUSTMENT = "adjustment"
"""Product, variant and line of amounts of an order that are on no line of it."""


def order_id(sale_order: int) -> str:
    """Return the id of an order."""
    return f"o{sale_order}"


def sale_order_of(identity: str) -> int | None:
    """Return the id in Odoo of the order with this id in a store; None for an order that is not ours."""
    number = identity[1:]
    ours = identity[:1] == "o" and number.isascii() and number.isdigit() and not number.startswith("0")
    return int(number) if ours and len(number) <= _DIGITS else None


def line_id(sale_order_line: int) -> str:
    """Return the id of an order's line."""
    return f"l{sale_order_line}"


def product_id(product_template: int) -> str:
    """Return the id of a product; in Odoo, a template."""
    return f"p{product_template}"


def variant_id(product: int) -> str:
    """Return the id of a variant; in Odoo, a product."""
    return f"v{product}"


def text_product_id(text: str) -> str:
    """Return the id, product and variant alike, of what was sold by this text, without a product in Odoo."""
    return f"{_TEXT}{hashlib.sha256(text.encode()).hexdigest()[:20]}" if text else FREE_TEXT


def is_text_product(identity: str) -> bool:
    """Whether this is the id of something that was sold by a text, without a product in Odoo."""
    return identity.startswith(_TEXT)


def deleted_product_id(product: int) -> str:
    """Return the id of the stand-in, product and variant alike, for a product that Odoo no longer has."""
    return f"deleted-{product}"
