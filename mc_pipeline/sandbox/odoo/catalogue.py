"""The fields of every model that the stand-in has by itself, per version.

Written by hand after Odoo Community 17, 18 and 19 with the modules sale, account and mass_mailing (and hr,
delivery where asked for). Only fields that a reader of customers, orders and consent may want are here; a
recording of a real server's ``fields_get`` replaces them. Recordings exist for 17, 18 and 19 alone: what
later versions have (``_SINCE``, ``_GONE``) is made by hand after Odoo's source.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from mc_pipeline.sandbox.odoo.fields import Field

Fields = dict[str, Field]

OPTIONAL_MODULES = {
    "hr": ("hr.employee",),
    "mass_mailing": (
        "mailing.contact",
        "mailing.list",
        "mailing.subscription",
        "mailing.subscription.optout",
    ),
    "account": ("account.account", "account.journal", "account.move", "account.move.line", "account.tax"),
    "sale": ("sale.order", "sale.order.line", "sale.order.cancel"),
    "delivery": (),
    "point_of_sale": ("pos.config", "pos.session", "pos.order"),
}
"""Modules that a database may lack, and the models that go with them. ``delivery`` only adds a field."""

_ORDER_STATES = "draft:Quotation sent:Quotation_Sent sale:Sales_Order cancel:Cancelled"
_MOVE_TYPES = (
    "entry:Journal_Entry out_invoice:Customer_Invoice out_refund:Customer_Credit_Note in_invoice:Vendor_Bill "
    "in_refund:Vendor_Credit_Note out_receipt:Sales_Receipt in_receipt:Purchase_Receipt"
)
_ADDRESS_TYPES = "contact:Contact invoice:Invoice_Address delivery:Delivery_Address other:Other_Address"
_PAYMENT_STATES = (
    "not_paid:Not_Paid in_payment:In_Payment paid:Paid partial:Partially_Paid reversed:Reversed "
    "invoicing_legacy:Invoicing_App_Legacy"
)
_LINE_TYPES = (
    "product:Product cogs:Cost_of_Goods_Sold tax:Tax discount:Discount rounding:Rounding "
    "payment_term:Payment_Term line_section:Section line_note:Note epd:Early_Payment_Discount"
)
_ACCOUNT_TYPES = (
    "asset_receivable:Receivable asset_cash:Bank_and_Cash liability_current:Current_Liabilities "
    "income:Income income_other:Other_Income expense:Expenses"
)
_INVOICE_STATUS = "upselling:Upselling invoiced:Fully_Invoiced to_invoice:To_Invoice no:Nothing_to_Invoice"


def _parse(declarations: str) -> Iterator[Field]:
    """One field a line: name, type, then words: ``>model`` relation, ``.field`` inverse, ``!`` required,
    ``ro`` read-only, ``computed`` not stored, ``unsearchable``, ``=value`` unset value, ``@group`` readers,
    ``~model.field`` mirror of a many2many, ``key:Label`` selection entries."""
    for line in declarations.strip().splitlines():
        name, type_, *words = line.split()
        field = Field(name, type_, sortable=type_ not in ("one2many", "many2many", "binary"))
        selection: list[tuple[str, str]] = []
        for word in words:
            match word[0], word[1:]:
                case ">", relation:
                    field = replace(field, relation=relation)
                case ".", inverse:
                    field = replace(field, relation_field=inverse)
                case "~", mirror:
                    model, _, other = mirror.rpartition(".")
                    field = replace(field, mirror=(model, other))
                case "@", group:
                    field = replace(field, groups=field.groups | {group})
                case "=", value:
                    field = replace(field, unset={"True": True, "1.0": 1.0}.get(value, value))
                case "!", "":
                    field = replace(field, required=True)
                case _:
                    if word == "ro":
                        field = replace(field, readonly=True)
                    elif word == "computed":
                        field = replace(field, store=False, readonly=True, sortable=False)
                    elif word == "writable":
                        field = replace(field, readonly=False)
                    elif word == "unsearchable":
                        field = replace(field, searchable=False)
                    else:
                        key, _, label = word.partition(":")
                        key = "to invoice" if key == "to_invoice" else key
                        selection.append((key, label.replace("_", " ")))
        yield replace(field, selection=tuple(selection))


_ALWAYS = """
id integer ro
display_name char computed
create_date datetime ro
create_uid many2one >res.users ro
write_date datetime ro
write_uid many2one >res.users ro
"""

_MODELS: dict[str, str] = {
    "res.partner": f"""
        name char
        complete_name char ro
        active boolean =True
        email char
        email_normalized char ro
        email_formatted char computed unsearchable
        is_blacklisted boolean computed
        message_bounce integer
        phone char
        phone_sanitized char ro
        is_company boolean
        company_type selection computed unsearchable writable person:Individual company:Company
        company_name char
        commercial_company_name char ro
        commercial_partner_id many2one >res.partner ro
        parent_id many2one >res.partner
        parent_name char computed
        child_ids one2many >res.partner .parent_id
        type selection =contact {_ADDRESS_TYPES}
        company_id many2one >res.company
        category_id many2many >res.partner.category
        industry_id many2one >res.partner.industry
        lang selection =en_US
        tz selection
        street char
        street2 char
        zip char
        city char
        state_id many2one >res.country.state
        country_id many2one >res.country
        country_code char computed
        contact_address char computed unsearchable
        function char
        website char
        vat char
        ref char
        comment html
        color integer
        employee boolean
        user_id many2one >res.users
        user_ids one2many >res.users .partner_id
        partner_share boolean ro
        is_public boolean computed unsearchable
        customer_rank integer
        supplier_rank integer
        sale_order_count integer computed unsearchable
        sale_order_ids one2many >sale.order .partner_id
        invoice_ids one2many >account.move .partner_id ro
        credit monetary computed @accounting
        debit monetary computed @accounting
        total_invoiced monetary computed unsearchable @accounting
        """,
    "res.partner.category": """
        name char !
        active boolean =True
        color integer
        parent_id many2one >res.partner.category
        parent_path char
        child_ids one2many >res.partner.category .parent_id
        partner_ids many2many >res.partner ~res.partner.category_id
        """,
    "res.partner.industry": """
        name char
        full_name char
        active boolean =True
        """,
    "res.users": """
        login char !
        name char computed writable
        email char computed writable
        active boolean =True
        share boolean ro
        partner_id many2one >res.partner !
        company_id many2one >res.company !
        company_ids many2many >res.company
        lang selection computed writable
        tz selection computed writable
        signature html
        login_date datetime computed
        """,
    "res.company": """
        name char !
        active boolean =True
        sequence integer
        partner_id many2one >res.partner !
        currency_id many2one >res.currency !
        parent_id many2one >res.company
        parent_path char ro
        child_ids one2many >res.company .parent_id
        user_ids many2many >res.users ~res.users.company_ids
        email char
        phone char
        country_id many2one >res.country computed unsearchable
        street char computed unsearchable
        city char computed unsearchable
        zip char computed unsearchable
        """,
    "res.country": """
        name char !
        code char !
        currency_id many2one >res.currency
        phone_code integer
        state_ids one2many >res.country.state .country_id
        """,
    "res.country.state": """
        name char !
        code char !
        country_id many2one >res.country !
        """,
    "res.currency": """
        name char !
        full_name char
        symbol char !
        active boolean =True
        rate float computed unsearchable
        rounding float
        decimal_places integer ro
        position selection =after after:After_Amount before:Before_Amount
        """,
    "res.lang": """
        name char !
        code char !
        iso_code char
        url_code char !
        active boolean =True
        """,
    "sale.order": f"""
        name char !
        state selection ro =draft {_ORDER_STATES}
        locked boolean
        partner_id many2one >res.partner !
        partner_invoice_id many2one >res.partner !
        partner_shipping_id many2one >res.partner !
        date_order datetime !
        validity_date date
        commitment_date datetime
        client_order_ref char
        origin char
        reference char
        note html
        company_id many2one >res.company !
        currency_id many2one >res.currency ro
        currency_rate float ro =1.0
        country_code char computed
        order_line one2many >sale.order.line .order_id
        amount_untaxed monetary ro
        amount_tax monetary ro
        amount_total monetary ro
        amount_invoiced monetary computed unsearchable
        invoice_ids many2many >account.move computed
        invoice_count integer computed unsearchable
        invoice_status selection ro =no {_INVOICE_STATUS}
        user_id many2one >res.users
        campaign_id many2one >utm.campaign
        medium_id many2one >utm.medium
        source_id many2one >utm.source
        """,
    "sale.order.line": f"""
        order_id many2one >sale.order !
        name text !
        sequence integer
        display_type selection line_section:Section line_note:Note
        product_id many2one >product.product
        product_template_id many2one >product.template computed
        product_uom_qty float !
        price_unit float !
        discount float
        price_subtotal monetary ro
        price_tax float ro
        price_total monetary ro
        price_reduce_taxexcl monetary ro
        is_downpayment boolean
        qty_delivered float
        qty_invoiced float ro
        qty_to_invoice float ro
        untaxed_amount_invoiced monetary ro
        invoice_lines many2many >account.move.line ~account.move.line.sale_line_ids
        invoice_status selection ro {_INVOICE_STATUS}
        state selection ro {_ORDER_STATES}
        company_id many2one >res.company ro
        currency_id many2one >res.currency ro
        order_partner_id many2one >res.partner ro
        salesman_id many2one >res.users ro
        """,
    "account.move": f"""
        name char
        ref char
        move_type selection ! ro =entry {_MOVE_TYPES}
        state selection ! ro =draft draft:Draft posted:Posted cancel:Cancelled
        payment_state selection ro =not_paid {_PAYMENT_STATES}
        partner_id many2one >res.partner
        commercial_partner_id many2one >res.partner ro
        partner_shipping_id many2one >res.partner
        date date !
        invoice_date date
        invoice_date_due date
        invoice_origin char ro
        journal_id many2one >account.journal
        company_id many2one >res.company
        company_currency_id many2one >res.currency computed
        currency_id many2one >res.currency !
        line_ids one2many >account.move.line .move_id
        invoice_line_ids one2many >account.move.line .move_id
        reversed_entry_id many2one >account.move ro
        invoice_user_id many2one >res.users
        posted_before boolean
        amount_untaxed monetary ro
        amount_tax monetary ro
        amount_total monetary ro
        amount_residual monetary ro
        amount_untaxed_signed monetary ro
        amount_tax_signed monetary ro
        amount_total_signed monetary ro
        amount_total_in_currency_signed monetary ro
        amount_residual_signed monetary ro
        """,
    "account.account": f"""
        name char !
        code char
        account_type selection ! {_ACCOUNT_TYPES}
        """,
    "account.journal": """
        name char !
        code char !
        active boolean =True
        type selection ! sale:Sales purchase:Purchase cash:Cash bank:Bank general:Miscellaneous
        company_id many2one >res.company !
        """,
    "pos.config": """
        name char !
        active boolean =True
        company_id many2one >res.company !
        journal_id many2one >account.journal
        invoice_journal_id many2one >account.journal
        """,
    "pos.session": """
        name char !
        config_id many2one >pos.config !
        """,
    "pos.order": """
        name char !
        session_id many2one >pos.session !
        """,
    "account.move.line": f"""
        move_id many2one >account.move ! ro
        journal_id many2one >account.journal ro
        move_type selection computed {_MOVE_TYPES}
        parent_state selection ro draft:Draft posted:Posted cancel:Cancelled
        name char
        sequence integer
        display_type selection ! =product {_LINE_TYPES}
        product_id many2one >product.product
        quantity float
        price_unit float
        discount float
        price_subtotal monetary ro
        price_total monetary ro
        balance monetary
        amount_currency monetary
        account_id many2one >account.account
        account_type selection computed {_ACCOUNT_TYPES}
        is_downpayment boolean
        sale_line_ids many2many >sale.order.line ro
        tax_ids many2many >account.tax
        partner_id many2one >res.partner
        company_id many2one >res.company ro
        currency_id many2one >res.currency !
        company_currency_id many2one >res.currency ro
        date date ro
        """,
    "account.tax": """
        name char !
        active boolean =True
        amount float !
        amount_type selection =percent percent:Percentage fixed:Fixed
        price_include boolean
        type_tax_use selection =sale sale:Sales purchase:Purchases none:None
        company_id many2one >res.company !
        """,
    "product.category": """
        name char !
        complete_name char ro
        parent_id many2one >product.category
        child_id one2many >product.category .parent_id
        """,
    "product.template": """
        name char !
        active boolean =True
        type selection =consu consu:Goods service:Service
        default_code char
        list_price float
        sale_ok boolean =True
        categ_id many2one >product.category
        company_id many2one >res.company
        invoice_policy selection =order order:Ordered_quantities delivery:Delivered_quantities
        product_variant_ids one2many >product.product .product_tmpl_id
        """,
    "product.product": """
        name char computed writable
        active boolean =True
        default_code char
        barcode char
        product_tmpl_id many2one >product.template !
        lst_price float computed unsearchable writable
        list_price float computed writable
        type selection computed writable consu:Goods service:Service
        categ_id many2one >product.category computed writable
        company_id many2one >res.company computed writable
        """,
    "mail.blacklist": """
        email char !
        active boolean =True
        opt_out_reason_id many2one >mailing.subscription.optout
        """,
    "mailing.list": """
        name char !
        active boolean =True
        is_public boolean
        contact_ids many2many >mailing.contact
        contact_count integer computed unsearchable
        subscription_ids one2many >mailing.subscription .list_id
        """,
    "mailing.contact": """
        name char
        company_name char
        email char
        email_normalized char ro
        is_blacklisted boolean computed
        message_bounce integer
        opt_out boolean computed
        country_id many2one >res.country
        list_ids many2many >mailing.list
        tag_ids many2many >res.partner.category
        subscription_ids one2many >mailing.subscription .contact_id
        """,
    "mailing.subscription": """
        contact_id many2one >mailing.contact !
        list_id many2one >mailing.list !
        opt_out boolean
        opt_out_datetime datetime
        opt_out_reason_id many2one >mailing.subscription.optout
        is_blacklisted boolean computed writable
        message_bounce integer computed
        """,
    "mailing.subscription.optout": """
        name char
        sequence integer
        is_feedback boolean
        """,
    "utm.campaign": """
        name char !
        title char !
        active boolean =True
        """,
    "utm.medium": """
        name char !
        active boolean =True
        """,
    "utm.source": """
        name char !
        """,
    "hr.employee": """
        name char
        active boolean =True
        user_id many2one >res.users
        work_email char
        work_contact_id many2one >res.partner
        company_id many2one >res.company !
        """,
    "res.users.apikeys": """
        name char ! ro
        user_id many2one >res.users ! ro
        scope char ro
        """,
    "ir.model": """
        model char !
        name char !
        """,
    "ir.module.module": """
        name char !
        state selection ro uninstalled:Not_Installed installed:Installed
        """,
    "mail.message": """
        model char
        res_id integer
        record_name char
        subject char
        body html
        date datetime
        message_type selection =comment comment:Comment notification:System_notification
        subtype_id many2one >mail.message.subtype
        is_internal boolean
        author_id many2one >res.partner
        email_from char
        notified_partner_ids many2many >res.partner
        """,
    "mail.message.subtype": """
        name char !
        internal boolean
        default boolean =True
        hidden boolean
        res_model char
        sequence integer
        """,
    "sale.order.cancel": """
        order_id many2one >sale.order !
        """,
    "mail.blacklist.remove": """
        email char !
        reason char
        """,
    "base.partner.merge.automatic.wizard": """
        partner_ids many2many >res.partner
        dst_partner_id many2one >res.partner
        state selection =option option:Option selection:Selection finished:Finished
        """,
}

_ONLY: dict[int, dict[str, str]] = {
    17: {
        "res.partner": """
            mobile char
            title many2one >res.partner.title
            team_id many2one >crm.team
            """,
        "res.partner.title": """
            name char !
            """,
        "res.users": """
            groups_id many2many >res.groups
            """,
        "sale.order": """
            amount_to_invoice monetary ro
            """,
        "sale.order.line": """
            tax_id many2many >account.tax
            """,
        "account.move": """
            reversal_move_id one2many >account.move .reversed_entry_id
            """,
        "product.template": """
            detailed_type selection ! =consu consu:Consumable service:Service
            """,
    },
    18: {
        "res.partner": """
            mobile char
            title many2one >res.partner.title
            """,
        "res.partner.title": """
            name char !
            """,
        "res.users.apikeys": """
            expiration_date datetime ro
            """,
        "res.users": """
            groups_id many2many >res.groups
            """,
        "sale.order": """
            amount_to_invoice monetary computed unsearchable
            """,
        "sale.order.line": """
            tax_id many2many >account.tax
            """,
        "account.move": """
            reversal_move_ids one2many >account.move .reversed_entry_id
            """,
        "mailing.contact": """
            first_name char
            last_name char
            """,
    },
    19: {
        "res.users.apikeys": """
            expiration_date datetime ro
            """,
        "res.users": """
            group_ids many2many >res.groups
            """,
        "sale.order": """
            amount_to_invoice monetary computed unsearchable
            """,
        "sale.order.line": """
            tax_ids many2many >account.tax
            """,
        "account.move": """
            reversal_move_ids one2many >account.move .reversed_entry_id
            """,
        "mailing.contact": """
            first_name char
            last_name char
            """,
    },
}

_SINCE: dict[tuple[int, int], dict[str, str]] = {
    (19, 1): {
        "res.partner": "is_company boolean ro",
    },
    (19, 4): {
        "ir.access": """
            name char
            active boolean =True
            model_id many2one >ir.model !
            operation char !
            group_id many2one >res.groups
            domain char
            """,
    },
    (20, 0): {
        "res.partner": "has_vat boolean computed unsearchable",
        "sale.order.line": """
            name text
            label text computed unsearchable
            """,
        "product.template": "description_sale text",
        "product.product": "description_sale text computed writable",
        "pos.config": """
            closing_journal_id many2one >account.journal !
            default_partner_id many2one >res.partner
            """,
    },
}
"""Fields that a version after 19.0 added or changed. Made by hand, like ``_GONE``: nothing was recorded."""

_GONE: dict[tuple[int, int], dict[str, tuple[str, ...]]] = {
    (19, 1): {"res.partner": ("company_type",)},
    (19, 4): {"res.partner": ("company_name",)},
    (20, 0): {"pos.config": ("invoice_journal_id",)},
}

_MARKS_OF_TILLS = """
pos_session_sales_id many2one >pos.session
pos_session_refunds_id many2one >pos.session
pos_session_correction_id many2one >pos.session
reversed_pos_order_id many2one >pos.order
"""
"""What account.move has from 20 on where the point of sale is installed."""

_WITH_MODULE: dict[str, dict[str, str]] = {
    "delivery": {"sale.order.line": "is_delivery boolean"},
    "mass_mailing": {"mail.blacklist": "opt_out_reason_id many2one >mailing.subscription.optout"},
    "sale": {
        "res.partner": "sale_order_count integer computed unsearchable\n"
        "sale_order_ids one2many >sale.order .partner_id"
    },
    "account": {
        "sale.order.line": "invoice_lines many2many >account.move.line ~account.move.line.sale_line_ids"
    },
}


def built_in_models(version: tuple[int, int], modules: frozenset[str]) -> dict[str, Fields]:
    """Fields by model of a database of this version with these optional modules; the caller's to change."""
    return {model: dict(fields) for model, fields in _models(version, modules).items()}


