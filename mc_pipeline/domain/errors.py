"""The error of a rule that cannot be applied as it is written."""


class RuleError(ValueError):
    """A rule of the settings, or a table it is applied to, allows no single answer.

    The message is one sentence that names the setting or column and the way out. It contains ids only.
    """
