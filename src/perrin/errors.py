"""The one exception that means "the input is wrong, not the program".

Its message is a single line that says what is wrong, where, and what would be right; the command line
prints that line and leaves with exit code 2.
"""


class PerrinError(ValueError):
    """Bad input: one clear line naming the thing, its value and what would be right."""


class UnknownName(PerrinError, KeyError):
    """A name that no registry entry bears; the message holds the nearest names."""

    def __str__(self) -> str:  # KeyError would print the repr, quotes and all
        return str(self.args[0])
