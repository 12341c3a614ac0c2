"""The one exception that means "the input is wrong, not the program".

Its message is a single line that says what is wrong, where, and what would be right; the command line
prints that line and leaves with exit code 2.
"""


class PerrinError(ValueError):
    """Bad input: one clear line naming the thing, its value and what would be right."""


class NotEnoughMemory(PerrinError):
    """Memory ran out at the smallest piece of work there is."""


class UnknownName(PerrinError, KeyError):
    """A name that no registry entry bears; the message holds the nearest names."""

    def __str__(self) -> str:  # KeyError would print the repr, quotes and all
        return str(self.args[0])


def check_counts(**given: object) -> None:
    """Refuse what is no number of things, by its name.

    Raises:
        PerrinError: anything but a whole number of at least 1.
    """
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise PerrinError(f"{name} = {value!r} must be a whole number of at least 1")
