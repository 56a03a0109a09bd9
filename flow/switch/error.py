"""What a change of plans that was not made raises."""


class SwitchError(Exception):
    """A change that was not made: what was asked, what was found, what to do next. The running plan runs on."""
