"""Shows the progress of a run on the terminal, line by line, as Dagster reports it."""

import logging
from typing import Any

import dagster as dg
from rich.console import Console
from rich.markup import escape

from mc_pipeline.defs.consent.assets import CARRIED, MISSING, WAITING
from mc_pipeline.defs.partitions import COMPANY_STATUS
from mc_pipeline.domain.consent.usual_numbers import CarriedNumbers

_WORDS = {
    "odoo_partners": "partners read from Odoo",
    "odoo_refunds": "lines of posted invoices and credit notes read from Odoo",
    "odoo_orders": "orders read from Odoo",
    "odoo_order_lines": "lines of orders read from Odoo",
    "odoo_products": "products that were ordered read from Odoo",
    "odoo_blacklist": "opted-out addresses read from Odoo",
    "mailchimp_members": "members read from Mailchimp",
    "odoo_opt_outs": "Mailchimp opt-outs and resubscribes",
    "mailchimp_unsubscribes": "Odoo opt-outs applied to Mailchimp",
    "contacts": "contacts that should be in an audience",
    "set_aside": "partners set aside",
    "audience_plan": "changes planned",
    "audience_push": "changes pushed",
    "store_orders": "orders calculated for the stores",
    "product_push": "products sent to the stores",
    "order_push": "orders sent to the stores, or corrected there",
    "revenue_reconciliation": "orders compared with the stores",
    "mailchimp_opt_outs": "opt-outs and resubscribes reported by Mailchimp since the last run",
    "orders_by_month": "orders in {month}, of which some changed",
    "missed_opt_outs": "missed opt-outs applied",
}


_OBVIOUS = ("Dependencies for step",)
"""Beginnings of Dagster's own messages that only repeat what was said about the step that failed."""


class TerminalProgress(logging.Handler):
    """A log handler that shows what people care about: tables made, checks failed, warnings."""

    def __init__(self, console: Console) -> None:
        super().__init__(level=logging.DEBUG)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record of Dagster's log, or nothing."""
        meta = getattr(record, "dagster_meta", None) or {}
        event = meta.get("dagster_event")
        if event is None:
            self._said(record, meta)
        elif event.event_type_value == "ASSET_MATERIALIZATION":
            self._made(event.step_materialization_data.materialization)
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            self._checked(event.asset_check_evaluation_data)

    def _said(self, record: logging.LogRecord, meta: dict[str, Any]) -> None:
        message = meta.get("orig_message", record.getMessage())
        if message.startswith(_OBVIOUS):
            return
        if record.levelno >= logging.WARNING and meta.get("step_key"):
            self._console.print(f"  [yellow]![/] {escape(message)}", highlight=False)
        elif record.levelno == logging.INFO and meta.get("step_key"):
            self._console.print(f"    {escape(message)}", highlight=False)

    def _made(self, materialization: dg.AssetMaterialization) -> None:
        name = materialization.asset_key.path[-1]
        if name == COMPANY_STATUS:
            return  # it has said its line itself
        # Of what is pushed, the rows that were written count; others only say why not.
        written = materialization.metadata.get("written")
        rows = written or materialization.metadata.get("dagster/row_count")
        count = f"{rows.value:>8,}" if rows is not None else " " * 8
        month = str(materialization.partition or "").rpartition("|")[2]
        words, done = _WORDS.get(name, name).format(month=month), True
        if name == "odoo_opt_outs":
            numbers = CarriedNumbers(
                *(int(str(materialization.metadata[key].value)) for key in (CARRIED, WAITING, MISSING))
            )
            words, done = f"{words}: {numbers.said}", not (numbers.waiting or numbers.missing)
        mark = "[green]✓[/]" if done else "[yellow]![/]"
        self._console.print(f"  {mark} {count} {words}", highlight=False)

    def _checked(self, evaluation: Any) -> None:
        if evaluation.passed:
            return
        mark = "[red]✗[/]" if evaluation.severity == dg.AssetCheckSeverity.ERROR else "[yellow]![/]"
        self._console.print(
            f"  {mark} {evaluation.check_name}: {escape(evaluation.description or '')}", highlight=False
        )


def progress_logger(console: Console) -> dg.LoggerDefinition:
    """Make the Dagster logger that shows progress on ``console`` and nowhere else."""

    @dg.logger
    def terminal(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("mc_pipeline.progress", level=logging.DEBUG)
        logger.addHandler(TerminalProgress(console))
        return logger

    return terminal
