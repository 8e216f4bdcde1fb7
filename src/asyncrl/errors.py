"""The two ways in which a command can fail, each with its exit code."""


class UserError(Exception):
    """Wrong usage or bad input. The message is one line that says what is wrong and how to fix it (exit code 2)."""


class RunError(Exception):
    """A run that started and then failed. The message says why (exit code 1)."""
