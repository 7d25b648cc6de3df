"""What a user can mend, told apart from what only a programmer can. Imports nothing."""


class UserError(ValueError):
    """Bad input: a value, file or option that the user gave. The message names the value, the rule and the remedy.

    A command prints it as one line and exits with 2 (`led_rl.cli`); every other exception is a bug, or the machine's
    fault, and keeps its traceback. It is a ValueError, so that a caller of the library may treat it as one.
    """
