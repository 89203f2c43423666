"""Text from outside: what is JSON comes back as it is, everything else is one error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecrack.outside_text import (
    MOST_LEVELS,
    OutsideTextError,
    parse_json,
    parse_yaml,
    read_json,
    read_yaml,
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('ab[{]}"\\'), inner),
    max_leaves=20,
)


@given(value=VALUES)
def test_what_is_json_comes_back(value: object) -> None:
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("{", "line 1"),
        ('{"a": 1e400}', "1e400 is too large"),
        ('{"a": -1E+999}', "too large"),
        ('{"a": ' + "9" * 400 + ".0}", "too large"),
        ('{"a": NaN}', "NaN"),
        ('{"a": Infinity}', "Infinity"),
        ('{"a": -Infinity}', "-Infinity"),
        ('{"a": 9223372036854775808}', "too large"),
        ('{"a": 1' + "0" * 399 + "}", "too large"),
        ('{"a": 1' + "0" * 20_000 + "}", "too large"),
        ("[" * 50_000 + "]" * 50_000, "levels deep"),
        ("[" * 50_000, "levels deep"),
        ('{"a":' * 50_000 + "1" + "}" * 50_000, "levels deep"),
        ("[" * (MOST_LEVELS + 1) + "]" * (MOST_LEVELS + 1), "levels deep"),
        ('["[",' + "[" * MOST_LEVELS + "]" * MOST_LEVELS + "]", "levels deep"),
        (b"\xff\xfe{}", "UTF-8"),
        (b'{"a": "\xff"}', "UTF-8"),
    ],
    ids=lambda value: value[:16] if isinstance(value, (str, bytes)) else None,
)
def test_everything_else_is_one_error(text: str | bytes, words: str) -> None:
    with pytest.raises(OutsideTextError, match=words):
        parse_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * MOST_LEVELS + "]" * MOST_LEVELS,
        json.dumps(["[" * 200, "{" * 200, '"]\\"']),
        '{"sha256": "12e345", "time_ns": 1764545000000000000, "share": 0.00012345678901234567}',
        "1e-400",
    ],
)
def test_what_only_looks_like_it_is_read(text: str) -> None:
    assert parse_json(text) == json.loads(text)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse_json(b"\xef\xbb\xbf[1]") == [1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "not YAML"),
        ("a: 1\na: 2", "sets 'a' twice, again in line 2"),
        ("7: x\n0x7: y", "sets 7 twice"),
        ("a: .inf", "inf"),
        ("a: .nan", "nan"),
        ("a: 1.0e+400", "inf"),
        ("a: 1" + "0" * 400, "too large"),
        ("[" * 50_000, "levels deep"),
        ("a: &a [*a]", "levels deep"),
        ("a: !!python/object/apply:os.getcwd []", "not YAML"),
    ],
    ids=lambda value: value[:16],
)
def test_yaml_by_the_same_rule(text: str, words: str) -> None:
    with pytest.raises(OutsideTextError, match=words):
        parse_yaml(text)


def test_aliases_that_expand_without_end_are_refused() -> None:
    lines = ["l0: &l0 [1, 1]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 30)]
    with pytest.raises(OutsideTextError, match="aliases expand"):
        parse_yaml("\n".join(lines))
    assert parse_yaml("\n".join(lines[:4]))["l1"][9] == [1, 1]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("012", "012"),
        ("1:30", "1:30"),
        ("no", "no"),
        ("1_000", "1_000"),
        ("2001-02-03", "2001-02-03"),
        ("0x10", 16),
        ("-7", -7),
        ("1e-3", 0.001),
        ("2.5", 2.5),
        ("true", True),
        ("~", None),
    ],
)
def test_yaml_has_the_plain_values_of_version_1_2(text: str, value: object) -> None:
    found = parse_yaml(f"a: {text}")["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '[{"b": {"a": 1e5, "a": 2}}]'])
def test_a_key_given_twice_is_refused(text: str) -> None:
    with pytest.raises(OutsideTextError, match="the key 'a' twice"):
        parse_json(text)


@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, read: object) -> None:
    path = tmp_path / "file"
    path.write_text("[1, 2, 3, 4]")
    assert callable(read)
    assert read(path, most_bytes=12) == [1, 2, 3, 4]
    with pytest.raises(OutsideTextError, match="larger than 11 bytes"):
        read(path, most_bytes=11)
    with pytest.raises(OSError, match="gone"):
        read(tmp_path / "gone")
