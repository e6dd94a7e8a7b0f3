"""The run's setting to read some months again, whatever Odoo says changed."""

import re

import dagster as dg
from pydantic import Field, field_validator


class MonthsAgain(dg.ConfigurableResource["MonthsAgain"]):
    """Which months are read again; all others are taken as last read, but for what changed since."""

    only: list[str] = Field(
        default=[],
        description=(
            "Months such as 2024-05: their orders and lines are read again even if nothing shows that they "
            "changed. Empty: no particular month."
        ),
    )

    @field_validator("only")
    @classmethod
    def _are_months(cls, months: list[str]) -> list[str]:
        wrong = [month for month in months if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: write a month as YYYY-MM")
        return months
