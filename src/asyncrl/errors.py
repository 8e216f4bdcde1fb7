"""The two ways a command can end badly, each with its exit code."""


class UserError(Exception):
    """Wrong usage or bad input: one line that says what is wrong and how to mend it (exit code 2)."""


class RunError(Exception):
    """A run that started and could not go on, with the cause in its text (exit code 1)."""
