"""The failures that one line explains."""


class MeldflowError(Exception):
    """A failure that one line explains; the command line prints it without a traceback."""

    exit_code = 1


class UsageError(MeldflowError):
    """The user named something that is not there or cannot be used."""

    exit_code = 2


class BusyError(UsageError):
    """Somebody else is writing where the user wants to."""


class RunError(MeldflowError):
    """A run that started and could not finish."""


class StoppedError(MeldflowError):
    """The user stopped a run."""

    exit_code = 130
