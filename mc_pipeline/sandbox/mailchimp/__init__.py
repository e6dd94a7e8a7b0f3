"""A stand-in for the Mailchimp Marketing API.

Where the real API's behaviour is not documented, it takes the reading under which careless code does harm.
"""

from mc_pipeline.sandbox.mailchimp.people import ActRefusedError
from mc_pipeline.sandbox.mailchimp.server import DEFAULT_KEY, SandboxMailchimp

__all__ = ["DEFAULT_KEY", "ActRefusedError", "SandboxMailchimp"]
