# SPDX-License-Identifier: BSD-3-Clause
"""python kernel_ping.py ADDRESS COUNT: ICMP echoes through the kernel's stack; exits 0 when each is answered."""

from __future__ import annotations

import socket
import struct
import sys
import time


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def answered(wire: socket.socket, echo: bytes, address: str) -> bool:
    """Send an echo and wait a second for the answer."""
    wire.sendto(echo, (address, 0))
    try:
        while True:
            answer = wire.recv(2048)[20:]  # behind the IPv4 header
            if answer[0] == 0 and answer[4:] == echo[4:]:
                return True
    except TimeoutError:
        return False


def main(address: str, count: int) -> int:
    identity = 0x504D
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as wire:
        wire.settimeout(1.0)
        for number in range(count):
            body = struct.pack("!HH", identity, number) + bytes(range(56))
            echo = struct.pack("!BBH", 8, 0, checksum(struct.pack("!BBH", 8, 0, 0) + body)) + body
            end = time.monotonic() + 60
            while not answered(wire, echo, address):
                if time.monotonic() > end:
                    print(f"echo {number} was not answered")
                    return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
