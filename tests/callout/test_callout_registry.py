"""Where Microsoft's DHCP Server has its list of callouts: the registry, and what regedit has written of it."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiodhcp import ConfigError
from aiodhcp.callout.abi import LIST_KEY
from aiodhcp.callout.registry import CalloutList, locate_dll, read_reg_file, read_registry

PARAMETERS = r"[HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\DHCPServer\Parameters]"
VERSION_5 = "Windows Registry Editor Version 5.00"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write("[KEY]", '"Name"=...')``: a file of these lines, as regedit writes it if not told otherwise."""

    def written(*lines: str, head: str = VERSION_5, encoding: str = "utf-16", newline: str = "\r\n") -> Path:
        path = tmp_path / "export.reg"
        path.write_bytes("".join(line + newline for line in (head, "", *lines)).encode(encoding))
        return path

    return written


@pytest.fixture
def read(write: Write) -> Callable[..., CalloutList]:
    """``read('"CalloutEnabled"=dword:1')``: what these lines of the key say."""
    return lambda *lines, **more: read_reg_file(write(PARAMETERS, *lines, **more))


def as_hex(octets: bytes, width: int = 25) -> str:
    """Octets as regedit writes them: in several lines, all but the last with a comma and a backslash."""
    parts = [octets[at : at + width].hex(",") for at in range(0, len(octets), width)]
    return ",\\\r\n  ".join(parts)


def multi(*names: str, encoding: str = "utf-16-le") -> str:
    """``hex(7):...`` of a list."""
    return "hex(7):" + as_hex(("".join(name + "\0" for name in names) + "\0").encode(encoding))


def quoted(text: str) -> str:
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'


# ── what regedit writes ──

EXPORT = r"""Windows Registry Editor Version 5.00

[HKEY_LOCAL_MACHINE\System\CurrentControlSet\Services\DHCPServer\Parameters]
@="default"
"CalloutDlls"=hex(7):43,00,3a,00,5c,00,57,00,69,00,6e,00,64,00,6f,00,77,00,73,\
  00,5c,00,53,00,79,00,73,00,74,00,65,00,6d,00,33,00,32,00,5c,00,64,00,68,00,\
  63,00,70,00,5c,00,6d,00,61,00,63,00,2e,00,64,00,6c,00,6c,00,00,00,43,00,3a,\
  00,5c,00,62,00,5c,00,78,00,3d,00,fc,00,ac,20,2e,00,64,00,6c,00,6c,00,00,00,\
  00,00
"CalloutEnabled"=dword:00000001
"CalloutErrorLogFile"="C:\\a \"b\"\\x.txt"
"CalloutMACAddressListFile"=hex(2):25,00,53,00,79,00,73,00,74,00,65,00,6d,00,\
  52,00,6f,00,6f,00,74,00,25,00,5c,00,6d,00,61,00,63,00,20,00,22,00,61,00,22,\
  00,2e,00,74,00,78,00,74,00,00,00
"Qword"=hex(b):05,00,00,00,00,00,00,00

"""
"""What ``reg export`` of Wine 8.0 has made of values that ``reg add`` had set."""


