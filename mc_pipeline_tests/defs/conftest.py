"""Every test of the definitions runs in a world of both stand-in servers."""

from mc_pipeline_tests.world import world

__all__ = ["world"]
