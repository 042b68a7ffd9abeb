"""Internet addresses inside a VM: the loopback interface, and who has which port of it. Source: ip(7), ipv6(7).

There is nothing but loopback: 127.0.0.0/8, ::1, and the wildcards to bind to. Ports for nobody in particular are
given out in order, so that a deterministic machine gives the same ones every time.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, Protocol

from sandbox.abi.errno import EADDRINUSE, EADDRNOTAVAIL, ENETUNREACH, Errno

FIRST_PORT, LAST_PORT = 32768, 60999  # net.ipv4.ip_local_port_range
ANY_4, ANY_6 = b"\0\0\0\0", bytes(16)
LOOPBACK_4, LOOPBACK_6 = b"\x7f\0\0\1", IPv6Address("::1").packed
_MAPPED = bytes(10) + b"\xff\xff"


class InternetAddress(NamedTuple):
    """`host` has 4 or 16 bytes."""

    host: bytes
    port: int

    def unmapped(self) -> InternetAddress:
        """An IPv4 address that is written as an IPv6 one, in its own form."""
        return InternetAddress(self.host[12:], self.port) if self.host.startswith(_MAPPED) else self

    def mapped(self) -> InternetAddress:
        return InternetAddress(_MAPPED + self.host, self.port) if len(self.host) == 4 else self

    @property
    def wildcard(self) -> bool:
        return not any(self.unmapped().host)

    @property
    def loopback(self) -> bool:
        host = self.unmapped().host
        return IPv4Address(host).is_loopback if len(host) == 4 else host == LOOPBACK_6

    def __str__(self) -> str:
        host = IPv4Address(self.host) if len(self.host) == 4 else f"[{IPv6Address(self.host)}]"
        return f"{host}:{self.port}"


class Bound(Protocol):
    """A socket, as far as ports are concerned."""

    @property
    def listening(self) -> bool: ...
    def option(self, level: int, name: int) -> int: ...


class Ports:
    """The ports of one protocol."""

    def __init__(self) -> None:
        self._taken: dict[int, list[tuple[InternetAddress, bool, Bound]]] = {}  # address, also IPv4?, who
        self._next = FIRST_PORT

    def bind(self, who: Bound, address: InternetAddress, both: bool, reuse: bool) -> InternetAddress:
        """Take a port (0: any). `both`: an IPv6 wildcard that stands for IPv4, too. `reuse`: SO_REUSEADDR."""
        if not (address.wildcard or address.loopback):
            raise Errno(EADDRNOTAVAIL)
        if address.port == 0:
            address = address._replace(port=self._free())
        for other, other_both, socket in self._taken.get(address.port, ()):
            if not _overlap(address, both, other, other_both):
                continue
            if not (reuse and socket.option(1, 2) and not socket.listening):
                raise Errno(EADDRINUSE)
        self._taken.setdefault(address.port, []).append((address, both, who))
        return address

    def narrow(self, who: Bound, host: bytes) -> InternetAddress:
        """Somebody at a wildcard has connected, and is at `host` from now on."""
        for entries in self._taken.values():
            for place, (address, _, socket) in enumerate(entries):
                if socket is who:
                    entries[place] = (address._replace(host=host), False, who)
                    return entries[place][0]
        raise AssertionError("it has no port")

    def find(self, address: InternetAddress) -> Bound | None:
        """Who receives what is sent to `address`: the exact address before the wildcards; of several, the last."""
        plain = address.unmapped()
        if plain.wildcard:  # a connection to 0.0.0.0 goes to this machine
            plain = plain._replace(host=LOOPBACK_4 if len(plain.host) == 4 else LOOPBACK_6)
        elif not plain.loopback:
            raise Errno(ENETUNREACH)
        found: Bound | None = None
        for other, both, socket in self._taken.get(address.port, ()):
            if other.unmapped().host == plain.host:
                return socket
            same_family = len(other.unmapped().host) == len(plain.host)
            if other.wildcard and (same_family or (both and len(plain.host) == 4)):
                found = socket
        return found

    def leave(self, who: Bound) -> None:
        for port, entries in list(self._taken.items()):
            kept = [entry for entry in entries if entry[2] is not who]
            if kept:
                self._taken[port] = kept
            else:
                del self._taken[port]

    def _free(self) -> int:
        for _ in range(LAST_PORT - FIRST_PORT + 1):
            port = self._next
            self._next = port + 1 if port < LAST_PORT else FIRST_PORT
            if port not in self._taken:
                return port
        raise Errno(EADDRINUSE)


def _overlap(one: InternetAddress, one_both: bool, two: InternetAddress, two_both: bool) -> bool:
    first, second = one.unmapped().host, two.unmapped().host
    if len(first) != len(second):
        return (one_both and len(second) == 4) or (two_both and len(first) == 4)
    return first == second or one.wildcard or two.wildcard
