"""Packet: a DHCP message. dpkt decodes the fixed fields; what it leaves out of the options is done here.

Any bytes either decode or raise ``DecodeError``. This is the only file that knows dpkt's DHCP class.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from operator import attrgetter
from typing import Any, Final

import dpkt.dhcp

from aiodhcp.constants import BOOTP_MINIMUM_LENGTH, MAGIC_COOKIE, MAXIMUM_LENGTH, MINIMUM_LENGTH, MessageType
from aiodhcp.definitions import Definitions, option_bytes
from aiodhcp.errors import DecodeError
from aiodhcp.options import STANDARD_OPTIONS, Options

__all__ = ["Packet", "encode_options", "option_bytes", "scan_options"]

FIXED_FIELDS: Final = struct.Struct("!BBBBIHHIIII16s")
"""``op`` to ``chaddr`` (RFC 2131 §2), for those to whom a ``Packet`` a message is too dear."""
PAD: Final = 0
END: Final = 255
OVERLOAD: Final = 52
MESSAGE_TYPE: Final = 53
_SNAME: Final = ("sname", slice(44, 108))
_FILE: Final = ("file", slice(108, 236))
_SIZES: Final = (("chaddr", 16), ("sname", 64), ("file", 128))
_OVERLOADED: Final = {b"\1": (_FILE,), b"\2": (_SNAME,), b"\3": (_FILE, _SNAME)}


def scan_options(data: bytes) -> dict[int, bytes]:
    """The options of a DHCP message, in the order of their first appearance.

    An option that occurs several times is one option in pieces (RFC 3396 §7); option overload is followed, ``file``
    before ``sname`` (RFC 3396 §5), and option 52 itself stays in the result. A missing End option is forgiven. A BOOTP
    message of 300 octets whose vendor area begins with zeros has no options (RFC 951 §3).

    Args:
        data: the UDP payload, from ``op`` on.

    Raises:
        DecodeError: shorter than 240 octets, longer than 4096, no magic cookie, an option that runs past the end
            of its field, an overload option other than 1, 2 or 3.
    """
    length = len(data)
    if not MINIMUM_LENGTH <= length <= MAXIMUM_LENGTH:
        raise DecodeError(f"{length} octets: a DHCP message has {MINIMUM_LENGTH} to {MAXIMUM_LENGTH}")
    if data[236:240] != MAGIC_COOKIE:
        if length >= BOOTP_MINIMUM_LENGTH and not any(data[236:240]):
            return {}
        raise DecodeError(f"no magic cookie but {data[236:240].hex()}")
    options: dict[int, bytes] = {}
    _scan_field(data, 240, length, options)
    if OVERLOAD in options:
        value = options[OVERLOAD]
        if value not in _OVERLOADED:
            raise DecodeError(f"option overload is {value.hex()}, not 01, 02 or 03")
        for _, field in _OVERLOADED[value]:
            _scan_field(data, field.start, field.stop, options)
        options[OVERLOAD] = value
    return options


def _scan_field(data: bytes, at: int, end: int, options: dict[int, bytes]) -> None:
    while at < end:
        code = data[at]
        if code == END:
            return
        if code == PAD:
            at += 1
            continue
        start = at + 2
        if start > end:
            raise DecodeError(f"option {code} at offset {at} has no length")
        at = start + data[start - 1]
        if at > end:
            raise DecodeError(f"option {code} at offset {start - 2} runs {at - end} octets past the end of its field")
        if code in options:
            options[code] += data[start:at]
        else:
            options[code] = data[start:at]


def encode_options(
    options: Iterable[tuple[int, bytes]], room: int, *, file: bool = False, sname: bool = False
) -> tuple[bytes, bytes, bytes, list[int]]:
    """Lay options out in the options field and, where that is too small, in ``file`` and ``sname`` (RFC 2132 §9.3).

    Args:
        options: code and value, the most important first: each goes to the first field that has room for all of it.
        room: octets of the options field behind the cookie, End included.
        file: whether ``file`` is free to carry options.
        sname: whether ``sname`` is.

    Returns:
        the options field with its End, ``file`` and ``sname`` (empty where not used), and the codes left out.
    """
    # Option 52 says what is laid out here: one that came along would be wrong.
    pieces = [(code, option_bytes(code, value)) for code, value in options if code != OVERLOAD]
    if sum(len(piece) for _, piece in pieces) < room:
        return b"".join([piece for _, piece in pieces]) + b"\xff", b"", b"", []
    overload = file or sname
    fields = [bytearray(), bytearray(), bytearray()]
    rooms = [room - 1 - 3 * overload, 127 * file, 63 * sname]
    left_out = []
    for code, piece in pieces:
        for i in range(3):
            if len(fields[i]) + len(piece) <= rooms[i]:
                fields[i] += piece
                break
        else:
            left_out.append(code)
    used = bool(fields[1]) + 2 * bool(fields[2])
    if used:
        # The message type stays first: some clients look no further.
        at = 2 + fields[0][1] if fields[0][:1] == bytes((MESSAGE_TYPE,)) else 0
        fields[0][at:at] = bytes((OVERLOAD, 1, used))
    main, in_file, in_sname = (bytes(field) + b"\xff" if field or not i else b"" for i, field in enumerate(fields))
    return main, in_file, in_sname, left_out


class Packet(dpkt.dhcp.DHCP):  # type: ignore[misc]
    """A DHCP message (RFC 2131 §2), a ``dpkt.dhcp.DHCP`` with what that leaves out.

    ``Packet(data)`` decodes; ``Packet(op=1, xid=7, options={"message-type": 1})`` makes a new one; ``bytes(packet)``
    encodes. The fixed fields have dpkt's names (``op``, ``hrd``, ``hln``, ``hops``, ``xid``, ``secs``, ``flags``,
    ``ciaddr``, ``yiaddr``, ``siaddr``, ``giaddr`` as integers; ``chaddr``, ``sname``, ``file`` as bytes), and
    ``htype`` and ``hlen`` are RFC 2131's names of two of them.

    Attributes:
        definitions: which options have names and formats; those of a configuration in what a server is sent and sends.
        options: the options by name or code, typed on demand.
        raw: the bytes it was decoded from; empty for one made here. Edits don't change it.
        overload: option 52 as it came, which is not among the options: laying them out makes it anew.

    Raises:
        DecodeError: ``data`` is not a DHCP message; see ``scan_options``.
    """

    definitions: Definitions = STANDARD_OPTIONS
    options: Options
    raw: bytes
    overload: bytes

    def __init__(self, data: bytes | None = None, /, **fields: Any) -> None:
        if data is not None:
            super().__init__(bytes(data))
            return
        options = fields.pop("options", {})
        self.raw = self.overload = b""
        self.options = Options()
        super().__init__(**fields)
        for option, value in options.items():
            self.options[option] = value
        self._arrived: tuple[Options, tuple[Any, ...]] | None = None

    @staticmethod
    def deferred(raw: bytes, definitions: Definitions = STANDARD_OPTIONS) -> Packet:
        """``Packet(raw)`` of octets that are known to be a DHCP message: decoded when something of it is looked at."""
        packet = _new(_Deferred)
        packet.raw = raw
        if definitions is not STANDARD_OPTIONS:
            packet.definitions = definitions
        return packet

    def unpack(self, buf: bytes) -> None:
        """Decode ``buf`` into this packet: dpkt's part of ``Packet(data)``."""
        raw = scan_options(buf)
        # dpkt's own unpack would also walk the options, with its IndexErrors: only the fixed fields are left to it.
        dpkt.Packet.unpack(self, buf)
        if self.hln > 16:
            raise DecodeError(f"hlen is {self.hln}: chaddr has 16 octets")
        self.raw = buf
        self.options = Options(raw, self.definitions)
        self.chaddr: bytes = bytes(self.chaddr)[: self.hln]
        self.overload = raw.pop(OVERLOAD, b"")
        for name, _ in _OVERLOADED.get(self.overload, ()):
            setattr(self, name, b"")
        self.data = b""
        self._arrived = self.options, _fixed_fields(self)

    @property
    def opts(self) -> list[tuple[int, bytes]]:
        """The options as dpkt keeps them: code and octets, in order."""
        return list(self.options.raw.items())

    @opts.setter
    def opts(self, opts: Iterable[tuple[int, bytes]]) -> None:
        opts = list(opts)
        self.options.clear()
        for code, value in opts:
            self.options[code] = value

    @property
    def htype(self) -> int:
        """RFC 2131's name of dpkt's ``hrd``: the hardware address type, 1 for Ethernet."""
        return int(self.hrd)

    @htype.setter
    def htype(self, htype: int) -> None:
        self.hrd = htype

    @property
    def hlen(self) -> int:
        """RFC 2131's name of dpkt's ``hln``: octets of the hardware address, 0 to 16."""
        return int(self.hln)

    @hlen.setter
    def hlen(self, hlen: int) -> None:
        self.hln = hlen

    @property
    def message_type(self) -> MessageType | int | None:
        """Option 53, a plain int where RFC 2132 §9.6 doesn't know it; None for a BOOTP message."""
        value = self.options.raw.get(MESSAGE_TYPE, b"")
        if len(value) != 1:
            return None
        return MessageType(value[0]) if value[0] in MessageType._value2member_map_ else value[0]

    @property
    def hardware_address(self) -> str:
        """``chaddr`` for people: ``"02:00:00:00:00:01"``."""
        return str(self.chaddr[: self.hln].hex(":"))

    @property
    def changed(self) -> bool:
        """Whether it differs from what was decoded; True for a packet made here."""
        if self._arrived is None or self.options.changed:
            return True
        options, fields = self._arrived
        return options is not self.options or fields != _fixed_fields(self)

    def differs(self, data: bytes) -> bool:
        """Whether it is not what was decoded from these octets: another one, or edited."""
        return self.changed or self.raw != data

    def encode(self, maximum: int = MAXIMUM_LENGTH) -> bytes:
        """The message on the wire, options in their order, long ones in pieces, overloaded where it must be.

        Args:
            maximum: octets that the message may have, from ``op`` on.

        Raises:
            ValueError: a field is out of range or of the wrong type, or the options don't fit.
        """
        for name, size in _SIZES:
            octets = getattr(self, name)
            if not isinstance(octets, bytes | bytearray) or len(octets) > size:
                raise ValueError(f"{name}: expected at most {size} octets, got {octets!r}")
        file, sname = bytes(self.file), bytes(self.sname)
        main, in_file, in_sname, left_out = encode_options(
            self.options.raw.items(),
            maximum - MINIMUM_LENGTH,
            file=not file.strip(b"\0"),
            sname=not sname.strip(b"\0"),
        )
        if left_out:
            raise ValueError(f"options {left_out} don't fit into a message of {maximum} octets")
        values = [getattr(self, name) for name in self.__hdr_fields__]
        values[12:14] = in_sname or sname, in_file or file
        try:
            message: bytes = struct.pack(self.__hdr_fmt__, *values) + main
        except struct.error as error:
            raise ValueError(f"a field of the message is out of range: {error}") from None
        if len(message) > maximum:
            raise ValueError(f"the message doesn't fit into {maximum} octets")
        return message

    def pack_hdr(self) -> bytes:
        """The fixed fields and the cookie, 240 octets, as dpkt users expect it."""
        return self.encode()[:MINIMUM_LENGTH]

    def pack_opts(self) -> bytes:
        """The options field behind the cookie with its End, as dpkt users expect it."""
        return self.encode()[MINIMUM_LENGTH:]

    def __bytes__(self) -> bytes:
        return self.encode()

    def __len__(self) -> int:
        return len(self.encode())

    def __bool__(self) -> bool:
        return True

    def __str__(self) -> str:
        return repr(self)

    def __repr__(self) -> str:
        kind = self.message_type
        name = kind.name if isinstance(kind, MessageType) else f"type {kind}" if kind else "BOOTP"
        return f"<Packet {name} xid={self.xid:08x} chaddr={self.hardware_address} {self.options!r}>"