def said_by_export(found: CalloutList) -> None:
    assert found.dlls == (r"C:\Windows\System32\dhcp\mac.dll", r"C:\b\x=ü€.dll")
    assert found.enabled is True
    assert found.to_load == found.dlls
    assert found.other("CalloutErrorLogFile") == r'C:\a "b"\x.txt'
    if sys.platform != "win32":
        assert found.other("calloutmacaddresslistfile") == r'%SystemRoot%\mac "a".txt'
    assert sorted(found.others) == ["CalloutErrorLogFile", "CalloutMACAddressListFile"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\r\n", "\n"], ids=["CRLF", "LF"])
def test_an_export_is_read_in_whatever_unicode_it_was_saved(tmp_path, encoding, newline):
    path = tmp_path / "export.reg"
    path.write_bytes(EXPORT.replace("\n", newline).encode(encoding))
    found = read_reg_file(path)
    said_by_export(found)
    assert found.source == rf"{path}: HKEY_LOCAL_MACHINE\System\CurrentControlSet\Services\DHCPServer\Parameters"


def test_big_endian_too(tmp_path):
    path = tmp_path / "export.reg"
    path.write_bytes(("\ufeff" + EXPORT).encode("utf-16-be"))
    said_by_export(read_reg_file(path))


def test_regedit4_is_in_a_code_page_and_so_are_its_octets(write):
    dlls = multi("C:\\ü.dll", encoding="cp1252")
    lines = [PARAMETERS, f'"CalloutDlls"={dlls}', '"CalloutName"="ü"']
    path = write(*lines, head="REGEDIT4", encoding="cp1252")
    found = read_reg_file(path)
    assert found.dlls == ("C:\\ü.dll",)
    assert found.other("CalloutName") == "ü"
    found = read_reg_file(path, code_page="cp1251")
    assert found.dlls == ("C:\\ь.dll",)
    assert found.other("CalloutName") == "ь"


@pytest.mark.parametrize("code_page", ["cp0", "hex"])
def test_a_code_page_that_is_none(write, code_page):
    with pytest.raises(ConfigError, match=rf"export\.reg: there is no code page '{code_page}'"):
        read_reg_file(write(PARAMETERS, head="REGEDIT4", encoding="ascii"), code_page=code_page)


def test_a_code_page_that_is_needed_for_the_octets_only(write):
    path = write(PARAMETERS, '"CalloutDlls"=hex(7):41,00,00', head="REGEDIT4", encoding="utf-8-sig")
    assert read_reg_file(path).dlls == ("A",)
    with pytest.raises(ConfigError, match=r"export\.reg:4: CalloutDlls: is not text in cp0"):
        read_reg_file(path, code_page="cp0")


# ── the key ──


def test_the_case_of_keys_and_values_does_not_matter(write):
    found = read_reg_file(write(PARAMETERS.upper(), f'"CALLOUTDLLS"={multi("a")}', '"calloutenabled"=DWORD:1'))
    assert found.to_load == ("a",)
    found = read_reg_file(write(PARAMETERS.lower().replace("hkey_local_machine", "hklm"), '"CalloutDlls"="a"'))
    assert found.dlls == ("a",)


def test_values_of_other_keys_are_not_read(write):
    for other in (PARAMETERS.replace("DHCPServer", "Dhcp"), PARAMETERS.replace("]", "\\Options]")):
        assert read_reg_file(write(other, '"CalloutDlls"="b"')).dlls is None
        path = write(PARAMETERS, '"CalloutDlls"="a"', other, '"CalloutDlls"="b"', '"CalloutEnabled"=dword:1')
        assert read_reg_file(path) == CalloutList(("a",), None, {}, f"{path}: {PARAMETERS[1:-1]}")


def test_without_the_key_there_is_no_list(write):
    path = write(r"[HKEY_LOCAL_MACHINE\SOFTWARE]", '"CalloutDlls"="b"')
    found = read_reg_file(path)
    assert (found.dlls, found.enabled, found.others, found.to_load) == (None, None, {}, ())
    assert found.source == rf"{path}: HKEY_LOCAL_MACHINE\{LIST_KEY}"


def test_the_key_of_another_control_set_is_read_only_without_the_current_one(write):
    def of(name: str) -> list[str]:
        return [PARAMETERS.replace("CurrentControlSet", name), f'"CalloutDlls"="{name}"']

    second, first, current = of("ControlSet002"), of("ControlSet001"), of("CurrentControlSet")
    assert read_reg_file(write(*second, *first, *current)).dlls == ("CurrentControlSet",)
    assert read_reg_file(write(*current, *second, *first)).dlls == ("CurrentControlSet",)
    found = read_reg_file(write(*second, *first))
    assert found.dlls == ("ControlSet001",)
    assert "ControlSet001" in found.source
    assert read_reg_file(write(*second)).dlls == ("ControlSet002",)
    assert read_reg_file(write(*of("ControlSetOne"))).dlls is None


def test_a_key_that_is_there_twice_has_the_values_of_both(write):
    path = write(PARAMETERS, '"CalloutDlls"="a"', '"CalloutX"="1"', "[A]", PARAMETERS, '"calloutdlls"="b"')
    assert (read_reg_file(path).dlls, dict(read_reg_file(path).others)) == (("b",), {"CalloutX": "1"})


@pytest.mark.parametrize("level", range(4))
def test_a_key_is_deleted_with_the_one_that_it_is_in(write, level):
    path = PARAMETERS[1:-1].rsplit("\\", level)[0]
    deleted = f"[-{path}]"
    assert read_reg_file(write(PARAMETERS, '"CalloutDlls"="a"', deleted, '"CalloutDlls"="b"')).dlls is None
    found = read_reg_file(write(PARAMETERS, '"CalloutDlls"="a"', deleted, PARAMETERS, '"CalloutEnabled"=dword:1'))
    assert (found.dlls, found.enabled) == (None, True)
    assert read_reg_file(write(PARAMETERS, '"CalloutDlls"="a"', f"[-{path}2]")).dlls == ("a",)


# ── values ──


def test_a_string_is_a_list_of_one(read):
    assert read(r'"CalloutDlls"="C:\\mac.dll"').dlls == (r"C:\mac.dll",)
    assert read('"CalloutDlls"=hex(1):' + as_hex("C:\\mac.dll\0".encode("utf-16-le"))).dlls == (r"C:\mac.dll",)
    assert read('"CalloutDlls"=hex(2):' + as_hex("C:\\mac.dll\0".encode("utf-16-le"))).dlls == (r"C:\mac.dll",)
    assert read('"CalloutDlls"=""').dlls == ()


def test_an_empty_string_ends_a_list(read):
    assert read(f'"CalloutDlls"={multi("a", "", "b")}').dlls == ("a",)
    assert read(f'"CalloutDlls"={multi()}').dlls == ()
    assert read('"CalloutDlls"=hex(7):').dlls == ()


def test_a_list_without_the_nuls_behind_it(read):
    assert read('"CalloutDlls"=hex(7):61,00,00,00,62,00').dlls == ("a", "b")


def test_the_types_of_the_others(read):
    found = read(
        '"CalloutNumber"=dword:ff',
        '"CalloutNumber2"=hex(4):01,02,00,00',
        f'"CalloutList"={multi("a", "b")}',
        '"CalloutOctets"=hex:01,02',
        '"CalloutNothing"=hex(0):',
        '"Callout=\\"x\\""="y"',
        '"Other"="z"',
    )
    assert dict(found.others) == {
        "CalloutNumber": 255,
        "CalloutNumber2": 513,
        "CalloutList": ("a", "b"),
        "CalloutOctets": b"\1\2",
        "CalloutNothing": b"",
        'Callout="x"': "y",
    }
    assert found.other("calloutlist") == ("a", "b")
    assert found.other("Other") is None


def test_enabled_may_be_in_hex(read):
    assert read('"CalloutEnabled"=hex(4):01,00,00,00').enabled is True
    assert read('"CalloutEnabled"=hex(4):00,00,00,00').enabled is False


def test_a_value_may_be_deleted_and_the_last_one_counts(read):
    assert read('"CalloutDlls"="a"', '"calloutdlls"=-').dlls is None
    assert read('"CalloutDlls"="a"', '"CalloutDlls"=- ; gone', '"CalloutDlls"="b"').dlls == ("b",)
    assert dict(read('"CalloutX"="a"', '"calloutx"=dword:1').others) == {"CalloutX": 1}


def test_comments_and_blanks(read):
    found = read(
        "; a comment",
        '  "CalloutDlls" = "a;b" ; another',
        "",
        '\t"CalloutEnabled"=dword:00000001;and another',
        '"CalloutOctets"=hex: 01, 02,\\ ; a line that goes on',
        "; between",
        "",
        "  03 ; the end",
        "@=-",
        "[A] ; [B]",
        PARAMETERS + " ; [C]",
        '"CalloutMore"="x"',
    )
    assert found.other("CalloutMore") == "x"
    assert (found.dlls, found.enabled, found.other("CalloutOctets")) == (("a;b",), True, b"\1\2\3")


def test_the_list_is_hashable(read):
    assert len({read('"CalloutX"="a"'), read('"CalloutX"="a"')}) == 1


# ── what is loaded, and why ──


@pytest.mark.parametrize(
    ("lines", "loaded", "level", "words"),
    [
        ([], (), logging.INFO, "there is no CalloutDlls: there is nothing to load"),
        (
            ['"CalloutEnabled"=dword:1'],
            (),
            logging.WARNING,
            "there is no CalloutDlls, CalloutEnabled is 1: there is no",
        ),
        (['"CalloutDlls"=""'], (), logging.INFO, "CalloutDlls is empty: there is nothing to load"),
        (['"CalloutDlls"="a"'], (), logging.WARNING, "CalloutDlls is a; but none is loaded without CalloutEnabled"),
        (['"CalloutDlls"="a"', '"CalloutEnabled"=dword:0'], (), logging.INFO, "CalloutEnabled is 0: none is loaded"),
        (['"CalloutDlls"="a"', '"CalloutEnabled"=dword:1'], ("a",), logging.INFO, "is a, CalloutEnabled is 1"),
    ],
)
def test_what_is_loaded_and_what_is_logged(read, lines, loaded, level, words):
    found = read(*lines)
    assert found.to_load == loaded
    [note] = found.notes
    assert note.level == level
    assert note.words.startswith(f"{found.source}: ")
    assert words in note.words


# ── what is wrong ──


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["@=dword:", '"X"="y"'], "4: @: expected \"text\", dword: and up to 8 hex digits, or hex:, found 'dword:'"),
        (['"CalloutDlls"=dword:1'], "4: CalloutDlls: expected a list of paths (REG_MULTI_SZ), found REG_DWORD 1"),
        (['"CalloutDlls"=hex:61,00'], "4: CalloutDlls: expected a list of paths (REG_MULTI_SZ), found REG_BINARY"),
        (['"CalloutEnabled"="1"'], "4: CalloutEnabled: expected 0 or 1 (REG_DWORD), found REG_SZ '1'"),
        (['"CalloutEnabled"=dword:2'], "4: CalloutEnabled: expected 0 or 1 (REG_DWORD), found REG_DWORD 2"),
        (['"CalloutEnabled"=hex(b):01'], "4: CalloutEnabled: expected 0 or 1 (REG_DWORD), found REG_QWORD"),
        (['"CalloutEnabled"=hex(ffff):01'], "4: CalloutEnabled: expected 0 or 1 (REG_DWORD), found type 0xffff"),
        (['"CalloutEnabled"=hex(4):01'], "4: CalloutEnabled: expected 4 octets of a REG_DWORD, found 1"),
        (['"CalloutDlls"=hex(7):61,00,00'], "4: CalloutDlls: is not text in utf-16-le"),
        (['"CalloutDlls"=hex(7):00,d8,00,00'], "4: CalloutDlls: is not text in utf-16-le"),
        (['"X"=hex:0'], "4: X: expected two hex digits, found '0'"),
        (['"X"=hex:00,1', '"Y"="z"'], "4: X: expected two hex digits, found '1'"),
        (['"X"=hex:00,'], "4: X: expected two hex digits, found nothing"),
        (['"X"=hex:00,,00'], "4: X: expected two hex digits, found nothing"),
        (['"X"=hex:0g'], "4: X: expected two hex digits, found '0g'"),
        (['"X"=hex:00,\\', "  01,\\", "  0"], "6: X: expected two hex digits, found '0'"),
        (['"X"=hex:00,\\', "  01,\\"], "5: X: ends in the middle"),
        (['"X"=hex:00,\\', "[A]"], "4: X: ends in the middle"),
        (['"X"=hex:00,\\', "[A]", PARAMETERS, "00"], "4: X: ends in the middle"),
        (['"X"=hex:00,\\', '"Y"="z"'], """5: X: expected two hex digits, found '"Y"="z"'"""),
        (['"X"=hex(g):00'], "4: X: expected"),
        (['"X"=dword:123456789'], "4: X: expected"),
        (['"X"="y'], "4: X: expected"),
        (['"X"="y"z'], "4: X: expected"),
        (['"X"='], "4: X: expected"),
        (['"X"="C:\\mac.dll"'], r'4: expected \\ or \" in "C:\mac.dll", found \m'),
        (['"X"'], """4: expected "name"=value, found '"X"'"""),
        (["X=1"], '4: expected "name"=value'),
        (["", "00,01"], '5: expected "name"=value'),
        (['"CalloutX"="\0"'], r"4: '\x00' has characters that are no text"),
        (['"Callout\0"=hex:00'], r"4: 'Callout\x00' has characters that are no text"),
        (["["], """4: expected "name"=value, found '['"""),
        ([f"[-{PARAMETERS[1:-1]}"], "4: expected ] behind the key 'HKEY_LOCAL_MACHINE"),
        (["[HKEY_LOCAL_MACHINE"], '4: expected "name"=value'),
    ],
)
def test_what_is_malformed_is_told_with_its_line(read, lines, words):
    with pytest.raises(ConfigError) as caught:
        read(*lines)
    assert f"export.reg:{words}" in str(caught.value)


