"""Whom a plan would have mailed: people who join an audience that greets newcomers.

A welcome automation writes to everybody who becomes `subscribed`, created or upgraded; to people who are
asked to confirm it writes once they do. People created as `transactional` get no mail. Nothing is held
back here: people see it before they approve.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from mc_pipeline.vocabulary import MemberStatus, Operation

JOURNEYS_NOT_LISTED = (
    "Mailchimp's API cannot list customer journeys: look under Automations in Mailchimp for one that starts "
    "when somebody joins"
)


@dataclass(frozen=True)
class Greeting:
    """What becoming a member of one audience means.

    Attributes:
        audience: its name in the settings.
        connected: whether Mailchimp says that a welcome automation is connected; if not, a customer journey
            may still greet people, which Mailchimp does not report.
        automations: titles of the welcome automations, as far as Mailchimp lists them.
        joining: people who would become `subscribed`.
        confirming: people who would be asked to confirm (`pending`).
    """

    audience: str
    connected: bool
    automations: tuple[str, ...]
    joining: int
    confirming: int

    @property
    def said(self) -> str:
        """For people, without the audience: "connected: 90 people would be mailed"."""
        if not self.connected:
            return f"none connected, as far as Mailchimp reports; {JOURNEYS_NOT_LISTED}"
        named = f" ({', '.join(self.automations)})" if self.automations else ""
        later = f", and {self.confirming:,} when they confirm" if self.confirming else ""
        return f"connected{named}: {_people(self.joining)} would be mailed{later}"


def greetings(
    plan: pd.DataFrame,
    connected: Collection[str],
    automations: Mapping[str, Sequence[str]],
    first_load: Collection[str],
) -> tuple[Greeting, ...]:
    """Say for each audience that a plan writes to whom it would greet.

    Args:
        plan: rows of ``audience_plan``; held-back rows mail nobody.
        connected: audiences of which Mailchimp says that a welcome automation is connected.
        automations: audience -> titles of its welcome automations, where they were asked for.
        first_load: audiences loaded for the first time.

    Returns:
        Audiences with a welcome automation whom somebody would join, and those of a first load, in the order
        of their names.
    """
    sent = plan[plan["held_back_because"] == ""]
    subscribing = sent[sent["operation"].isin([Operation.CREATE, Operation.UPGRADE])]
    joining = subscribing[subscribing["status"] == MemberStatus.SUBSCRIBED].groupby("audience").size()
    confirming = subscribing[subscribing["status"] == MemberStatus.PENDING].groupby("audience").size()
    found = []
    for audience in sorted(set(joining.index) | set(confirming.index) | set(first_load)):
        titles = tuple(automations.get(audience, ()))
        greets = audience in connected or bool(titles)
        if greets or audience in first_load:
            found.append(
                Greeting(
                    audience,
                    greets,
                    titles,
                    int(joining.get(audience, 0)),
                    int(confirming.get(audience, 0)),
                )
            )
    return tuple(found)


def verdict_on_greetings(found: Sequence[Greeting]) -> str:
    """Say in the plan's verdict who would be mailed; empty where nobody joins or might be mailed."""
    said = []
    for each in found:
        if not each.joining and not each.confirming:
            continue
        if each.connected:
            said.append(f"{each.audience}: welcome automation {each.said}.")
        elif each.joining:
            said.append(
                f"{each.audience}: {_people(each.joining)} would become subscribed; no welcome automation is "
                f"known. {JOURNEYS_NOT_LISTED}."
            )
    return " ".join(said)


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count:,} people" if count else "nobody"
