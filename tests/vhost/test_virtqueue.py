# SPDX-License-Identifier: BSD-3-Clause
import pytest

from pollmode.vhost import virtqueue as vq


def test_structures_have_the_sizes_of_the_specification():
    assert vq.VRING_DESC.itemsize == 16
    assert vq.VRING_USED_ELEM.itemsize == 8
    assert vq.VIRTIO_NET_HDR.itemsize == 10
    assert vq.VIRTIO_NET_HDR_MRG_RXBUF.itemsize == 12


def test_ring_parts_have_the_sizes_of_section_2_7():
    assert (vq.desc_size(256), vq.avail_size(256), vq.used_size(256)) == (4096, 6 + 512, 6 + 2048)


@pytest.mark.parametrize("num", [1, 2, 256, 1024, 32768])
def test_split_layout_keeps_the_parts_apart_and_aligned(num):
    avail, used, total = vq.split_layout(num)
    assert avail == vq.desc_size(num)
    assert used % 4096 == 0
    assert used >= avail + vq.avail_size(num)
    assert total == used + vq.used_size(num)


@pytest.mark.parametrize("num", [0, 3, 255, 65536, -256])
def test_split_layout_refuses_sizes_that_are_no_power_of_two_or_too_large(num):
    with pytest.raises(ValueError, match="power of two"):
        vq.split_layout(num)


@pytest.mark.parametrize("align", [0, 2, 3, 4095])
def test_split_layout_refuses_alignments_that_break_the_used_ring(align):
    with pytest.raises(ValueError, match="aligned"):
        vq.split_layout(256, align)


def test_feature_words_are_made_and_named_by_bit():
    word = vq.features(vq.VIRTIO_NET_F_MRG_RXBUF, vq.VIRTIO_F_VERSION_1, 50)
    assert word == 1 << 15 | 1 << 32 | 1 << 50
    assert vq.has(word, vq.VIRTIO_F_VERSION_1)
    assert not vq.has(word, vq.VIRTIO_NET_F_MAC)
    assert vq.feature_names(word) == "VIRTIO_NET_F_MRG_RXBUF VIRTIO_F_VERSION_1 bit50"
    assert vq.feature_names(0) == "none"


@pytest.mark.parametrize(
    ("bits", "size"),
    [((), 10), ((vq.VIRTIO_NET_F_MRG_RXBUF,), 12), ((vq.VIRTIO_F_VERSION_1,), 12), ((vq.VIRTIO_F_RING_PACKED,), 12)],
)
def test_header_has_the_buffer_count_with_mergeable_or_modern_or_packed(bits, size):
    assert vq.header_size(vq.features(*bits)) == size
