# SPDX-License-Identifier: BSD-3-Clause
"""Facts of the device: registers, commands, descriptors, shared structures, limits of each revision.

There is no public specification. The sources are the definitions that VMware publishes with its drivers: Linux
drivers/net/vmxnet3/vmxnet3_defs.h and upt1_defs.h ("defs" and "upt1" below), and DPDK drivers/net/vmxnet3/base for
revision 7. Everything is little endian. A descriptor is two 64-bit words; bit fields are given within their word.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pollmode.eal.layout import BitField, le_struct, offset_of, registers

VENDOR: Final = 0x15AD
DEVICE: Final = 0x07B0

BAR_PASS_THROUGH: Final = 0  # interrupt masks and doorbells
BAR_VIRTUAL: Final = 1  # everything else

# defs, "BAR 1". Registers are 32 bits wide, 8 bytes apart.
REGISTERS: Final = registers("""
VRRS   0x00  32  RW   revisions offered, a bit each / write: the one selected
UVRS   0x08  32  RW   UPT versions offered / write: the one selected
DSAL   0x10  32  RW   address of DriverShared, low half
DSAH   0x18  32  RW   address of DriverShared, high half
CMD    0x20  32  RW   write: a command / read: its result
MACL   0x28  32  RW   MAC address, first 4 bytes
MACH   0x30  32  RW   MAC address, last 2 bytes
ICR    0x38  32  RO   interrupt cause; a read clears it and lowers INTx
ECR    0x40  32  WO   write 1 to acknowledge an event; they are told in DriverShared
DCR    0x48  32  RW   revision 7: capabilities of the device / write: those selected
PTCR   0x88  32  RO   revision 7: capabilities with pass-through
""")
VRRS: Final = REGISTERS["VRRS"].offset
UVRS: Final = REGISTERS["UVRS"].offset
DSAL: Final = REGISTERS["DSAL"].offset
DSAH: Final = REGISTERS["DSAH"].offset
CMD: Final = REGISTERS["CMD"].offset
MACL: Final = REGISTERS["MACL"].offset
MACH: Final = REGISTERS["MACH"].offset
ICR: Final = REGISTERS["ICR"].offset
ECR: Final = REGISTERS["ECR"].offset
DCR: Final = REGISTERS["DCR"].offset
PTCR: Final = REGISTERS["PTCR"].offset

# defs, "BAR 0": one register of 8 bytes for each interrupt or queue.
IMR: Final = 0x000  # interrupt mask: 1 masks
TXPROD: Final = 0x600
RXPROD: Final = 0x800
RXPROD2: Final = 0xA00
REGISTER_STRIDE: Final = 8
BAR0_SIZE: Final = 4096
BAR1_SIZE: Final = 4096

# defs, Vmxnet3_Cmd.
CMD_ACTIVATE: Final = 0xCAFE0000
CMD_QUIESCE: Final = 0xCAFE0001
CMD_RESET: Final = 0xCAFE0002
CMD_UPDATE_RX_MODE: Final = 0xCAFE0003
CMD_UPDATE_MAC_FILTERS: Final = 0xCAFE0004
CMD_UPDATE_VLAN_FILTERS: Final = 0xCAFE0005
CMD_UPDATE_RSSIDT: Final = 0xCAFE0006
CMD_UPDATE_FEATURE: Final = 0xCAFE0009
CMD_REGISTER_MEMREGS: Final = 0xCAFE000F  # revision 3
CMD_SET_RSS_FIELDS: Final = 0xCAFE0010  # revision 4
CMD_SET_RING_BUFFER_SIZE: Final = 0xCAFE0013  # revision 7
CMD_GET_QUEUE_STATUS: Final = 0xF00D0000
CMD_GET_STATS: Final = 0xF00D0001
CMD_GET_LINK: Final = 0xF00D0002  # bit 0: up; high half: Mbps
CMD_GET_PERM_MAC_LO: Final = 0xF00D0003
CMD_GET_PERM_MAC_HI: Final = 0xF00D0004
CMD_GET_CONF_INTR: Final = 0xF00D0008
CMD_GET_TXDATA_DESC_SIZE: Final = 0xF00D000A  # revision 3
CMD_GET_MAX_QUEUES_CONF: Final = 0xF00D000F  # revision 6: tx in bits 0-7, rx in bits 8-15
CMD_GET_DCR0: Final = 0xF00D0012  # revision 7
FIRST_SET: Final = 0xCAFE0000
FIRST_GET: Final = 0xF00D0000

LINK_UP: Final = BitField(0, 1)
LINK_SPEED: Final = BitField(16, 16)
INTR_TYPE: Final = BitField(0, 2)
INTR_MASK_MODE: Final = BitField(2, 2)
INTR_TYPE_AUTO: Final = 0
INTR_TYPE_MSIX: Final = 3
MASK_MODE_AUTO: Final = 0

# Events, defs VMXNET3_ECR_*.
ECR_RQERR: Final = 1 << 0
ECR_TQERR: Final = 1 << 1
ECR_LINK: Final = 1 << 2
ECR_DIC: Final = 1 << 3

# Transmit descriptor, defs Vmxnet3_TxDesc: word 0 is the address, word 1:
DESC_SIZE: Final = 16
DESC_WORD1: Final = 8
TXD_LEN: Final = BitField(0, 14)  # 0 means 16384
TXD_GEN: Final = BitField(14, 1)
TXD_MSSCOF: Final = BitField(18, 14)  # TSO: segment size; checksum: where it stands in the frame
TXD_HLEN: Final = BitField(32, 10)  # TSO: all headers; checksum: where the sum begins
TXD_OM: Final = BitField(42, 2)
TXD_EOP: Final = BitField(44, 1)
TXD_CQ: Final = BitField(45, 1)  # a completion is wanted
TXD_TI: Final = BitField(47, 1)  # insert the VLAN tag TCI
TXD_TCI: Final = BitField(48, 16)
OM_NONE: Final = 0
OM_CSUM: Final = 2
OM_TSO: Final = 3

# Transmit completion, defs Vmxnet3_TxCompDesc: word 0, then word 1.
TCD_INDEX: Final = BitField(0, 12)  # of the packet's EOP descriptor
TCD_TYPE: Final = BitField(56, 7)
TCD_GEN: Final = BitField(63, 1)
TYPE_TX: Final = 0

# Receive descriptor, defs Vmxnet3_RxDesc: word 0 is the address, word 1:
RXD_LEN: Final = BitField(0, 14)
RXD_BTYPE: Final = BitField(14, 1)
RXD_GEN: Final = BitField(31, 1)
BTYPE_HEAD: Final = 0
BTYPE_BODY: Final = 1

# Receive completion, defs Vmxnet3_RxCompDesc: word 0.
RCD_INDEX: Final = BitField(0, 12)
RCD_EOP: Final = BitField(14, 1)
RCD_SOP: Final = BitField(15, 1)
RCD_RQID: Final = BitField(16, 10)  # queue: ring 0; queue + n: ring 1; queue + 2n: data ring (n receive queues)
RCD_RSS_TYPE: Final = BitField(26, 4)
RCD_CNC: Final = BitField(30, 1)  # checksum not calculated
RCD_HASH: Final = BitField(32, 32)
RCD_SEGCNT: Final = BitField(32, 8)  # LRO, Vmxnet3_RxCompDescExt: instead of the hash
# Word 1.
RCD_LEN: Final = BitField(0, 14)
RCD_ERR: Final = BitField(14, 1)
RCD_TS: Final = BitField(15, 1)  # a tag was stripped
RCD_TCI: Final = BitField(16, 16)
RCD_MSS: Final = BitField(32, 16)  # LRO: in place of the checksum
RCD_TUC: Final = BitField(48, 1)  # TCP or UDP checksum is right
RCD_UDP: Final = BitField(49, 1)
RCD_TCP: Final = BitField(50, 1)
RCD_IPC: Final = BitField(51, 1)  # IPv4 checksum is right
RCD_V6: Final = BitField(52, 1)
RCD_V4: Final = BitField(53, 1)
RCD_FRG: Final = BitField(54, 1)
RCD_FCS: Final = BitField(55, 1)  # the frame's CRC is right
RCD_TYPE: Final = BitField(56, 7)
RCD_GEN: Final = BitField(63, 1)
RCD_PARSED: Final = BitField(48, 7)  # TUC to FRG
TYPE_RX: Final = 3  # QEMU writes 0
TYPE_RX_LRO: Final = 4
RSS_TYPE_NONE: Final = 0
RSS_TYPE_IPV4: Final = 1
RSS_TYPE_TCP4: Final = 2
RSS_TYPE_IPV6: Final = 3
RSS_TYPE_TCP6: Final = 4

# What the driver and the device share, defs Vmxnet3_DriverShared and its parts.
MISC_CONF: Final[np.dtype[Any]] = le_struct(
    "MiscConf",
    72,
    driver_version="u4",
    gos="u4",
    revisions="u4",
    upt_versions="u4",
    upt_features="i8",
    dd_pa="i8",
    queue_desc_pa="i8",
    dd_len="u4",
    queue_desc_len="u4",
    mtu="u4",
    max_rx_sg="u2",
    tx_queues="u1",
    rx_queues="u1",
    reserved=("u4", 4),
)
MAX_INTRS: Final = 25
EXT_MAX_INTRS: Final = 65
INTR_CONF: Final[np.dtype[Any]] = le_struct(
    "IntrConf",
    40,
    auto_mask="u1",
    interrupts="u1",
    event_index="u1",
    moderation=("u1", MAX_INTRS),
    control="u4",
    reserved=("u4", 2),
)
INTR_CONF_EXT: Final[np.dtype[Any]] = le_struct(
    "IntrConfExt",
    80,
    auto_mask="u1",
    interrupts="u1",
    event_index="u1",
    reserved="u1",
    control="u4",
    reserved1="u4",
    moderation=("u1", EXT_MAX_INTRS),
    reserved2=("u1", 3),
)
INTR_DISABLE_ALL: Final = 1
IML_ADAPTIVE: Final = 8  # upt1
VFT_WORDS: Final = 128  # a bit for each of 4096 VLAN ids
RX_FILTER_CONF: Final[np.dtype[Any]] = le_struct(
    "RxFilterConf", 528, rx_mode="u4", mf_table_len="u2", unused="u2", mf_table_pa="i8", vf_table=("u4", VFT_WORDS)
)
VARIABLE_CONF: Final[np.dtype[Any]] = le_struct("VariableLenConfDesc", 16, version="u4", length="u4", pa="i8")
DRIVER_SHARED: Final[np.dtype[Any]] = le_struct(
    "DriverShared",
    800,
    magic="u4",
    size="u4",
    misc=MISC_CONF,
    intr=INTR_CONF,
    filter=RX_FILTER_CONF,
    rss=VARIABLE_CONF,
    pm=VARIABLE_CONF,
    plugin=VARIABLE_CONF,
    ecr="u4",
    reserved="u4",
    cmd_info=VARIABLE_CONF,
    intr_ext=INTR_CONF_EXT,  # revision 6
)
SHARED_ECR: Final = offset_of(DRIVER_SHARED, "ecr")
MAGIC: Final = 0xBABEFEE1
SHARED_ALIGN: Final = 8
GOS_64_BITS: Final = 2
GOS_LINUX: Final = 1 << 2
DRIVER_VERSION: Final = 0x01013000

# upt1, UPT1_F_*.
F_RXCSUM: Final = 1
F_RSS: Final = 2
F_RXVLAN: Final = 4
F_LRO: Final = 8

# defs, VMXNET3_RXM_*.
RXM_UCAST: Final = 0x01
RXM_MCAST: Final = 0x02
RXM_BCAST: Final = 0x04
RXM_ALL_MULTI: Final = 0x08
RXM_PROMISC: Final = 0x10

# upt1, UPT1_TxStats and UPT1_RxStats.
TX_STATS: Final[np.dtype[Any]] = le_struct(
    "TxStats",
    80,
    tso_packets="i8",
    tso_bytes="i8",
    unicast_packets="i8",
    unicast_bytes="i8",
    multicast_packets="i8",
    multicast_bytes="i8",
    broadcast_packets="i8",
    broadcast_bytes="i8",
    error_packets="i8",
    discard_packets="i8",
)
RX_STATS: Final[np.dtype[Any]] = le_struct(
    "RxStats",
    80,
    lro_packets="i8",
    lro_bytes="i8",
    unicast_packets="i8",
    unicast_bytes="i8",
    multicast_packets="i8",
    multicast_bytes="i8",
    broadcast_packets="i8",
    broadcast_bytes="i8",
    out_of_buffers="i8",
    error_packets="i8",
)

# defs, Vmxnet3_TxQueueDesc and Vmxnet3_RxQueueDesc: control, configuration, status, statistics.
TX_QUEUE_DESC: Final[np.dtype[Any]] = le_struct(
    "TxQueueDesc",
    256,
    deferred="u4",  # packets the device was not told of
    threshold="u4",  # the device: tell it of so many at once
    reserved="i8",
    ring_pa="i8",
    data_pa="i8",
    comp_pa="i8",
    dd_pa="i8",
    reserved1="i8",
    ring_size="u4",
    data_size="u4",
    comp_size="u4",
    dd_len="u4",
    interrupt="u1",
    unused="u1",
    data_desc_size="u2",
    unused1=("u1", 4),
    stopped="u1",
    unused2=("u1", 3),
    error="u4",
    stats=TX_STATS,
    unused3=("u1", 88),
)
RX_QUEUE_DESC: Final[np.dtype[Any]] = le_struct(
    "RxQueueDesc",
    256,
    update_prod="u1",  # the device: tell it of new buffers
    reserved=("u1", 15),
    ring_pa=("i8", 2),
    comp_pa="i8",
    dd_pa="i8",
    data_pa="i8",  # revision 3
    ring_size=("u4", 2),
    comp_size="u4",
    dd_len="u4",
    interrupt="u1",
    unused="u1",
    data_desc_size="u2",
    unused1=("u1", 4),
    stopped="u1",
    unused2=("u1", 3),
    error="u4",
    stats=RX_STATS,
    unused3=("u1", 88),
)
QUEUE_DESC_SIZE: Final = 256
QUEUE_DESC_ALIGN: Final = 128
TXQ_DEFERRED: Final = offset_of(TX_QUEUE_DESC, "deferred")
TXQ_THRESHOLD: Final = offset_of(TX_QUEUE_DESC, "threshold")
RXQ_UPDATE_PROD: Final = offset_of(RX_QUEUE_DESC, "update_prod")

# Why a queue was stopped, defs VMXNET3_ERR_*.
ERR_NOEOP: Final = 0x80000000
ERR_BIG_PKT: Final = 0x80000002
ERR_SMALL_BUF: Final = 0x80000004
ERR_TXD_INVALID: Final = 0x80000007
QUEUE_ERRORS: Final[dict[int, str]] = {
    ERR_NOEOP: "no end of a packet",
    0x80000001: "a descriptor used again before it was completed",
    ERR_BIG_PKT: "too many descriptors for a packet",
    0x80000003: "a descriptor of an unknown type",
    ERR_SMALL_BUF: "a head buffer too small",
    0x80000005: "a test of its own",
    0x80000006: "a failed change of mode",
    ERR_TXD_INVALID: "a descriptor it cannot use",
}

# upt1, UPT1_RSSConf.
RSS_KEY_SIZE: Final = 40
RSS_MAX_TABLE: Final = 128
RSS_CONF: Final[np.dtype[Any]] = le_struct(
    "RSSConf",
    176,
    hash_type="u2",
    hash_func="u2",
    key_size="u2",
    table_size="u2",
    key=("u1", RSS_KEY_SIZE),
    table=("u1", RSS_MAX_TABLE),
)
HASH_IPV4: Final = 1
HASH_TCP4: Final = 2
HASH_IPV6: Final = 4
HASH_TCP6: Final = 8
HASH_TOEPLITZ: Final = 1
# defs, Vmxnet3_RSSField (revision 4).
FIELD_TCP4: Final = 0x01
FIELD_TCP6: Final = 0x02
FIELD_UDP4: Final = 0x04
FIELD_UDP6: Final = 0x08
FIELD_ESP4: Final = 0x10
FIELD_ESP6: Final = 0x20
FIELDS: Final = 0x3F

# Limits, defs.
LAST_REVISION: Final = 7
RING_ALIGN: Final = 512
RING_STEP: Final = 32
MAX_RING: Final = 4096
MIN_RX_RING: Final = 128  # DPDK's
MIN_TX_RING: Final = 512  # DPDK's
MAX_SEGMENTS: Final = 16  # descriptors of a packet
MAX_TSO_SEGMENTS: Final = 24
MAX_PIECE: Final = (1 << 14) - 1  # bytes of one descriptor; 16384 has a length of 0, which we don't use
MAX_RX_BUFFER: Final = (1 << 14) - 1
MIN_HEAD_BUFFER: Final = 128
MAX_RX_PKTLEN: Final = 16384
MIN_MTU: Final = 60
MAX_MTU: Final = 9000
MAX_MTU_V6: Final = 9190
MAX_TX_QUEUES: Final = 8
MAX_RX_QUEUES: Final = 16
EXT_MAX_QUEUES: Final = 32  # revision 6
TX_DATA_SIZE: Final = 128
TX_DATA_MAX: Final = 2048
DATA_STEP: Final = 64
RX_DATA_SIZE: Final = 256  # DPDK's
RX_DATA_MAX: Final = 2048
MAX_MULTICAST: Final = 0xFFFF // 6  # mf_table_len counts bytes in 16 bits
# Revision 7: capabilities in DCR 0.
CAP_UDP_RSS: Final = 1 << 0
CAP_ESP_RSS4: Final = 1 << 1
CAP_ESP_RSS6: Final = 1 << 9
CAP_LARGE_BAR: Final = 1 << 16
CAP_OUT_OF_ORDER: Final = 1 << 17
DCR_ERROR: Final = 1 << 31
