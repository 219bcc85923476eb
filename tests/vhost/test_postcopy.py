# SPDX-License-Identifier: BSD-3-Clause
"""Post-copy migration: our front end fills the pages that our back end misses, or doesn't."""

import ctypes
import os
import select
import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.vhost import PROTOCOL_OFFER, Recorder, kept, settle, until

from pollmode.eal.errors import HostError, UnsupportedError
from pollmode.eal.userfault import Userfault
from pollmode.vhost import postcopy
from pollmode.vhost.attacks import FRONTEND_ATTACKS
from pollmode.vhost.faults import MalformedMessage, PeerGone, RefusedMessage
from pollmode.vhost.frontend import DRIVER_PROTOCOL_FEATURES, Frontend
from pollmode.vhost.messages import U64, Protocol, RegionEntry, Request, pack_table
from pollmode.vhost.session import Session
from pollmode.vhost.testing import WAIT, Answer, GuestMemory, ScriptedBackend, ScriptedFrontend
from pollmode.vhost.virtqueue import features

PAGE = 4096
PAGE_SECONDS = 2.0  # so long that honest messages are served in less, also where others want the cores
OFFER = PROTOCOL_OFFER & ~features(Protocol.CONFIGURE_MEM_SLOTS) | features(Protocol.PAGEFAULT)
WANTED = DRIVER_PROTOCOL_FEATURES | features(Protocol.PAGEFAULT)

_memcpy = ctypes.CDLL(None).memcpy  # unlike ctypes.string_at it gives the interpreter's lock back while it waits
_memcpy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


