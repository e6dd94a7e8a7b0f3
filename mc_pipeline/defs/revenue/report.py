"""What finance reads of a reconciliation: chart, months, what is left out, and the bridge."""

from typing import TYPE_CHECKING

from mc_pipeline.defs.revenue.chart import month_chart

if TYPE_CHECKING:
    import pandas as pd

    from mc_pipeline.sync.reconciliation import Reconciliation

SHOWN_MONTHS = 24
_BRIDGE_MONTHS = 6


def orders_differ(count: int) -> str:
    """Say how many orders differ, as the beginning of a sentence."""
    return "1 order differs" if count == 1 else f"{count:,} orders differ"


def report_markdown(reconciliation: "Reconciliation") -> str:
    """Return the whole report as Markdown: Dagster shows it on the asset's page."""
    from mc_pipeline.domain.reconciliation.ledger_bridge import STEPS

    unit = reconciliation.currency
    months = reconciliation.months
    shown = months.tail(SHOWN_MONTHS)
    earlier = len(months) - len(shown)
    held = shown["mailchimp_goods"] + shown["mailchimp_shipping"]
    chart = month_chart(
        "Revenue by month",
        shown["month"].tolist(),
        {"ordered": shown["ordered"].tolist(), "kept": shown["kept"].tolist(), "Mailchimp": held.tolist()},
        unit,
    )
    left_out = reconciliation.left_out
    sections = [
        _verdict(reconciliation, months),
        chart,
        f"By month of the order, without tax, in {unit}. Mailchimp's own revenue is the goods.",
        _grid(shown[::-1], _MONTHS, reconciliation.decimal_places),
        f"{earlier:,} earlier months are in the CSV file." if earlier else "",
        "### Kept by Odoo and in no store" if len(left_out) else "",
        _grid(left_out, _LEFT_OUT, reconciliation.decimal_places) if len(left_out) else "",
        "### From kept revenue to the general ledger",
        f"Without tax, in {unit}. Orders are in the month of the order, documents in the month of their "
        "accounting date; all months are in the CSV file.",
        _bridge_grid(reconciliation, STEPS),
    ]
    return "\n\n".join(filter(None, sections))


def bridge_steps(reconciliation: "Reconciliation") -> "pd.DataFrame":
    """The steps that are not 0 in all months, as rows: in words, in all, and of the latest months."""
    from mc_pipeline.domain.reconciliation.ledger_bridge import STEPS

    bridge = reconciliation.bridge.set_index("month")[list(STEPS)]
    latest = bridge.tail(_BRIDGE_MONTHS)[::-1]
    steps = latest.T
    steps.insert(0, "all months", bridge.sum().round(reconciliation.decimal_places))
    needed = (bridge != 0).any() | bridge.columns.isin(["kept", "not_explained", "books"])
    steps.insert(0, "step", [STEPS[name] for name in steps.index])
    return steps[needed].reset_index(drop=True)


_MONTHS = {
    "month": "month",
    "orders": "orders",
    "ordered": "ordered",
    "given_back": "credited, cancelled",
    "kept": "kept",
    "left_out": "in no store",
    "due_goods": "due: goods",
    "due_shipping": "due: shipping",
    "mailchimp_goods": "Mailchimp: goods",
    "mailchimp_shipping": "Mailchimp: shipping",
    "left_alone": "stays, not due",
    "waiting": "waits",
    "difference": "difference",
    "orders_differing": "orders that differ",
}
_LEFT_OUT = {"in_words": "because", "orders": "orders", "kept_untaxed": "kept"}


def _verdict(reconciliation: "Reconciliation", months: "pd.DataFrame") -> str:
    differing, gaps = len(reconciliation.differing), len(reconciliation.not_explained)
    orders = int(months["orders"].sum())
    unseen = (
        f" Not checked: {'; '.join(reconciliation.not_looked_at)}." if reconciliation.not_looked_at else ""
    )
    waits = f" Waits for approval: {'; '.join(reconciliation.waits)}." if reconciliation.waits else ""
    said = [
        f"**Mailchimp's stores hold exactly what is due; {orders:,} orders were checked.**"
        if not (differing or unseen or waits)
        else f"**Nothing differs in what could be checked.**{unseen}{waits}"
        if not differing
        else f"**{orders_differ(differing)} between Odoo and Mailchimp: see `differing_orders_in_odoo`.**"
        f"{unseen}{waits}",
        "The general ledger reconciles exactly."
        if not gaps
        else f"In {gaps:,} months the general ledger holds something that no step explains.",
    ]
    return " ".join(said)


def _bridge_grid(reconciliation: "Reconciliation", steps: dict[str, str]) -> str:
    rows = bridge_steps(reconciliation)
    sums = {words for words in steps.values() if words.startswith("=")}
    rows["step"] = [f"**{words}**" if words in sums else words for words in rows["step"]]
    return _grid(rows, {name: str(name) for name in rows.columns}, reconciliation.decimal_places)


def _grid(rows: "pd.DataFrame", headings: dict[str, str], decimal_places: int) -> str:
    """A Markdown table: numbers to the right, amounts with their decimals. The cells are our own words."""
    numbers = set(rows.select_dtypes("number").columns)
    lines = [
        f"| {' | '.join(headings.values())} |",
        "|" + "".join("---:|" if name in numbers else ":---|" for name in headings),
    ]
    for row in rows[list(headings)].to_dict("records"):
        cells = [_shown(value, decimal_places) for value in row.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(value: object, decimal_places: int) -> str:
    if isinstance(value, float):
        return f"{value + 0.0:,.{decimal_places}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