def test_a_bracket_that_the_key_lacks(write):
    with pytest.raises(ConfigError, match=r"export\.reg:3: expected \] behind the key 'HKEY_LOCAL_MACHINE"):
        read_reg_file(write(PARAMETERS[:-1], '"CalloutDlls"="a"'))


def test_what_is_malformed_elsewhere_does_not_matter(write):
    wrong = ['"X"=hex:0', "nothing", '"Y"="', '"Z"=hex:00,\\', "[A"]
    other = PARAMETERS.replace("CurrentControlSet", "ControlSet001")
    path = write(
        "text", r"[HKEY_LOCAL_MACHINE\A]", *wrong, other, *wrong, PARAMETERS, '"CalloutDlls"="a"', "[B]", *wrong
    )
    assert read_reg_file(path).dlls == ("a",)


def test_octets_that_are_no_text_matter_in_what_is_read_only(write):
    lines = [PARAMETERS, '"Ä"="ä"', '"CalloutDlls"="a" ; ä', '"Other"=hex(7):00']
    path = write(*lines, encoding="latin-1")
    assert read_reg_file(path).dlls == ("a",)
    for line in ('"CalloutX"="ä"', '"CalloutÄ"="a"'):
        with pytest.raises(ConfigError, match=r"export\.reg:7: '.*\\udc.4' has characters that are no text"):
            read_reg_file(write(*lines, line, encoding="latin-1"))


