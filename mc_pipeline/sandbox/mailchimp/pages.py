"""Pages for people: look at audiences and members, act as the person or an administrator, read the journal."""

from __future__ import annotations

from starlette.routing import Route

from mc_pipeline.sandbox.mailchimp.state import MailchimpState


def page_routes(state: MailchimpState) -> list[Route]:
    """The pages' routes."""
    return []
