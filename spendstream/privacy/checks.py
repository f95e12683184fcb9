"""Tells apart what only looks alike: check digits, lengths, ranges that are in use, and the words before."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

__all__ = ["card_length", "iban_length", "is_address", "is_key", "is_ssn"]

_CONTEXT = 16
_VERSION = re.compile(
    r"(?i:\b(?:v|ver|version|release|rev|revision|build|firmware|section|chapter|clause)[\s.:=]{0,2}"
    r"|[a-z]/|§ ?)\Z"
)
_NOBODY = ("0.", "127.", "255.")

_CARDS = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"3(?:0[0-5]|[689])"), (14,)),
    (re.compile(r"6011|64[4-9]|65"), (16, 19)),
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 19)),
    (re.compile(r"62|60[68]|81|82"), (16, 17, 18, 19)),
    (re.compile(r"5[0678]|6[379]"), (13, 14, 15, 16, 17, 18, 19)),
)
"""First digits and lengths: Visa, Mastercard, Amex, Diners, Discover, JCB, UnionPay and RuPay, Maestro."""

_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27,
    "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28,
    "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23,
    "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27,
    "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25,
    "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18,
    "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33,
    "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28,
    "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip
"""Characters of an IBAN by country, from SWIFT's IBAN Registry."""

_LEAST_HEX = 8


def card_length(written: str) -> int:
    """Return how many characters of what is written are a payment card's number; 0 if none.

    The check digit is Luhn's (ISO/IEC 7812-1). A security code of three digits may follow.
    """
    for length in (len(written), len(written) - 4):
        digits = "".join(filter(str.isdigit, written[:length]))
        if written[length : length + 1] in ("", " ", "-") and _is_card(digits):
            return length
    return 0


def _is_card(digits: str) -> bool:
    if not any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in _CARDS):
        return False
    doubled = (2 * int(digit) for digit in digits[-2::-2])
    total = sum(map(int, digits[-1::-2])) + sum(twice - 9 if twice > 9 else twice for twice in doubled)  # noqa: PLR2004
    return total % 10 == 0


def iban_length(written: str, following: str) -> int:
    """Return how many characters of what is written are an IBAN (ISO 13616); 0 if none.

    `following` is the character after them.
    """
    wanted = _IBAN_LENGTHS.get(written[:2].upper(), 0)
    places = [place for place, character in enumerate(written) if character.isalnum()]
    if not wanted or len(places) < wanted:
        return 0
    end = places[wanted - 1] + 1
    if (written[end : end + 1] or following).isalnum():
        return 0
    code = "".join(filter(str.isalnum, written[:end]))
    number = "".join(str(int(character, 36)) for character in code[4:] + code[:4])
    return end if int(number) % 97 == 1 else 0


def is_ssn(written: str) -> bool:
    """Tell whether a US social security number may have been issued."""
    digits = "".join(filter(str.isdigit, written))
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def is_key(written: str) -> bool:
    """Tell whether this is no name in words, like sk-learn-compatible-estimators."""
    return any(map(str.isdigit, written)) and written.count("-") < len(written) // 5


def is_address(text: str, start: int, end: int) -> bool:
    """Tell whether this is the IP address of somebody: no version, no section, no loopback, no mask."""
    written = text[start:end]
    if ":" in written:
        return _is_ipv6(written)
    try:
        IPv4Address(written)
    except AddressValueError:
        return False
    return not written.startswith(_NOBODY) and not _VERSION.search(text[max(start - _CONTEXT, 0) : start])


def _is_ipv6(written: str) -> bool:
    digits = sum(map(str.isalnum, written))
    if digits < _LEAST_HEX and not any(map(str.isdigit, written)):  # a::b is more often a name in a program
        return False
    try:
        address = IPv6Address(written)
    except AddressValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)