@pytest.mark.parametrize("octets", [b"", b"\xff\xfe", b"\r\n", b"[A]\r\n", b"REGEDIT\r\n", b"MZ\x90\0", bytes(100)])
def test_a_file_that_is_no_export(tmp_path, octets):
    path = tmp_path / "export.reg"
    path.write_bytes(octets)
    with pytest.raises(ConfigError, match=r"export\.reg:1: expected 'Windows Registry Editor Version 5\.00' or"):
        read_reg_file(path)


def test_a_file_that_ends_within_a_character(tmp_path):
    path = tmp_path / "export.reg"
    path.write_bytes(EXPORT.encode("utf-16")[:-1])
    with pytest.raises(ConfigError, match=r"export\.reg: is not text in utf-16-le: .*truncated"):
        read_reg_file(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.reg: No such file"):
        read_reg_file(tmp_path / "none.reg")


# ── whatever is in it ──

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)
ANSI = st.text(st.characters(codec="cp1252", exclude_categories=["Cc"]), max_size=40)


def lists(text: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[list[str], bool | None, dict[str, str | int]]]:
    names = text.map("Callout_{}".format)
    # Keys are said to be equal in any case, which letters like "ß" and "ſ" don't agree about.
    others = st.dictionaries(names.filter(str.isascii).map(str.lower), text | st.integers(0, 2**32 - 1), max_size=4)
    return st.tuples(st.lists(text.filter(bool), max_size=4), st.none() | st.booleans(), others)


