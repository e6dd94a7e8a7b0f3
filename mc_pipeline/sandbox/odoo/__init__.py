"""The stand-in Odoo server: JSON-RPC and JSON-2 of versions 17 to 20 over real HTTP, data in memory."""

from mc_pipeline.sandbox.odoo.server import SandboxOdoo

__all__ = ["SandboxOdoo"]