class Lcore(threading.Thread):
    """Who is in a ring, and reads eight bytes of the front end's memory."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address, self.found = address, ctypes.create_string_buffer(8)
        self.start()

    def run(self):
        _memcpy(self.found, self.address, 8)

    def value(self):
        self.join(WAIT)
        assert not self.is_alive(), "it still waits for its page"
        return self.found.raw


class Careful(Recorder):
    """A back end that leaves a ring only when its lcores have, as a driver does."""

    protocol_features = OFFER

    def __init__(self):
        super().__init__()
        self.lcores = []

    def read(self, address):
        self.lcores.append(Lcore(address))
        return self.lcores[-1]

    def on_vring_stopped(self, session, vring):
        for lcore in self.lcores:
            lcore.value()
        return super().on_vring_stopped(session, vring)


@pytest.fixture(scope="module", autouse=True)
def _possible():
    try:
        Userfault().close()
    except HostError as error:
        pytest.skip(str(error))


@pytest.fixture
def owner():
    return Careful()


@pytest.fixture
def memory():
    with GuestMemory() as made:
        yield made


class Guest:
    """A guest whose memory is on its way: the front end and the faults it is told."""

    def __init__(self, front, memory, share=True, start=True):
        self.front, self.memory = front, memory
        front.negotiate(WANTED)
        front.set_features(front.offered)
        self.faults = Userfault(front.postcopy_advise())
        front.postcopy_listen()
        self.call = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        if share:
            self.share()
        if share and start:
            self.start()

    def share(self):
        [self.base] = self.front.postcopy_share([self.memory.region])

    def start(self):
        ring = self.ring = self.memory.ring(64)
        self.front.set_vring_num(0, ring.num)
        self.front.set_vring_addr(0, desc=ring.desc, avail=ring.avail, used=ring.used)
        self.front.set_vring_call(0, self.call)
        self.front.set_vring_kick(0, self.call)
        self.front.set_vring_enable(0, True)

    def missing(self):
        """Wait for a fault; return where in the memory its page is."""
        poll = select.poll()
        poll.register(self.faults.fileno(), select.POLLIN)
        assert poll.poll(WAIT * 1000), "no fault was told"
        return self.faults.read() // PAGE * PAGE - self.base

    def fill(self, page, byte):
        self.memory.bytes[page : page + PAGE] = bytes([byte]) * PAGE
        self.faults.wake(self.base + page, PAGE)

    def close(self):
        self.front.close()
        self.faults.close()
        os.close(self.call)


@pytest.fixture
def meet(loop, owner, memory):
    made = []

    def meet(**options):
        ours, theirs = socket.socketpair()
        session = Session(ours, owner)
        session.attach(loop)
        guest = Guest(Frontend(theirs, name="guest"), memory, **options)
        made.append((session, guest))
        return session, guest

    yield meet
    for session, guest in made:
        guest.close()
        until(lambda session=session: session.closed and bool(session.owner.closed))


def test_lcore_sleeps_until_the_front_end_has_filled_the_page(meet, owner):
    session, guest = meet()
    assert owner.running[0].desc == guest.base
    assert session.memory[0].file.address == guest.base
    for page in (64 * PAGE, 65 * PAGE):
        lcore = owner.read(guest.base + page + 24)
        assert guest.missing() == page
        assert lcore.is_alive()
        guest.fill(page, 0xA5)
        assert lcore.value() == b"\xa5" * 8
    assert owner.read(guest.base + 64 * PAGE).value() == b"\xa5" * 8, "what came stays"
    assert guest.faults.read() is None


def test_end_lets_everybody_go_on_and_the_ring_runs_on(meet, owner):
    _, guest = meet()
    lcore = owner.read(guest.base + 64 * PAGE)
    assert guest.missing() == 64 * PAGE
    guest.front.postcopy_end()
    assert lcore.value() == bytes(8)
    assert 0 in owner.running
    assert owner.read(guest.base + 70 * PAGE).value() == bytes(8), "nothing is watched any more"
    guest.front.set_mem_table([guest.memory.region])  # the ordinary way again
    assert guest.front.alive()


def test_front_end_that_dies_leaves_nobody_asleep(meet, owner):
    session, guest = meet()
    owner.read(guest.base + 64 * PAGE)
    assert guest.missing() == 64 * PAGE
    guest.front.close()  # its copy of the userfaultfd stays open
    until(lambda: bool(owner.closed))
    assert owner.closed == ["the peer closed its end"]
    assert not owner.running
    assert not session.memory


def test_closing_the_session_from_another_thread_leaves_nobody_asleep(meet, owner):
    session, guest = meet()
    owner.read(guest.base + 64 * PAGE)
    assert guest.missing() == 64 * PAGE
    threading.Thread(target=guest.front.give_up, daemon=True).start()
    session.close()
    assert owner.closed == ["closed by us"]


def test_pages_that_never_come_end_the_session_and_others_go_on(meet, loop, owner, monkeypatch, capfd):
    _, guest = meet()
    owner.read(guest.base + 64 * PAGE)
    assert guest.missing() == 64 * PAGE
    ours, theirs = socket.socketpair()
    other = Session(ours, Recorder())
    other.attach(loop)
    with ScriptedFrontend(theirs) as second:
        monkeypatch.setattr(postcopy, "PAGE_SECONDS", PAGE_SECONDS)
        guest.front.get_vring_base(0)  # the ring can't be left before: its lcore waits for the page
        settle(second)
        other.close()
    until(lambda: bool(owner.closed))
    assert owner.closed == ["pages of the front end's memory did not come within 2 s"]
    assert "message GET_VRING_BASE" in capfd.readouterr().err


def test_ring_that_starts_with_the_memory_is_waited_for_no_longer(meet, owner, monkeypatch):
    """Rings described before the memory start in the same breath as that is watched."""
    _, guest = meet(share=False)
    owner.on_vring_ready = lambda session, vring: owner.read(vring.used).value()
    guest.start()
    monkeypatch.setattr(postcopy, "PAGE_SECONDS", PAGE_SECONDS)
    guest.share()
    assert guest.missing() == guest.ring.used - guest.memory.address
    until(lambda: bool(owner.closed))
    assert owner.closed == ["pages of the front end's memory did not come within 2 s"]


def test_another_table_is_watched_in_place_of_the_first(meet, owner):
    session, guest = meet(start=False)
    until(lambda: [region.file.address for region in session.memory] == [guest.base])
    with GuestMemory(16 * PAGE, guest_address=0x4000_0000) as other:
        [guest.base] = guest.front.postcopy_share([other.region])
        until(lambda: session.memory[0].entry == other.entry)
        lcore = owner.read(guest.base + 3 * PAGE)
        assert guest.missing() == 3 * PAGE
        other.bytes[3 * PAGE] = 1
        guest.faults.wake(guest.base + 3 * PAGE, PAGE)
        assert lcore.value() == b"\1" + bytes(7)


def test_several_migrations_one_after_the_other(meet, owner, session):
    _, guest = meet()
    guest.front.postcopy_end()
    guest.front.reset_owner()
    again = Userfault(guest.front.postcopy_advise())
    guest.front.postcopy_listen()
    guest.front.postcopy_end()
    again.close()


@pytest.mark.parametrize("attack", [name for name in FRONTEND_ATTACKS if name.startswith("post-copy")])
def test_order_of_the_messages_is_checked(loop, owner, attack):
    ours, theirs = socket.socketpair()
    session = Session(ours, owner)
    session.attach(loop)
    with ScriptedFrontend(theirs) as front:
        FRONTEND_ATTACKS[attack](front)
        assert front.closed()
        until(lambda: bool(owner.closed))
        assert "post-copy" in owner.closed[0] or "agree" in owner.closed[0] or "payload" in owner.closed[0]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["advise", "listen", "end", "table", "yes", "no", "reset"]), max_size=10))
def test_any_order_of_the_messages_leaves_the_process_whole(order):
    before = kept()
    ours, theirs = socket.socketpair()
    owner = Careful()
    session, front = Session(ours, owner), ScriptedFrontend(theirs)
    with GuestMemory(4 * PAGE) as memory:
        told = {
            "advise": (Request.POSTCOPY_ADVISE, b"", []),
            "listen": (Request.POSTCOPY_LISTEN, b"", []),
            "end": (Request.POSTCOPY_END, b"", []),
            "table": (Request.SET_MEM_TABLE, pack_table([memory.entry]), [memory.fd]),
            "yes": (Request.SET_MEM_TABLE, U64.pack(0), []),
            "no": (Request.SET_MEM_TABLE, U64.pack(1), []),
            "reset": (Request.RESET_OWNER, b"", []),
        }
        front.send(Request.SET_PROTOCOL_FEATURES, U64.pack(OFFER))
        for name in order:
            front.send(*told[name])
        session.receive()
        for region in session.memory:
            assert region.file.address
        front.close()
        session.close()
    assert len(owner.closed) == 1
    assert not kept() - before


def test_kernel_without_userfaultfd_is_told_in_one_line(loop, owner, monkeypatch, capfd):
    def refuse():
        raise HostError("the kernel gives no userfaultfd", mend="use another")

    monkeypatch.setattr(postcopy, "Userfault", refuse)
    ours, theirs = socket.socketpair()
    Session(ours, owner).attach(loop)
    front = Frontend(theirs)
    front.negotiate(WANTED)
    with pytest.raises(PeerGone):
        front.postcopy_advise()
    until(lambda: bool(owner.closed))
    assert "post-copy is not possible: the kernel gives no userfaultfd; use another" in capfd.readouterr().err


def test_post_copy_is_not_offered_together_with_memory_slots(owner):
    owner.protocol_features = OFFER | features(Protocol.CONFIGURE_MEM_SLOTS)
    ours, theirs = socket.socketpair()
    with theirs, pytest.raises(UnsupportedError, match="PAGEFAULT is not supported together with CONFIGURE_MEM_SLOTS"):
        Session(ours, owner)


# --- what a back end may answer to our front end ----------------------------------------------------------------------


_WRONG = pack_table([RegionEntry(1, PAGE, 0, 0)])


@pytest.mark.parametrize(
    ("answers", "error", "text"),
    [
        ({Request.POSTCOPY_ADVISE: Answer(payload=b"")}, MalformedMessage, "0 descriptors came with the answer; one"),
        ({Request.POSTCOPY_ADVISE: Answer(payload=b"", files=2)}, MalformedMessage, "2 descriptors"),
        ({Request.POSTCOPY_ADVISE: Answer(payload=b"\0" * 8, files=1)}, MalformedMessage, "has 8 bytes, not 0"),
        ({Request.POSTCOPY_LISTEN: Answer(payload=U64.pack(1))}, RefusedMessage, "answered no.*POSTCOPY_LISTEN"),
        ({Request.SET_MEM_TABLE: Answer(payload=_WRONG)}, MalformedMessage, "tells other memory regions"),
        ({Request.SET_MEM_TABLE: Answer(payload=_WRONG[:8])}, MalformedMessage, "has 8 bytes, not 40"),
        ({Request.POSTCOPY_END: Answer(payload=U64.pack(1))}, RefusedMessage, "answered no to the end of post-copy"),
    ],
)
def test_answers_that_are_not_the_expected_ones(memory, answers, error, text):
    ours, theirs = socket.socketpair()
    honest = {
        Request.POSTCOPY_ADVISE: Answer(payload=b"", files=1),
        Request.SET_MEM_TABLE: Answer(payload=pack_table([memory.entry])),
    }
    back = ScriptedBackend(theirs, honest | answers)
    front = Frontend(ours, name="guest")
    front.negotiate(WANTED)

    def migrate():
        os.close(front.postcopy_advise())
        front.postcopy_listen()
        if Request.POSTCOPY_END not in answers:
            front.postcopy_share([memory.region])
        front.postcopy_end()

    with pytest.raises(error, match=text):
        migrate()
    front.close()
    back.join()