def written(found: tuple[list[str], bool | None, dict[str, str | int]], encoding: str) -> str:
    dlls, enabled, others = found
    lines = [PARAMETERS, f'"CalloutDlls"={multi(*dlls, encoding=encoding)}']
    lines += [] if enabled is None else [f'"CalloutEnabled"=dword:{enabled:08x}']
    for name, value in others.items():
        lines.append(f"{quoted(name)}={f'dword:{value:08x}' if isinstance(value, int) else quoted(value)}")
    return "\r\n".join(["", *lines, ""])


def read_octets(octets: bytes) -> CalloutList:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "export.reg"
        path.write_bytes(octets)
        return read_reg_file(path)


@given(lists(TEXT), st.sampled_from(["utf-16", "utf-8", "utf-8-sig"]))
def test_what_is_written_in_version_5_reads_back(values, encoding):
    found = read_octets((VERSION_5 + written(values, "utf-16-le")).encode(encoding))
    assert (list(found.dlls or ()), found.enabled, dict(found.others)) == values


@given(lists(ANSI))
def test_what_is_written_in_regedit4_reads_back(values):
    found = read_octets(("REGEDIT4" + written(values, "cp1252")).encode("cp1252"))
    assert (list(found.dlls or ()), found.enabled, dict(found.others)) == values


