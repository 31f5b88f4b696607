"""Texts that are hard to tokenize; tokenizers are compared on them."""

from collections.abc import Sequence

Texts = Sequence[str]

HARD_TEXTS: Texts = (
    "",
    " ",
    "\n",
    "  leading and trailing  ",
    "a\tb\r\n\r\n\n   c \u00a0\u2003\u3000d",
    " " * 300 + "x" + "\n" * 300,
    "it's I'LL we've they'd 'S 'tis rock'n'roll O\u2019Neil",
    "1 12 123 1234 12345678901234567890 3.14 1,000,000 \u0663\u0664 \u00bd \u2167 0x1F",
    "caf\u00e9 cafe\u0301 \u00c5\u212b na\u00efve \u1e9e \ufb01 \u0130\u0131 \u01c5",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u65e5\u672c\u8a9e\u306e\u30c6\u30b9\u30c8",
    "\ud55c\uad6d\uc5b4 \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22",
    "\u0645\u0631\u062d\u0628\u0627 \u202b\u05e9\u05dc\u05d5\u05dd\u202c \u0928\u092e\u0938\u094d\u0924\u0947",
    "\U0001f600\U0001f469\u200d\U0001f469\u200d\U0001f467\U0001f1e9\U0001f1ea\U0001f44d\U0001f3fd \u2764\ufe0f",
    "\x00\x01\x07\x08\x0b\x0c\x1b[0m\x7f\x80\x85\x9f\ufeff\ufffd\ufffe\uffff\U0010ffff",
    "\u200b\u200c\u200d\u2028\u2029\u2060 \u0301\u0301\u0301",
    "def f(x):\n    return x**2  # \u03c0\n\n\n\tif not a!=b: {[(<>)]}@#$%^&*_+=|~`\\/?;:\"'",
    "https://a.example/b?c=d&e=%20#f user@example.org C:\\Users\\x <br/> &amp; --- ... ?!?!",
    "a" * 3000,
    "ab" * 1500 + "\u00e9" * 1500,
    "camelCase snake_case SCREAMING_CASE x2y3z \u0410\u0411\u0412\u0433\u0434 \u0391\u03b2\u03b3",
    "<|endoftext|><|im_start|>user\n</s> <s> [INST] <unk> <pad><|endoftext|",
    "prices.  With it   goes    on     and      on\n\n\n   indented\n        deeper\n\t\ttabs \t mixed",
    "\u2581 \u2581\u2581a \u2581b\u2581 ends with \u2581",
    " \u2581",
    "<0x0A> <0x41><0xE4> <0xe4> (<0xFF><0x00>",
    "\uff21\uff22\uff23 \uff11\uff12 \uff76\uff9e \u2460 \ufb03 \u00bd \u2122 \u33a5 \u1100\u1161\u11a8 \uac00",
    "e\u0301e\u0300\u0323 a\u030a\u0301 q\u0307\u0323 \u0958 \u0915\u093c \u0e33 \ufb01\u0301",
    "\U0001f3f4\U000e0067\U000e0062\U000e007f \U0001d54f \U00020000\u3400 \ue000\uf8ff",
    "\u0660\u06f1\u09e8 \u1200\u1208 \u10d0\u10d1 \u13a0 \u0d15\u0d4d\u0d37 \u0bb5\u0ba3\u0b95\u0bcd\u0b95\u0bae\u0bcd",
    "\r \r\n \n\r \x0b\x0c \x1c\x1d\x1e\x1f \xad \u180e \u061c",
    "aaaaaaaaaaaaaaaabababababababaaab ........------======________////////",
    "{" * 40 + "\n" * 17 + " " * 33 + "}" * 40 + "\t" * 9,
    "The quick brown fox jumps over the lazy dog, and 42 others don't; see \u00a7 7(b) \u2014 \u201cno\u201d.",
)
