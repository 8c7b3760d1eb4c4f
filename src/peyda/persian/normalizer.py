"""The one normaliser: what training, indexing, querying and measuring read is `normalize(text)`.

It maps the spellings that keyboards, web pages and translation engines use for one and the same Persian text to one
form, made for models and not for display: half-space becomes a plain space, digits and punctuation become ASCII,
letters of Arabic, Urdu, Kurdish and Pashto keyboards become the Persian ones, marks and invisible characters go.

Choices where Persian spelling itself varies (a change of any of them is a new `NORMALIZER_VERSION`):

- «آ» stays apart from «ا»; «أ إ ٱ» become «ا», «ؤ» becomes «و», «ۀ» and «ة» become «ه».
- «ئ» stays («مسئول», «تئاتر»), except before «ی», where today's spelling has «یی»: «پائیز» → «پاییز».
- «ء» stays («جزء»), except after «ا» at the end of a word, where it is optional: «اشیاء» → «اشیا».
- The «ی» of the ezafe after «ه» goes: «خانه‌ی», «خانه ی», «خانهٔ» and «خانه» are one.

Sources: Unicode Standard Annex 15 (NFKC); the Unicode Character Database, as `unicodedata` has it; the spelling rules
of the Academy of Persian Language and Literature («دستور خط فارسی») for the list above.
"""

from __future__ import annotations

import re
import unicodedata

NORMALIZER_VERSION = "1"

_LETTERS = {
    "ا": "أإٱٲٳٵ",
    "ب": "ٮ",
    "ت": "ٹټٺ",
    "د": "ڈډ",
    "ر": "ڑړڕڒ",
    "ف": "ڡ",
    "ق": "ٯ",
    "ک": "كڪڬڭڮػؼ",
    "گ": "ګڰڱڳڴ",
    "ل": "ڵڶڷ",
    "ن": "ںڼڻڹ",
    "و": "ؤۄۅۆۇۈۉۊۋۏڤٶٷ",
    "ه": "ةۀہۂۃھەۿ",
    "ی": "يىېۑۍێےۓؠؽؾؿٸ",
}
_PUNCTUATION = {
    ",": "،٬",
    ";": "؛⁏",
    ".": "۔٫",
    "?": "؟⸮",
    "%": "٪",
    "*": "٭",
    "(": "﴿",
    ")": "﴾",
    "/": "⁄∕",
    "-": "−",
    "'": "‘’‚‛`´′ʹʼ",
    '"': "«»“”„‟‹›″〝〞〟＂",
    "": "\u0640\u0674",  # tatweel, and the Kazakh high hamza that NFKC splits off its letters
    # Half-space, what is typed or stored for it by mistake, and what stands for a character nobody can read.
    " ": "\u200c\u200b\u00ac\u00ad\u2060\ufeff\ufffc\ufffd۞۩",
}
_CACHED_LIMIT = 8_192  # code points; bounds the memory of a table that hostile text fills
_MARKS_LIMIT = 30  # combining marks in a row, the limit of Unicode's stream-safe text format
_LONG_TEXT = 1_000  # characters; below this even the worst run of marks costs nothing
_PASSES_LIMIT = 10


class _FoldTable(dict[int, str]):
    """A `str.translate` table: the explicit lists above, then rules by category, worked out once a code point."""

    def __init__(self) -> None:
        super().__init__(
            {ord(char): to for table in (_LETTERS, _PUNCTUATION) for to, chars in table.items() for char in chars}
        )

    def __missing__(self, code: int) -> str:
        result = _fold_by_category(chr(code))
        if len(self) < _CACHED_LIMIT:
            self[code] = result
        return result


def _is_arabic(code: int) -> bool:
    return 0x0600 <= code <= 0x06FF or 0x0750 <= code <= 0x077F or 0x0860 <= code <= 0x08FF or 0xFB50 <= code <= 0xFDFF


def _fold_by_category(char: str) -> str:
    """What becomes of one character that is in no explicit list."""
    code, category = ord(char), unicodedata.category(char)
    match category:
        case "Nd":
            return str(unicodedata.decimal(char))
        case "Pd":
            return "-"
        case "Zs" | "Zl" | "Zp" | "Cs" | "Co":
            return " "
        case "Cc":
            return " " if char.isspace() else ""
        case "Cf":
            return ""
        case "Mn" if _is_arabic(code) or 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF or code == 0x034F:
            return ""
        case "Lm" | "Sk" if _is_arabic(code):
            return ""
        case _:
            return char


_FOLD = _FoldTable()
# Text that every rule leaves as it is; most Persian captions pass after one pass, or at once.
_SETTLED = re.compile(r"(?:[a-z0-9آابپتثجچحخدذرزژسشصضطظعغفقکگلمنوهی!\"#%&'()*+,./:;?@-]+(?: (?! )|$))*(?<! )")
_YEH_HAMZA = re.compile("[\u06cc\u0649][\u0610-\u061a\u064b-\u0653\u0655-\u065f\u0670]*\u0654")
_GLIDE_HAMZA = re.compile(r"(?<!ئ)ئ++(?=ی)")  # possessive and anchored: linear over a long run of «ئ»
_FINAL_HAMZA = re.compile(r"(?<=ا)ء(?![^\W\d_])")
_EZAFE = re.compile(r"(?<=[^\W\d_]ه)(?: ی)+(?!\w)")
_INVISIBLE_IN_LATIN = re.compile("(?<=[a-z])[\u00ad\u2060\ufeff\u200c]+(?=[a-z])")


def normalize(text: str) -> str:
    """Return the one form of `text` that models read.

    Defined for every `str` (lone surrogates too) and idempotent: `normalize(normalize(x)) == normalize(x)`.
    Newlines and runs of blanks become one space; the result has none at either end and may be empty.

    >>> normalize("كتاب‌هاي  مُحَمَّد")
    'کتاب های محمد'
    >>> normalize("۱۲ سگ، در برفــــ؟ «Snow»")
    '12 سگ, در برف? "snow"'
    >>> normalize("خانهٔ بزرگ") == normalize("خانه‌ی بزرگ") == normalize("خانه ی بزرگ")
    True
    """
    for _ in range(_PASSES_LIMIT):
        if _is_settled(text):
            return text
        folded = _fold_once(text)
        if folded == text:
            return text
        text = folded
    return text


def _is_settled(text: str) -> bool:
    return _SETTLED.fullmatch(text) is not None and _EZAFE.search(text) is None


def _fold_once(text: str) -> str:
    """One pass of every rule. What a removal brings together may need another pass (a letter and its accent)."""
    if len(text) > _LONG_TEXT:
        text = _limit_marks(text)
    text = unicodedata.normalize("NFKC", text)
    if "\u0654" in text:  # Unicode composes Arabic yeh and hamza, not the Persian one
        text = _YEH_HAMZA.sub("ئ", text)
    text = text.lower().replace("i\u0307", "i")  # what lower() makes of the Turkish capital İ
    text = _INVISIBLE_IN_LATIN.sub("", text)
    text = " ".join(text.translate(_FOLD).split())
    if "ئ" in text:
        text = _GLIDE_HAMZA.sub(lambda run: "ی" * len(run[0]), text)
    if "ء" in text:
        text = _FINAL_HAMZA.sub("", text)
    return _EZAFE.sub("", text)


def _limit_marks(text: str) -> str:
    """Cut runs of combining marks: `unicodedata.normalize` takes quadratic time over a long one."""
    kept: list[str] = []
    run = 0
    for char in text:
        run = run + 1 if unicodedata.combining(char) else 0
        if run <= _MARKS_LIMIT:
            kept.append(char)
    return "".join(kept)
