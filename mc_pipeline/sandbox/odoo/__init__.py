"""The stand-in Odoo server: JSON-RPC of versions 17, 18 and 19 over real HTTP, data in memory."""

from mc_pipeline.sandbox.odoo.server import SandboxOdoo

__all__ = ["SandboxOdoo"]
