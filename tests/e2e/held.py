# SPDX-License-Identifier: BSD-2-Clause
"""Keeps the kernel in the middle of a send(), by a page that is not there (userfaultfd): what comes for the socket goes to its backlog."""
import contextlib
import ctypes
import fcntl
import mmap
import os
import socket
import struct
import threading

LIBC = ctypes.CDLL(None, use_errno=True)
SYS_USERFAULTFD = {"x86_64": 323, "aarch64": 282}[os.uname().machine]
UFFDIO_API, UFFDIO_REGISTER, UFFDIO_ZEROPAGE = 0xc018aa3f, 0xc020aa00, 0xc020aa04
UFFD_API, REGISTER_MISSING = 0xaa, 1


@contextlib.contextmanager
def held(sock):
    """While it lasts, the socket belongs to a task that sends a page of zeros."""
    faults = LIBC.syscall(SYS_USERFAULTFD, os.O_CLOEXEC)
    assert faults >= 0, os.strerror(ctypes.get_errno())
    with mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        view = (ctypes.c_char * mmap.PAGESIZE).from_buffer(page)
        address = ctypes.addressof(view)
        fcntl.ioctl(faults, UFFDIO_API, struct.pack("=QQQ", UFFD_API, 0, 0))
        fcntl.ioctl(faults, UFFDIO_REGISTER, struct.pack("=QQQQ", address, mmap.PAGESIZE, REGISTER_MISSING, 0))
        sending = threading.Thread(target=LIBC.send, args=(sock.fileno(), ctypes.c_void_p(address), mmap.PAGESIZE, socket.MSG_DONTWAIT))
        sending.start()
        os.read(faults, 32)  # the kernel needs the page
        try:
            yield
        finally:
            fcntl.ioctl(faults, UFFDIO_ZEROPAGE, struct.pack("=QQQq", address, mmap.PAGESIZE, 0, 0))
            sending.join()
            os.close(faults)
            del view
