"""The shapes of passwords, tokens and keys: names of files, tokens of known services, and values given to names.

The search uses only the shape of a text, so a match may be harmless. Losing one line too many does less harm than
handing on a password.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Final

_NAMES: Final = (
    *(".env*", "*.env", ".envrc", "*credential*", "*secret*", "*passw*", "*passphrase*", "*kubeconfig*", ".kube"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".ssh", ".gnupg", ".aws", ".azure", ".gcloud", ".docker"),
    *("*.pem", "*.key", "*.p8", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.ppk", "*.asc", "*.gpg", "*.pgp", "*.age"),
    *("*.kdbx", "*.der", "*.crt", "*.cer", "*.ovpn", "*.tfvars*", "*.tfstate*", ".netrc", "_netrc", "*.netrc"),
    *(".npmrc", ".yarnrc*", ".pypirc", ".pgpass", "pgpass.conf", ".my.cnf", ".mylogin.cnf", ".htpasswd", ".htaccess"),
    *(".git-credentials", ".dockercfg", ".dockerconfigjson", ".boto", ".s3cfg", ".condarc", "pip.conf", "pip.ini"),
    *(
        "rclone.conf",
        "kaggle.json",
        "auth.json",
        "*service-account*",
        "*service_account*",
        "*serviceaccount*",
        "gha-creds-*",
    ),
    *(
        "*api_key*",
        "*api-key*",
        "*apikey*",
        "*private_key*",
        "*private-key*",
        "*privatekey*",
        "vault.y*ml",
        "*.vault",
    ),
)
"""Patterns for the name of a secret file, or of a folder above it, in lower case."""

_TOKEN_NAME: Final = re.compile(r"(?<![a-z])tokens?(?![a-z])")
"""Matches ``token`` and ``tokens``, but not ``tokenizer.py``."""

_EDGE: Final = r"(?<![A-Za-z0-9_])"
_SHAPES: Final = re.compile(
    "|".join(
        (
            rf"{_EDGE}(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AROA)[A-Z0-9]{{12,}}",
            rf"{_EDGE}AIza[\w-]{{30,}}",
            rf"{_EDGE}ya29\.[\w-]{{16,}}",
            rf"{_EDGE}GOCSPX-[\w-]{{16,}}",
            rf"{_EDGE}1//0[\w-]{{24,}}",
            rf"{_EDGE}gh[pousr]_[A-Za-z0-9]{{16,}}",
            rf"{_EDGE}github_pat_\w{{16,}}",
            rf"{_EDGE}gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat)-[\w-]{{16,}}",
            rf"{_EDGE}x(?:ox[a-z]|app)-[\w-]{{10,}}",
            r"hooks\.slack\.com/(?:services|workflows)/[\w/-]+",
            r"discord(?:app)?\.com/api/webhooks/[\w/-]+",
            rf"{_EDGE}sk-[\w-]{{20,}}",
            rf"{_EDGE}[srp]k_(?:live|test)_\w{{16,}}",
            rf"{_EDGE}hf_[A-Za-z0-9]{{16,}}",
            rf"{_EDGE}npm_[A-Za-z0-9]{{16,}}",
            rf"{_EDGE}pypi-[\w-]{{16,}}",
            rf"{_EDGE}SG\.[\w-]{{16,}}\.[\w-]{{16,}}",
            rf"{_EDGE}(?:AC|SK)[0-9a-f]{{32}}(?![\w])",
            rf"{_EDGE}dapi[0-9a-f]{{32}}",
            rf"{_EDGE}(?:dop|doo|dor)_v1_[0-9a-f]{{32,}}",
            rf"{_EDGE}(?:gsk|r8|tvly|lin_api|shp[a-z]{{2}}|dckr_pat|glsa|phc|figd|rpa|nvapi|wandb_v1)[_-][\w-]{{20,}}",
            rf"{_EDGE}(?:hv[sbr]|dp\.[a-z]{{2}})\.[\w-]{{20,}}",
            rf"{_EDGE}NRAK-[A-Z0-9]{{20,}}",
            rf"{_EDGE}ATATT3[\w=-]{{20,}}",
            rf"{_EDGE}AGE-SECRET-KEY-1[A-Z0-9]{{20,}}",
            rf"{_EDGE}\d{{8,10}}:AA[\w-]{{30,}}",
            rf"{_EDGE}eyJ[\w-]{{8,}}\.[\w-]{{8,}}(?:\.[\w-]*)*",
            r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}",
            r"\$(?:5|6|y|argon2id?)\$[^\s:'\"]{20,}",
        )
    )
)
"""Tokens whose first letters show their service (AWS, Google, GitHub, GitLab, Slack, OpenAI and others), JSON web
tokens, and hashed passwords."""

_IN_URL: Final = re.compile(r"(?<=://)[^\s/:'\"<>]{0,256}:(?!\d{1,5}(?:[/?#]|$))(?!\$\{?\w+\}?@)[^\s'\"<>]{1,512}@")
_USER_IN_WEB_URL: Final = re.compile(r"(?<=http://|ttps://)[^\s/@:'\"<>]{1,512}@")
_HEADER: Final = re.compile(
    r"(?i)\b(?:proxy-)?authorization[\"']?\s*[:=,]\s*(?:[rbfu]?[\"'])?(?:(?:bearer|basic|token|digest|negotiate)\s+)?"
    r"(?![{$<%]|(?:bearer|basic|token|digest|negotiate)\b)(?P<value>[^\s\"',]{4,})"
    r"|\bbearer\s+(?P<bearer>(?=[\w.~+/-]*\d)[\w.~+/-]{12,}=*)"
    r"|\b(?:set-)?cookie\s*:\s*(?P<cookie>\S+=\S.*)"
)
_STRONG: Final = (
    r"passw(?:or)?d|passwort|passwd|pwd|passphrase|passcode|api[_-]?key|apikey|secret|access[_-]?key|private[_-]?key"
    r"|account[_-]?key|shared[_-]?key|encryption[_-]?key|signing[_-]?key|master[_-]?key|auth[_-]?key|license[_-]?key"
    r"|access[_-]?token|auth[_-]?token|refresh[_-]?token|bearer[_-]?token|api[_-]?token|credentials?|_authToken"
    r"|x-amz-signature|x-amz-security-token|connection[_-]?string"
)
_SHORT: Final = r"token|tok|pass|auth"
_LONG: Final = r"(?<=[_-])key|cookie|sig|signature|session[_-]?id|pat|dsn|webhook"
_TAIL: Final = r"(?P<tail>[\w-]{0,32})"
_VALUE: Final = (
    r"(?:\s*:\s*[A-Za-z_][\w.\[\]| ]{0,40}?\s*=|\s*(?:=>|:=|\?=|==|=|:))\s*"
    r"(?P<value>[rbfu]{0,2}\"(?:[^\"\\]|\\.)*\"?|[rbfu]{0,2}'(?:[^'\\]|\\.)*'?|[^\s,;&)}\]'\"]+)"
)
_ASSIGNED: Final = re.compile(
    rf"(?i)(?:(?P<strong>{_STRONG})|(?<![A-Za-z])(?P<short>{_SHORT})|(?<=[a-z])(?P<camel>(?-i:Token|Pass|Auth))"
    rf"|(?<![A-Za-z])(?P<long>{_LONG}))"
    rf"{_TAIL}[\"']?\]?{_VALUE}"
)
"""A name and its value: ``password=x``, ``"api_key": "x"``, ``x["token"] = "x"``, ``secret: str = "x"``."""

_TYPED: Final = re.compile(
    rf"(?i)(?:^|\s)--?[\w-]{{0,32}}(?:{_STRONG}|token)\s+[\"']?(?P<value>[^\s\"'$<-][^\s\"']*)"
    r"|(?:^|\s)(?:-u|--user|--proxy-user)[\s=]+[\"']?(?P<user>[^\s\"'$:]+:[^\s\"'$]+)"
    r"|\b(?:machine|login)\s+\S+.{0,200}?\bpassword\s+(?P<netrc>\S+)"
)
"""A secret in a typed command (``--password x``, ``curl -u me:x``) or in a netrc file."""

DANGLING: Final = re.compile(
    rf"(?i)(?:{_STRONG})[\w-]{{0,32}}[\"']?\s*[:=]\s*(?:[|>][+-]?|\()?\s*\\?$"
    rf"|\bname[\"']?\s*[:=]\s*[\"']?[\w-]*(?:{_STRONG}|token)[\w-]{{0,32}}[\"']?,?$"
)
"""A name whose value comes on the next line."""

BARE: Final = re.compile(
    r"^[+\- ]?\s*(?:[rbfu]{0,2}[\"'][^\"']+[\"']|[^\s=:()]{4,}|[\"']?value[\"']?\s*[:=]\s*\S.*?)\s*[,)]*$"
)
"""A line with one value on it and nothing else."""

OPTION: Final = re.compile(rf"(?i)^--?[\w-]*(?:{_STRONG}|token)$")
"""An option of a command line whose value is the next word."""

_HARMLESS_ENDING: Final = re.compile(
    r"(?i)[_-]?(?:file|path|dir|folder|field|name|names|len|length|size|min|max|policy|regexp?|pattern|prompt|env"
    r"|var|variable|reset|manager|required|type|kind|class|count|index|idx|enabled?|error|errors|store|ring|url|uri|ref"
    r"|validator|strength|hint|label|help|ids?|mask)"
)
"""Endings of names that are about secrets but hold none: ``password_file``, ``token_ids``."""

_PLACEHOLDER: Final = re.compile(r"^(?:\$\{|<|\{|%\(|\*+$|\.{3}$|\[redacted)")
"""Beginnings of quoted placeholders for a value from elsewhere."""

_NO_LITERAL: Final = re.compile(
    r"(?i)^(?:none|null|nil|true|false|undefined|str|string|bytes|int|float|bool|any|object|optional|secretstr|dict|list"
    r"|x{3,}|\*+|\.{3}|required|yes|no|self|lambda)\W*$"
    r"|^(?:\$[A-Za-z_{(]|[<{(\[]|%\w)"
    r"|^(?:await\s+|not\s+)?[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*[(\[]"
    r"|^(?:os|self|cls|config|cfg|conf|args|settings|env|environ|process|options|opts|secrets|params|kwargs|request"
    r"|vars?|data|each|inputs)\."
)
"""Values in programs that are not secrets: types, empty values, look-ups, calls and other variables."""

PEM: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{3,60}-----|---- BEGIN SSH2 [A-Z ]+ ----|PuTTY-User-Key-File")
PEM_END: Final = re.compile(r"-----END [A-Z0-9 ]{3,60}-----|---- END SSH2 [A-Z ]+ ----")
BASE64_LINE: Final = re.compile(
    r"^[+\- ]?[\s\"']*(?=[^\s]*[a-z])(?=[^\s]*[A-Z])(?=[^\s]*\d)[A-Za-z0-9+/]{48,}={0,2}[\\n\"',;\s]*$"
)
"""A line from the middle of a key, as a diff shows it."""

LONGEST_LINE: Final = 20_000
"""Largest length in characters of a line that is searched in one piece: searching a longer line would take long."""

_FEWEST: Final = 6
"""Smallest length in characters of a secret that is given to a name such as ``token``."""

_FEWEST_OF_LONG: Final = 16
"""Smallest length of a secret given to a name that may also hold other values, such as ``stripe_key``."""

_FEW_BITS: Final = 3.0
"""A random text of 16 or more characters has more entropy per character than this, in bits."""


def is_secret_name(path: str) -> bool:
    """Whether a path, with ``/`` between its parts, looks like the path of a file with passwords or keys."""
    parts = [part.lower() for part in PurePosixPath(path).parts]
    if any(fnmatchcase(part, pattern) for part in parts for pattern in _NAMES):
        return True
    return bool(parts and _TOKEN_NAME.search(parts[-1]))


def spans(line: str) -> list[tuple[int, int]]:
    """Return the places of the secrets in a line, in order and without overlap."""
    if len(line) > LONGEST_LINE:
        # Searched in overlapping pieces, so that no secret is cut in two.
        step = LONGEST_LINE // 2
        pieces = ((at, spans(line[at : at + LONGEST_LINE])) for at in range(0, len(line), step))
        return _joined([(at + start, at + end) for at, found in pieces for start, end in found])
    found = [match.span() for match in _SHAPES.finditer(line)]
    for match in _IN_URL.finditer(line):
        found.append((match.start(), match.end() - 1))
    for match in _USER_IN_WEB_URL.finditer(line):
        found.append((match.start(), match.end() - 1))
    for match in (*_HEADER.finditer(line), *_TYPED.finditer(line)):
        found += [match.span(name) for name, value in match.groupdict().items() if value is not None]
    found += [match.span("value") for match in _assignments(line) if _is_secret(match)]
    return _joined(found)


def _assignments(line: str) -> Iterator[re.Match[str]]:
    """Yield the names with their values; the value of one name may contain another name."""
    place = 0
    while match := _ASSIGNED.search(line, place):
        yield match
        place = match.end("tail") + 1


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _is_secret(match: re.Match[str]) -> bool:
    """Whether the value of a name is a secret."""
    tail, value = match["tail"], match["value"]
    quoted = re.match(r"[rbfuRBFU]{0,2}([\"'])(.*?)\1?$", value)
    text = quoted[2] if quoted else value
    last = re.sub(r"^.*[_-](?=[A-Za-z])", "", tail)
    if not text or _HARMLESS_ENDING.fullmatch(last) or (_PLACEHOLDER if quoted else _NO_LITERAL).search(text):
        return False
    if match["strong"]:
        return bool(quoted) or not _is_variable(match, text)
    if tail and tail[0] not in "_-0123456789":
        return False
    return _is_random(text, at_least=_FEWEST_OF_LONG if match["long"] else _FEWEST)


def _is_variable(match: re.Match[str], text: str) -> bool:
    """Whether the value is a variable of a program: ``password=password``, ``connect(password=word)``."""
    if not text.isidentifier():
        return False
    in_call = text.isalpha() and match.string[match.end("value") : match.end("value") + 1] in (")", ",", "]", "}")
    return in_call or text.lower() == f"{match['strong']}{match['tail']}".lower()


def _is_random(text: str, *, at_least: int) -> bool:
    """Whether a text looks random, and not made of words."""
    if len(text) < at_least or not re.search("[A-Za-z]", text) or not re.search(r"\d", text):
        return False
    return len(text) < _FEWEST_OF_LONG or _entropy(text) > _FEW_BITS


def _entropy(text: str) -> float:
    """Return the entropy of a text in bits per character."""
    n = len(text)
    return -sum(count / n * math.log2(count / n) for count in Counter(text).values())
