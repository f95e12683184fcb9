"""What personal data and secrets look like, before anything is checked.

Time is linear in the text, whatever it says: a pattern either has a greatest width, so that an attempt at one
place looks at a bounded number of characters, or can only begin where a run of its characters begins. Next to
each other no two parts match the same character, so that nothing is tried in many ways.
"""

from __future__ import annotations

import re

__all__ = [
    "AWS_SECRET",
    "CALLED_OTHERWISE",
    "CALLED_PHONE",
    "CALLED_SSN",
    "CARD",
    "EMAIL",
    "ESCAPE",
    "IBAN",
    "IPV4",
    "IPV6",
    "JWT",
    "KEYS",
    "KEY_PARTS",
    "LONG_NUMBER",
    "NATIONAL_NUMBER",
    "PEM_BEGIN",
    "PEM_REST",
    "PHONE",
    "SSN",
    "UNDIVIDED_SSN",
]

ESCAPE = re.compile(r'\\+(?:["/bfnrt]|u[0-9a-fA-F]{4})?')
"""An escape of JSON, however deep it is nested; what follows it begins anew."""

LONG_NUMBER = re.compile(r"[0-9](?:[ ./()-]{0,2}[0-9]){6}")
"""What every phone, card and social security number has."""

EMAIL = re.compile(
    r"(?<![\w.%+-])[\w.%+-]{1,256}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w-])"
)

_END = r"(?![\w-]|\.[0-9])"
PHONE = re.compile(
    r"(?<![\w+.-])(?:"
    r"\+[0-9](?:[ .()-]{0,2}[0-9]){7,14}"
    r"|(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}"
    rf"){_END}"
)
NATIONAL_NUMBER = re.compile(rf"(?<![\w+.-])\(?[0-9](?:[ ./()-]{{0,2}}[0-9]){{6,14}}{_END}")
CALLED_PHONE = re.compile(
    r"(?i:\b(?:tel|telephone|phone|mobile|cell|fax|telefon|handy|whatsapp|call(?: (?:me|us|him|her|them))?)\b"
    r"(?: (?:no|nr|number)\b)?[.:]{0,2} {0,3}(?:(?:is|at|on) )?)\Z"
)
"""What comes before a national number, which has no shape of its own: somebody has to call it one."""

CALLED_OTHERWISE = re.compile(
    r"(?i:\b(?:order|invoice|ticket|ref|reference|id|sku|part|case|serial|account|isbn|issn|doi)\b)"
    r"(?i: (?:no|nr|number))?[\s.:#=]{0,3}\Z"
)
"""What comes before a number that looks like a telephone's and is none."""

CARD = re.compile(
    r"(?<![\w.])(?:"
    r"[0-9]{13,19}"
    r"|[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{3})?"
    r"|[0-9]{4}([ -])[0-9]{6}\2[0-9]{4,5}"
    r")(?!\w|\.[0-9])"
)
IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,30}")

SSN = re.compile(rf"(?<![\w.-])[0-9]{{3}}-[0-9]{{2}}-[0-9]{{4}}{_END}")
UNDIVIDED_SSN = re.compile(rf"(?<![\w.-])[0-9]{{3}}[ ]?[0-9]{{2}}[ ]?[0-9]{{4}}{_END}")
CALLED_SSN = re.compile(r"(?i:\b(?:ssn|social security(?: (?:no|number))?)\b[.:#]{0,2} {0,3}(?:is )?)\Z")

IPV4 = re.compile(r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?!\w|\.[0-9])")
IPV6 = re.compile(
    r"(?:(?<![\w:.])|(?<=[g-zG-Z]:))"
    r"(?:[0-9a-fA-F]{0,4}:){2,7}(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-fA-F]{0,4})(?![\w:])"
)

KEYS = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"sk-[A-Za-z0-9_-]{20,}"  # OpenAI, Anthropic and those that follow them
    r"|gh[pousr]_[A-Za-z0-9]{36,}"
    r"|github_pat_[A-Za-z0-9_]{22,}"
    r"|glpat-[A-Za-z0-9_-]{20,}"
    r"|xox[abceoprs]-[A-Za-z0-9-]{10,}"
    r"|xapp-[A-Za-z0-9-]{10,}"
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"
    r"|hf_[A-Za-z0-9]{30,}"
    r"|AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"
    r"|(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA|ANVA)[A-Z0-9]{16}(?![A-Za-z0-9_-])"
    r")"
    r"|https://hooks\.slack\.com/services/[A-Za-z0-9/]{20,120}"
)
KEY_PARTS = (
    *(
        "sk-",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "xox",
        "xapp-",
        "k_live_",
        "k_test_",
    ),
    *("hf_", "AIza", "AKIA", "ASIA", "AROA", "AIDA", "AGPA", "ANPA", "ANVA", "hooks.slack.com"),
)
"""A text without any of these has none of those keys."""
AWS_SECRET = re.compile(
    r"(?i:aws[\w .-]{0,20}(?:secret|sk)[\w .-]{0,20}[\"']?)[ \t]{0,4}[=:][ \t]{0,4}[\"']?"
    r"([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
)
JWT = re.compile(r"(?<![\w.-])eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*")

PEM_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
PEM_REST = re.compile(r"(?:\s{1,4}(?:Proc-Type|DEK-Info): ?[\w,-]{1,80})*(?:\s{1,4}[A-Za-z0-9+/=]{16,})*")
"""What is left of a key whose end was cut off: lines in base64, but no words that come after."""
