"""What settings are made of: hardware addresses, patterns, files."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiodhcp_plugins.tables import File, HardwarePrefix, Pattern, Patterns, Table, begins, matcher
from pydantic import Field, ValidationError


class Everything(Table):
    some_file: File = Path("somewhere")
    prefix: HardwarePrefix = "02"
    pattern: Pattern = "*"
    patterns: Patterns = Field(default_factory=list)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("PXEClient", b"PXEClient", b"PXEClient:Arch:00000"),
        ("PXEClient*", b"PXEClient:Arch:00000", b"a PXEClient"),
        ("/Arch:0000[79]/", b"PXEClient:Arch:00007", b"PXEClient:Arch:00000"),
        ("0x0004ab", b"\0\4\xab", b"\0\4\xab\0"),
        ("0x00:04*", b"\0\4\xab", b"\0\5"),
        ("*", b"", None),
    ],
)
def test_a_pattern_is_text_or_octets_or_their_beginning_or_a_regular_expression(pattern, yes, no):
    assert matcher(pattern)(yes)
    assert no is None or not matcher(pattern)(no)


@pytest.mark.parametrize("pattern", ["", "/(/", "0x0", "0xzz"])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(ValidationError, match=r"expected|is no regular expression"):
        Everything(pattern=pattern)


def test_prefixes_end_between_octets():
    assert begins("02:00:5e:00:00:01", ["ff", "02:00:5e"])
    assert begins("02:00:5e:00:00:01", ["02:00:5e:00:00:01"])
    assert not begins("02:00:5e:00:00:01", ["02:00:5e:00:00:01:00"])
    assert not begins("02:00:5e:00:00:01", [])
    assert not begins("", ["02"])


@pytest.mark.parametrize("text", ["02:00:5E", "02-00-5e", " 02:00:5e:* "])
def test_prefixes_may_be_written_in_several_ways(text):
    assert Everything(prefix=text).prefix == "02:00:5e"


@pytest.mark.parametrize("text", ["", "2:0", "02:0", "*", "printer", "02:00:5e*"])
def test_what_is_no_prefix_is_refused(text):
    with pytest.raises(ValidationError, match="hardware address"):
        Everything(prefix=text)


def test_a_relative_path_starts_where_the_configuration_file_is():
    told = {"directory": "/etc/aiodhcp"}
    assert Everything.model_validate({"some-file": "plan.csv"}, context=told).some_file == Path("/etc/aiodhcp/plan.csv")
    assert Everything.model_validate({"some_file": "/srv/plan.csv"}, context=told).some_file == Path("/srv/plan.csv")
    assert Everything(some_file="plan.csv").some_file == Path("plan.csv")
    for wrong in ("", 7):
        with pytest.raises(ValidationError):
            Everything.model_validate({"some-file": wrong})


def test_one_pattern_is_as_good_as_a_list():
    assert Everything(patterns="eth*").patterns == ["eth*"]
