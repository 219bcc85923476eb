# SPDX-License-Identifier: BSD-3-Clause
"""VFIO's ioctls and structures: linux/vfio.h, facts only."""

from __future__ import annotations

from typing import Final

from pollmode.eal.layout import le_struct

_BASE: Final = ord(";") << 8 | 100  # _IO(VFIO_TYPE, VFIO_BASE + number)

GET_API_VERSION: Final = _BASE + 0
CHECK_EXTENSION: Final = _BASE + 1
SET_IOMMU: Final = _BASE + 2
GROUP_GET_STATUS: Final = _BASE + 3
GROUP_SET_CONTAINER: Final = _BASE + 4
GROUP_GET_DEVICE_FD: Final = _BASE + 6
DEVICE_GET_INFO: Final = _BASE + 7
DEVICE_GET_REGION_INFO: Final = _BASE + 8
DEVICE_GET_IRQ_INFO: Final = _BASE + 9
DEVICE_SET_IRQS: Final = _BASE + 10
DEVICE_RESET: Final = _BASE + 11
IOMMU_MAP_DMA: Final = _BASE + 13
IOMMU_UNMAP_DMA: Final = _BASE + 14

API_VERSION: Final = 0
TYPE1_IOMMU: Final = 1
TYPE1V2_IOMMU: Final = 3
NOIOMMU_IOMMU: Final = 8

GROUP_STATUS = le_struct("vfio_group_status", 8, argsz="u4", flags="u4")
GROUP_VIABLE: Final = 1 << 0

DEVICE_INFO = le_struct("vfio_device_info", 16, argsz="u4", flags="u4", num_regions="u4", num_irqs="u4")
DEVICE_CAN_RESET: Final = 1 << 0

REGION_INFO = le_struct(
    "vfio_region_info", 32, argsz="u4", flags="u4", index="u4", cap_offset="u4", size="u8", offset="u8"
)
REGION_CAN_MMAP: Final = 1 << 2
REGION_HAS_CAPS: Final = 1 << 3
CAP_HEADER = le_struct("vfio_info_cap_header", 8, id="u2", version="u2", next="u4")
CAP_SPARSE_MMAP: Final = 1
CAP_MSIX_MAPPABLE: Final = 3
SPARSE_COUNT = le_struct("vfio_region_info_cap_sparse_mmap", 8, nr_areas="u4", reserved="u4")  # behind CAP_HEADER
SPARSE_AREA = le_struct("vfio_region_sparse_mmap_area", 16, offset="u8", size="u8")
MOST_INFO: Final = 4096  # bytes of an answer with capabilities that we read

CONFIG_REGION: Final = 7

IRQ_INFO = le_struct("vfio_irq_info", 16, argsz="u4", flags="u4", index="u4", count="u4")
IRQ_INTX: Final = 0
IRQ_MSI: Final = 1
IRQ_MSIX: Final = 2
IRQ_REQUEST: Final = 4  # the kernel wants the device back
IRQ_SET = le_struct("vfio_irq_set", 20, argsz="u4", flags="u4", index="u4", start="u4", count="u4")
SET_NOTHING: Final = 1 << 0
SET_EVENTFDS: Final = 1 << 2
ACTION_MASK: Final = 1 << 3
ACTION_UNMASK: Final = 1 << 4
ACTION_TRIGGER: Final = 1 << 5

DMA_MAP = le_struct("vfio_iommu_type1_dma_map", 32, argsz="u4", flags="u4", vaddr="u8", iova="u8", size="u8")
DMA_UNMAP = le_struct("vfio_iommu_type1_dma_unmap", 24, argsz="u4", flags="u4", iova="u8", size="u8")
DMA_READ_WRITE: Final = 0x3
