"""The one root of every error that Headwater raises on purpose."""


class HeadwaterError(Exception):
    """Something Headwater can explain.

    Subclasses take their culprits as keyword data and build the message themselves: what happened, to which
    thing, what to do next. The command line prints the message alone and exits with 2; anything that is not a
    `HeadwaterError` is a defect and keeps its traceback.
    """