WORDS = re.findall(
    r"\S+", r'[ ] "CalloutDlls"= "CalloutEnabled"= "Callout " = \ - @ dword: 1 hex: hex(7): hex(2): hex(4): 61, 00 , ;'
)
PIECES = st.sampled_from(
    (PARAMETERS, f"[-{PARAMETERS[1:]}", *WORDS, ",\\\n", "\n", "\r\n", " ", "\0", "\ud800", "ü", "\ufeff", "\u2028")
)


@given(st.sampled_from([VERSION_5, "REGEDIT4", ""]), st.lists(PIECES | st.text(max_size=4)), st.booleans())
@example(VERSION_5, ["\n", PARAMETERS, "\n", '"CalloutDlls"=', "hex(7):", ",\\\n"], True)
def test_no_text_raises_anything_else(head, pieces, in_the_key):
    text = "".join([head, f"\n{PARAMETERS}\n" if in_the_key else "\n", *pieces])
    for encoding in ("utf-16-le", "utf-8"):
        try:
            found = read_octets(text.encode(encoding, "surrogatepass"))
        except ConfigError:
            continue
        assert isinstance(found, CalloutList)
        assert all(found.dlls or ())
        "".join(note.words for note in found.notes).encode()


@given(st.binary(), st.sampled_from([b"", b"\xff\xfe", b"\xef\xbb\xbf", b"REGEDIT4\n"]))
def test_no_octets_do_either(octets, head):
    try:
        read_octets(head + octets)
    except ConfigError:
        pass


# ── the registry ──


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has a registry")
def test_elsewhere_there_is_no_registry():
    with pytest.raises(ConfigError, match=r"no Windows registry on this system.*HKEY_LOCAL_MACHINE\\System\\Current"):
        read_registry()


windows = pytest.mark.skipif(sys.platform != "win32", reason="only Windows has a registry")
TEST_KEY = r"Software\aiodhcp tests\Parameters"


@pytest.fixture
def registry() -> Iterator[Callable[..., CalloutList]]:
    """``registry(CalloutEnabled=("REG_DWORD", 1))``: what is read where these are the values of the key."""
    import winreg

    user = winreg.HKEY_CURRENT_USER

    def read(**values: tuple[str, Any]) -> CalloutList:
        with winreg.CreateKey(user, TEST_KEY) as key:
            for name, (kind, value) in values.items():
                winreg.SetValueEx(key, name, 0, getattr(winreg, kind), value)
        return read_registry(hive="HKEY_CURRENT_USER", key=TEST_KEY)

    yield read
    winreg.DeleteKey(user, TEST_KEY)
    winreg.DeleteKey(user, TEST_KEY.rpartition("\\")[0])


@windows
def test_the_registry_is_read(registry):
    found = registry(
        calloutdlls=("REG_MULTI_SZ", [r"C:\a b\mac.dll", "C:\\ü.dll"]),
        CalloutEnabled=("REG_DWORD", 1),
        CalloutErrorLogFile=("REG_SZ", r"C:\error.txt"),
        CalloutOctets=("REG_BINARY", b"\1\2"),
        CalloutNothing=("REG_BINARY", b""),
        CalloutFile=("REG_EXPAND_SZ", r"%SystemRoot%\x.txt"),
        Other=("REG_SZ", "x"),
    )
    assert found.to_load == (r"C:\a b\mac.dll", "C:\\ü.dll")
    assert found.source == rf"HKEY_CURRENT_USER\{TEST_KEY}"
    assert dict(found.others) == {
        "CalloutErrorLogFile": r"C:\error.txt",
        "CalloutOctets": b"\1\2",
        "CalloutNothing": b"",
        "CalloutFile": os.environ["SYSTEMROOT"] + r"\x.txt",
    }