@cache
def _models(version: tuple[int, int], modules: frozenset[str]) -> dict[str, Fields]:
    only = _ONLY[min(version[0], max(_ONLY))]
    missing_models = {
        model for module, models in OPTIONAL_MODULES.items() if module not in modules for model in models
    }
    models: dict[str, Fields] = {}
    later = [_SINCE[since] for since in sorted(_SINCE) if since <= version]
    new = {name: None for additions in (only, *later) for name in additions if name not in _MODELS}
    for name in (*_MODELS, *new):
        if name in missing_models:
            continue
        declarations = _ALWAYS + _MODELS.get(name, "") + only.get(name, "")
        models[name] = {field.name: field for field in _parse(_tidy(declarations))}
        for additions in later:
            models[name] |= {field.name: field for field in _parse(_tidy(additions.get(name, "")))}
    for since, gone in _GONE.items():
        for name, fields in gone.items() if since <= version else ():
            for field_name in fields if name in models else ():
                models[name].pop(field_name, None)
    if version >= (20, 0) and {"account", "point_of_sale"} <= modules:
        models["account.move"] |= {field.name: field for field in _parse(_tidy(_MARKS_OF_TILLS))}
    for module, additions in _WITH_MODULE.items():
        for name, declarations in additions.items():
            if name not in models:
                continue
            for field in _parse(declarations):
                if module in modules:
                    models[name][field.name] = field
                else:
                    models[name].pop(field.name, None)
    return models


def _tidy(declarations: str) -> str:
    return "\n".join(line.strip() for line in declarations.splitlines() if line.strip())


def mirrors() -> dict[tuple[str, str], tuple[str, str]]:
    """Which many2many fields are kept on the rows of the other side, for recorded definitions too."""
    return {
        ("res.partner.category", "partner_ids"): ("res.partner", "category_id"),
        ("res.company", "user_ids"): ("res.users", "company_ids"),
        ("sale.order.line", "invoice_lines"): ("account.move.line", "sale_line_ids"),
    }
