"""What finance reads of a reconciliation: chart, months, what is left out, and the bridge."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from mc_pipeline.defs.revenue.chart import month_chart
from mc_pipeline.tables import Table

if TYPE_CHECKING:
    import pandas as pd

SHOWN_MONTHS = 24
_BRIDGE_MONTHS = 6
_STEP_COLUMNS = {"month": "month", "books": "books"}
_CURRENCY, _DECIMAL_PLACES, _BRIDGE = "currency", "decimal_places", "bridge"
_UNSEEN, _WAITS = "stores_not_looked_at", "waits"


@dataclass(frozen=True)
class Reconciliation:
    """One company's reconciliation: rows of ``revenue_reconciliation`` and of the bridge.

    ``not_looked_at``: stores that were not compared, each with the reason. ``waits``: what of the company
    waits for a person.
    """

    rows: "pd.DataFrame"
    bridge: "pd.DataFrame"
    currency: str
    decimal_places: int
    not_looked_at: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: Table) -> Self:
        """Take it from the stored table."""
        import pandas as pd

        facts = table.facts
        bridge = pd.DataFrame(json.loads(facts[_BRIDGE]))
        amounts = bridge.columns.drop("month")
        bridge[amounts] = bridge[amounts].astype("float64")
        unseen, waits = (tuple(json.loads(facts.get(name, "[]"))) for name in (_UNSEEN, _WAITS))
        return cls(table.rows, bridge, facts[_CURRENCY], int(facts[_DECIMAL_PLACES]), unseen, waits)

    @property
    def facts(self) -> dict[str, str]:
        """What is stored with the table, besides its rows."""
        return {
            _CURRENCY: self.currency,
            _DECIMAL_PLACES: str(self.decimal_places),
            _BRIDGE: json.dumps(self.bridge.to_dict("list")),
            _UNSEEN: json.dumps(self.not_looked_at),
            _WAITS: json.dumps(self.waits),
        }

    @property
    def months(self) -> "pd.DataFrame":
        """By month of the order, the earliest first."""
        from mc_pipeline.domain.reconciliation.by_order import by_month

        return by_month(self.rows, self.decimal_places)

    @property
    def left_out(self) -> "pd.DataFrame":
        """By reason, what is kept by Odoo and in no store."""
        from mc_pipeline.domain.reconciliation.by_order import left_out

        return left_out(self.rows, self.decimal_places)

    @property
    def differing(self) -> "pd.DataFrame":
        """The orders whose store is not as it should be, the latest month first."""
        from mc_pipeline.domain.reconciliation.by_order import differing

        return _latest_first(self.rows[differing(self.rows)])

    @property
    def waiting(self) -> "pd.DataFrame":
        """The orders whose correction waits for a person, the latest month first."""
        from mc_pipeline.domain.reconciliation.by_order import WAITS

        return _latest_first(self.rows[self.rows["differs_because"] == WAITS])

    @property
    def left_alone(self) -> "pd.DataFrame":
        """The orders that stay in a store though they are due no more, the latest month first."""
        from mc_pipeline.domain.reconciliation.by_order import LEFT_ALONE

        return _latest_first(self.rows[self.rows["differs_because"] == LEFT_ALONE])

    @property
    def not_explained(self) -> "pd.DataFrame":
        """The months in which the general ledger holds something that no step leads to."""
        gap = self.bridge["not_explained"].round(self.decimal_places)
        return self.bridge.loc[gap != 0, ["month", "not_explained", "books"]]

    def months_with_books(self) -> "pd.DataFrame":
        """By month: the reconciliation, then the steps to the general ledger; for a spreadsheet."""
        both = self.months.merge(
            self.bridge.drop(columns="kept").rename(
                columns=lambda name: _STEP_COLUMNS.get(name, f"step_{name}")
            ),
            how="outer",
            on="month",
        )
        counts = ["orders", "orders_held", "orders_differing"]
        both[counts] = both[counts].fillna(0).astype("int64")
        rest = both.select_dtypes("number").columns.difference(counts)
        both[rest] = both[rest].fillna(0.0)
        both.insert(1, "currency", self.currency)
        return both.sort_values("month", ignore_index=True)


def orders_differ(count: int) -> str:
    """Say how many orders differ, as the beginning of a sentence."""
    return "1 order differs" if count == 1 else f"{count:,} orders differ"


def report_markdown(reconciliation: Reconciliation) -> str:
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


def bridge_steps(reconciliation: Reconciliation) -> "pd.DataFrame":
    """The steps that are not 0 in all months, as rows: in words, in all, and of the latest months."""
    from mc_pipeline.domain.reconciliation.ledger_bridge import STEPS

    bridge = reconciliation.bridge.set_index("month")[list(STEPS)]
    latest = bridge.tail(_BRIDGE_MONTHS)[::-1]
    steps = latest.T
    steps.insert(0, "all months", bridge.sum().round(reconciliation.decimal_places))
    needed = (bridge != 0).any() | bridge.columns.isin(["kept", "not_explained", "books"])
    steps.insert(0, "step", [STEPS[name] for name in steps.index])
    return steps[needed].reset_index(drop=True)


def _latest_first(orders: "pd.DataFrame") -> "pd.DataFrame":
    return orders.sort_values(["month", "order_id"], ascending=[False, True], ignore_index=True)


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


def _verdict(reconciliation: Reconciliation, months: "pd.DataFrame") -> str:
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


def _bridge_grid(reconciliation: Reconciliation, steps: dict[str, str]) -> str:
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
