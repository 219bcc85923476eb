# SPDX-License-Identifier: BSD-3-Clause
"""What running ports receive and send, into a pcapng file: a tap that is put in and taken out without stopping them.

Each captured queue has a callback and memory of its own between them: the lcore copies packets into it as blocks of the
file, a thread takes them out, oldest first over all queues, and writes. Nothing waits for the thread: what finds no
room is counted as dropped, and goes its way all the same.

`start` captures from within the process. `remote` does it for another process: see there.
"""

from .tap import Selection, Tap, start

__all__ = ["Selection", "Tap", "start"]
