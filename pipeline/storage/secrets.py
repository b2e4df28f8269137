"""Secrets cut out of text that others will read: tables, plans, messages, MLflow, quarantine.

What is cut: who signs in, and with what, in a URL (`//me:p/w@d@host`); what follows its path
(`?X-Amz-Signature=...`, `?sig=...`, `#access_token=...`); the value behind a telling name
(`AccountKey=...`, `hf_token: ...`), also in a comment; tokens that are known by their form; and the
values of this process's environment variables with telling names, wherever they stand. The place
itself stays readable. Rather too much is cut than too little.
"""

from __future__ import annotations

import os
import re
from typing import Final
from urllib.parse import quote

HIDDEN: Final = "***"

# Bounded names: without, a megabyte of letters takes quadratic time
_SCHEME: Final = r"[A-Za-z][\w+.\-]{0,20}://"
_URL: Final = re.compile(rf"{_SCHEME}(?:(?!{_SCHEME})[^\s\"'<>])*")
_NAMES: Final = (
    r"pass(?:word|wd|phrase)?|pwd|secret|token|credentials?|authorization|signature|sig|sas"
    r"|(?:access|account|api|private|secret|shared|auth)[_\-]?key(?:[_\-]?id)?"
)
_NAMED: Final = re.compile(
    rf"((?:^|[^A-Za-z])(?:{_NAMES})[\"']?[ \t]*[:=][ \t]*(?:(?:bearer|basic) +)?)"
    r"(?![\s{\[]|null\b)(\"[^\"\n]*\"|'[^'\n]*'|[^\s,;}\]]+)",
    re.IGNORECASE,
)
_CAMEL: Final = re.compile(
    r"((?:Account|Access|Shared|Api)\w{0,40}(?:Key|Signature) *= *)[^\s;\"']+"
)
_FORMS: Final = re.compile(
    r"\b(?:hf_|ghp_|gho_|ghs_|github_pat_|glpat-|sk-|xox[abpr]-|dapi|AKIA|ASIA|AIza|ya29\.|eyJ)"
    r"[\w\-.]{12,}"
)
_SECRET_VARIABLE: Final = re.compile(
    r"(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?|CONNECTION_STRING|_PASS|_SAS"
    r"|(?:ACCESS|ACCOUNT|API|PRIVATE|SAS)_KEY(?:_ID)?)$",
    re.IGNORECASE,
)
_SHORTEST: Final = 6
"""A shorter value of a variable is no secret, and would be found in ordinary words."""


def without_secrets(text: str) -> str:
    """The text with everything cut that signs somebody in."""
    for value in _environment():
        text = text.replace(value, HIDDEN)
    text = _URL.sub(lambda found: _bare(found[0]), text)
    text = _NAMED.sub(rf"\1{HIDDEN}", text)
    text = _CAMEL.sub(rf"\1{HIDDEN}", text)
    return _FORMS.sub(HIDDEN, text)


def _bare(url: str) -> str:
    """A URL without sign-in, query and telling fragment; brackets and commas behind it stay."""
    rest = url.rstrip(",;)]}")
    tail = url[len(rest) :]
    scheme, _, rest = rest.partition("://")
    host = rest.partition("/")[0]
    before, at, after = rest.rpartition("@")
    # A password may hold anything, even "/", "?" and "@"; in a path a lone "@" is just a letter.
    if at and (":" in before or "@" in host):
        rest = after if ":" in before else rest.partition("@")[2]
    rest = rest.partition("?")[0]
    rest = re.sub(r"#.*=.*", "", rest)
    return f"{scheme}://{rest}{tail}"


def _environment() -> list[str]:
    """The longest first: one may be part of another."""
    values = {
        value
        for name, value in os.environ.items()
        if _SECRET_VARIABLE.search(name) and len(value) >= _SHORTEST and not value.startswith("/")
    }
    return sorted(values | {quote(value, safe="") for value in values}, key=len, reverse=True)
