# SPDX-License-Identifier: BSD-3-Clause
"""PCI configuration space, MSI-X and the doorbell record: facts only.

Sources: PCI Local Bus 3.0 ("PCI"), PCI Express Base 4.0 ("PCIe").
"""

from __future__ import annotations

from typing import Final

from pollmode.eal.layout import BitField, le_struct, offset_of, registers

CONFIG_SIZE: Final = 256  # PCI 6.1
EXTENDED_CONFIG_SIZE: Final = 4096  # PCIe 7.2.2
BARS: Final = 6

# PCI 6.1, type 0 header.
CONFIG = registers("""
VENDOR              0x00 16 RO
DEVICE              0x02 16 RO
COMMAND             0x04 16 RW
STATUS              0x06 16 RW
REVISION            0x08 8  RO
PROGRAMMING         0x09 8  RO   programming interface, subclass and class are three bytes
SUBCLASS            0x0A 8  RO
CLASS               0x0B 8  RO
HEADER_TYPE         0x0E 8  RO
BAR0                0x10 32 RW
SUBSYSTEM_VENDOR    0x2C 16 RO
SUBSYSTEM_DEVICE    0x2E 16 RO
CAPABILITIES        0x34 8  RO   offset of the first capability
INTERRUPT_PIN       0x3D 8  RO   0 without INTx
""")

NO_DEVICE: Final = 0xFFFF  # PCI 6.1: the vendor id where there is none

# PCI 6.2.2 and 6.2.3
COMMAND_IO: Final = 1 << 0
COMMAND_MEMORY: Final = 1 << 1
COMMAND_MASTER: Final = 1 << 2
COMMAND_INTX_DISABLE: Final = 1 << 10
STATUS_CAPABILITIES: Final = 1 << 4
MULTIFUNCTION: Final = 1 << 7  # in HEADER_TYPE

# PCI 6.2.5.1: the low bits of a base address
BAR_IS_PORT: Final = 1 << 0
BAR_TYPE: Final = BitField(1, 2)
BAR_TYPE_64: Final = 2
BAR_PORT_FLAGS: Final = 0x3
BAR_MEMORY_FLAGS: Final = 0xF

# PCI appendix H
CAP_POWER: Final = 0x01
CAP_MSI: Final = 0x05
CAP_EXPRESS: Final = 0x10
CAP_MSIX: Final = 0x11
CAP_POINTER: Final = 0xFC  # the low two bits are reserved: PCI 6.7
MAX_CAPABILITIES: Final = 48  # as many as fit behind the header

# PCI 6.8.2: offsets from the capability
MSIX = registers("""
CONTROL  0x02 16 RW
TABLE    0x04 32 RO   BAR in the low three bits, offset in the others
PENDING  0x08 32 RO
""")
MSIX_LAST_VECTOR: Final = BitField(0, 11)
MSIX_MASK_ALL: Final = 1 << 14
MSIX_ENABLE: Final = 1 << 15
MSIX_BAR: Final = BitField(0, 3)
MSIX_VECTOR_MASKED: Final = 1

MSIX_ENTRY = le_struct("msix_entry", 16, address_low="u4", address_high="u4", data="u4", control="u4")  # PCI 6.8.2

# PCIe 7.5.3: offsets from the capability
EXPRESS_CAPABILITIES: Final = 0x04
EXPRESS_CONTROL: Final = 0x08
EXPRESS_CAN_RESET: Final = 1 << 28
EXPRESS_RESET: Final = 1 << 15

# Our own: what compiled code reads to ring a doorbell. A cache line of numbers, then the text of a message.
DOORBELL = le_struct(
    "doorbell",
    128,
    kind="i8",
    target="i8",  # STORE: address in this process; WRITE: offset in the file
    fd="i8",
    size="i8",  # STORE, WRITE: bytes of the value: 1, 2, 4 or 8
    length="i8",  # MESSAGE: bytes of the text
    digits="i8",  # MESSAGE: where in the text the value's eight hexadecimal digits stand
    scratch="i8",  # WRITE: the value on its way
    errors="i8",  # times the kernel refused it
    text=("u1", 64),
)
DOORBELL_SIZE: Final = 128
DOORBELL_KIND: Final = offset_of(DOORBELL, "kind")
DOORBELL_TARGET: Final = offset_of(DOORBELL, "target")
DOORBELL_FD: Final = offset_of(DOORBELL, "fd")
DOORBELL_WIDTH: Final = offset_of(DOORBELL, "size")
DOORBELL_LENGTH: Final = offset_of(DOORBELL, "length")
DOORBELL_DIGITS: Final = offset_of(DOORBELL, "digits")
DOORBELL_SCRATCH: Final = offset_of(DOORBELL, "scratch")
DOORBELL_ERRORS: Final = offset_of(DOORBELL, "errors")
DOORBELL_TEXT: Final = offset_of(DOORBELL, "text")

DOORBELL_STORE: Final = 1
DOORBELL_WRITE: Final = 2
DOORBELL_EVENT: Final = 3
DOORBELL_MESSAGE: Final = 4
