"""Speaking to Mailchimp: one safe client over the official library, and what the pipeline does with it.

Members, tags (static segments), batch operations, merge fields and audiences each have a module.
What should be sent, and whether, is decided in :mod:`mc_pipeline.domain`, not here.
"""