class _Undecoded:
    """What a packet does that nobody has looked at: with the first look it becomes a ``Packet``."""

    __slots__ = ()
    definitions: Definitions
    raw: bytes

    def _decode(self) -> None:
        object.__setattr__(self, "__class__", Packet)
        dpkt.Packet.__init__(self, self.raw)

    def __reduce__(self) -> tuple[Any, ...]:
        return Packet, (self.raw,)

    def __copy__(self) -> Packet:
        return Packet.deferred(self.raw, self.definitions)

    def __deepcopy__(self, memo: object) -> Packet:
        return Packet.deferred(self.raw, self.definitions)

    @property
    def changed(self) -> bool:
        """Whether it differs from what was decoded: it can't."""
        return False

    def differs(self, data: bytes) -> bool:
        """Whether it is not what was decoded from these octets: another one."""
        return self.raw != data

    @property
    def hardware_address(self) -> str:
        """``chaddr`` for people, without decoding the rest."""
        raw = self.raw
        return raw[28 : 28 + raw[2]].hex(":")


def _decoding(name: str) -> property:
    """What is only there when the packet is decoded."""

    def look(packet: Any) -> Any:
        packet._decode()
        return getattr(packet, name)

    def change(packet: Any, value: Any) -> None:
        packet._decode()
        setattr(packet, name, value)

    return property(look, change)


# Properties, because a ``__getattr__`` would make each look dearer, also at what is there. Past dpkt's metaclass, which
# would give it slots of its own, so that it couldn't become a ``Packet``.
_decoded: Final = {name: _decoding(name) for name in {*Packet.__slots__, *vars(Packet())} - {"raw"}}
_Deferred: Final[type[Packet]] = type.__new__(
    type(Packet), "Packet", (_Undecoded, Packet), {"__slots__": (), **_decoded}
)
_new: Final = object.__new__
_fixed_fields: Any = attrgetter(*[name for name, *_ in dpkt.dhcp.DHCP.__hdr__])
