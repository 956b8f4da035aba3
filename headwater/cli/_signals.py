"""Commands that run until they are stopped."""

import signal
import threading


def ended() -> threading.Event:
    """Set by Ctrl-C and SIGTERM, also where a background shell has it ignored; the second one does not wait for a look to end."""
    found = threading.Event()

    def end(number: int, frame: object) -> None:
        found.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    return found
