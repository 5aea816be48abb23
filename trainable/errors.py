"""The one exception for mistakes a user can mend: its message is a sentence that says what, where and what to do."""


class InputError(ValueError):
    """Bad input, option or file. Command lines print the message alone, without a traceback, and exit with 2."""