@windows
def test_the_registry_may_have_a_string_or_a_list_that_ends_early(registry):
    assert registry(CalloutDlls=("REG_SZ", "a")) == CalloutList(("a",), None, {}, rf"HKEY_CURRENT_USER\{TEST_KEY}")
    assert registry(CalloutDlls=("REG_EXPAND_SZ", "a")).dlls == ("a",)
    assert registry(CalloutDlls=("REG_MULTI_SZ", ["a", "", "b"])).dlls == ("a",)
    assert registry(CalloutDlls=("REG_MULTI_SZ", [])).dlls == ()


@windows
def test_what_is_wrong_in_the_registry_is_told_with_its_key(registry):
    with pytest.raises(ConfigError, match=r"HKEY_CURRENT_USER\\.*\\Parameters: CalloutDlls: expected a list of paths"):
        registry(CalloutDlls=("REG_DWORD", 1))
    with pytest.raises(
        ConfigError, match=r"Parameters: CalloutEnabled: expected 0 or 1 \(REG_DWORD\), found REG_SZ '1'"
    ):
        registry(CalloutDlls=("REG_SZ", "a"), CalloutEnabled=("REG_SZ", "1"))


@windows
def test_without_the_key_the_registry_has_no_list():
    found = read_registry(hive="HKEY_CURRENT_USER", key=TEST_KEY)
    assert (found.dlls, found.enabled, found.others) == (None, None, {})


@windows
def test_a_key_that_can_t_be_read(monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr("winreg.OpenKey", refuse)
    with pytest.raises(ConfigError, match=r"HKEY_LOCAL_MACHINE\\.*\\Parameters: can't be read: Access is denied"):
        read_registry()


# ── files ──

elsewhere = pytest.mark.skipif(sys.platform == "win32", reason="a path of Windows is where it says")


@elsewhere
@pytest.mark.parametrize(
    "name",
    [
        r"C:\Windows\System32\dhcp\mac.dll",
        "c:/Windows/MAC.DLL",
        "C:mac.dll",
        r"\\server\share\Mac.dll",
        r"\\?\C:\mac.dll",
        r"%SystemRoot%\system32\mac.dll",
        "%SystemRoot%/mac.dll",
        r"dhcp\mac.dll",
        r"..\mac.dll",
        "MAC.dll",
    ],
)
def test_a_dll_of_windows_is_looked_for_by_its_name(tmp_path, name):
    (tmp_path / "other.dll").touch()
    assert locate_dll(name, tmp_path).name.lower() == "mac.dll"
    assert locate_dll(name, tmp_path).parent == tmp_path
    (tmp_path / "maC.DLL").touch()
    assert locate_dll(name, tmp_path) == tmp_path / "maC.DLL"


@elsewhere
def test_a_file_of_that_very_name_is_better_than_one_in_another_case(tmp_path):
    for name in ("MAC.dll", "mac.dll", "mac.DLL"):
        (tmp_path / name).touch()
    assert locate_dll(r"C:\mac.dll", tmp_path) == tmp_path / "mac.dll"
    assert locate_dll(r"C:\mac.Dll", tmp_path) == tmp_path / "MAC.dll"


@elsewhere
def test_paths_of_this_system_stay(tmp_path):
    (tmp_path / "mac.so").touch()
    for name in ("/usr/lib/MAC.so", r"/usr/lib/a\mac.so", "//usr/lib/mac.so"):
        assert locate_dll(name, tmp_path) == Path(name)
    assert locate_dll("callouts/MAC.so", tmp_path) == tmp_path / "callouts" / "MAC.so"
    assert locate_dll("mac.so", tmp_path) == tmp_path / "mac.so"


@elsewhere
def test_a_directory_that_is_not_there_has_none(tmp_path):
    assert locate_dll(r"C:\mac.dll", tmp_path / "none") == tmp_path / "none" / "mac.dll"


@windows
def test_on_windows_a_path_stays(tmp_path):
    assert locate_dll(r"C:\Windows\mac.dll", tmp_path) == Path(r"C:\Windows\mac.dll")
