"""Mailchimp's own texts, classified the same wherever they come from."""

import pytest

from mc_pipeline.mailchimp import errors
from mc_pipeline.mailchimp.errors import classify_rejection, error_class

TEXTS = [
    (
        "Member In Compliance State",
        "jane@example.com is in a compliance state due to unsubscribe, bounce, or compliance review "
        "and cannot be subscribed.",
        "compliance",
        errors.MailchimpComplianceError,
    ),
    (
        "Forgotten Email Not Subscribed",
        "jane@example.com was permanently deleted and cannot be re-imported. The contact must re-subscribe "
        "to get back on the list.",
        "forgotten",
        errors.MailchimpForgottenError,
    ),
    (
        "Member Exists",
        "jane@example.com is already a list member. Use PUT to insert or update list members.",
        "exists",
        errors.MailchimpMemberExistsError,
    ),
    ("Invalid Resource", "Please provide a valid email address.", "invalid", errors.MailchimpInvalidError),
    (
        "Invalid Resource",
        "jane@example.com looks fake or invalid, please enter a real email address.",
        "invalid",
        errors.MailchimpInvalidError,
    ),
    ("Invalid Resource", "Your merge fields were invalid.", "invalid", errors.MailchimpInvalidError),
    (
        "Invalid Resource",
        "jane@example.com has signed up to a lot of lists very recently; "
        "we're not allowing more signups for now",
        "deferred",
        errors.MailchimpTooManySignupsError,
    ),
    (
        "Bad Request",
        "Your account has reached the contact limit of its plan. Upgrade your plan to add more contacts.",
        "limit",
        errors.MailchimpContactLimitError,
    ),
    (
        "Forbidden",
        "You've exceeded the number of subscribers allowed for your account",
        "limit",
        errors.MailchimpContactLimitError,
    ),
    (
        "Bad Request",
        "A product with the provided ID does not exist in the account for this list.",
        "other",
        errors.MailchimpError,
    ),
]


@pytest.mark.parametrize(("title", "detail", "kind", "expected"), TEXTS)
def test_a_text_of_a_single_call_or_batch_operation(title, detail, kind, expected):
    assert classify_rejection(title, detail, None) == kind
    assert error_class(400, title, detail) is expected
    assert expected(400, title, detail).kind == kind


@pytest.mark.parametrize(("title", "detail", "kind", "_expected"), TEXTS)
def test_the_same_text_without_its_title_as_bulk_creation_gives_it(title, detail, kind, _expected):
    assert classify_rejection(None, detail, "ERROR_GENERIC") == kind


@pytest.mark.parametrize(
    ("title", "detail", "code", "field", "kind"),
    [
        (None, "", "ERROR_CONTACT_EXISTS", None, "exists"),
        (None, "whatever", "ERROR_GENERIC", "FNAME", "invalid"),
        (None, "whatever", "ERROR_GENERIC", None, "other"),
        (None, None, None, None, "other"),
        (None, "x@y.com has signed up for a lot of lists very recently", "ERROR_GENERIC", None, "deferred"),
        (None, "whatever", "ERROR_TOO_MANY_RECENT_SIGNUPS", None, "deferred"),
        (None, "plan.limit@contacts.com looks fake or invalid", "ERROR_GENERIC", None, "invalid"),
        (None, "contacts-limit@example.com cannot be added", "ERROR_GENERIC", None, "other"),
        (None, "Please enter a valid phone number for this member", "ERROR_GENERIC", None, "other"),
        ("MEMBER EXISTS", None, None, None, "exists"),
        ("Invalid Resource", "something new", None, None, "invalid"),
        ("Invalid Resource", "new@example.com is already in this list with another id", None, None, "exists"),
    ],
)
def test_codes_fields_and_unknown_texts(title, detail, code, field, kind):
    assert classify_rejection(title, detail, code, field) == kind


@pytest.mark.parametrize(
    ("status", "title", "expected"),
    [
        (401, "API Key Invalid", errors.MailchimpAuthenticationError),
        (403, "API Key Invalid", errors.MailchimpAuthenticationError),
        (403, "Wrong Datacenter", errors.MailchimpAuthenticationError),
        (403, "User Disabled", errors.MailchimpPermissionError),
        (404, "Resource Not Found", errors.MailchimpNotFoundError),
        (405, "Method Not Allowed", errors.MailchimpError),
        (408, "Request Timeout", errors.MailchimpServerError),
        (429, "Too Many Requests", errors.MailchimpRateLimitError),
        (500, "Internal Server Error", errors.MailchimpServerError),
    ],
)
def test_the_status_decides_what_is_no_rejection_of_a_member(status, title, expected):
    assert error_class(status, title, "") is expected
