"""A network of its own for this process and all it starts: loopback and nothing else.

Some peers listen on every interface whatever they are told. In here nobody else is on any.
"""

import ctypes
import fcntl
import socket
import struct
from typing import Final

_NEW_NETWORK: Final = 0x40000000  # CLONE_NEWNET of <sched.h>
_SET_FLAGS: Final = 0x8914  # SIOCSIFFLAGS of <linux/sockios.h>
_UP_AND_RUNNING: Final = 0x1 | 0x40  # IFF_UP, IFF_RUNNING of <net/if.h>


def loopback_only() -> bool:
    """Moves this process into a new network; False where that is not allowed (it needs root) and nothing has changed."""
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_NETWORK):
        return False
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP_AND_RUNNING))
    return True
