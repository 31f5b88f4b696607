"""English words that the general rules would split wrongly: contractions, abbreviations, emoticons.

The list is that of spaCy's blank English pipeline, so that word counts agree with spaCy's.
"""

from collections.abc import Iterator

CONTRACTIONS = (
    ("i", "'m 'm|a 'll 'll|'ve 'd 'd|'ve 've"),
    ("you we they", "'ll 'll|'ve 'd 'd|'ve 've 're"),
    ("he she it", "'ll 'll|'ve 'd 'd|'ve 's"),
    ("who what when where why how there", "'s 'll 'll|'ve 're 've 'd 'd|'ve"),
    ("that this", "'s 'll 'll|'ve 'd 'd|'ve"),
    ("these those", "'ll 'll|'ve 're 've 'd 'd|'ve"),
    ("ca could do does did had may might must need ought sha should wo would", "n't n't|'ve"),
    ("could might must should would not", "'ve"),
    ("ai are is was were have has dare", "n't"),
)
"""Stems and endings; ``|`` separates the pieces. Capitalized forms and forms without apostrophes are added."""

WORDS_AFTER_ALL = "ill its hell shell shed were well whore"
"""Words that look like contractions without their apostrophe."""

IN_PIECES = (
    "y'|all y|all how|'d|'y How|'d|'y can|not Can|not gon|na Gon|na got|ta Got|ta let|'s Let|'s c'm|on C'm|on "
    "°|c|. °|f|. °|k|. °|C|. °|F|. °|K|."
)

IN_ONE_PIECE = (
    # with an apostrophe, a slash, a plus
    "' '' 's 'S 're 'd 'll 'em 'nuff 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout \u2018s \u2018S em ll nuff "
    "doin' goin' nothin' nuthin' ol' somethin' lovin' havin' Doin' Goin' Nothin' Nuthin' Ol' Somethin' Lovin' Havin' "
    "ma'am Ma'am o'clock O'clock and/or w/o C++ — <space> \\t \\n \\\") "
    # months, states, titles
    "Jan. Feb. Mar. Apr. Jun. Jul. Aug. Sep. Sept. Oct. Nov. Dec. "
    "Ak. Ala. Ariz. Ark. Calif. Colo. Conn. D.C. Del. Fla. Ga. Ia. Id. Ill. Ind. Kan. Kans. Ky. La. Mass. Md. Mich. "
    "Minn. Miss. Mo. Mont. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Okla. Ore. Pa. S.C. Tenn. Va. Wash. Wis. Mt. "
    "Adm. Bros. co. Co. Corp. Dr. Gen. Gov. Inc. Jr. Ltd. Messrs. Mr. Mrs. Ms. Ph.D. Prof. Rep. Rev. Sen. St. "
    "a.m. p.m. e.g. E.g. E.G. i.e. I.e. I.E. vs. v.s. "
    # letters of numbered lists
    "a. b. c. d. e. f. g. h. i. j. k. l. m. n. o. p. q. r. s. t. u. v. w. x. y. z. ä. ö. ü. "
    # emoticons
    ":) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; (-; "
    ":( :-( :(( :-(( :((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= =[ :1 :P :-P :p :-p "
    ":O :-O :o :-o :0 :-0 :() >:o :* :-* :3 :-3 =3 :> :-> :X :-X :x :-x :D :-D ;D ;-D =D xD XD xDD XDD 8D 8-D "
    "^_^ ^__^ ^___^ >.< >.> <.< ._. ;_; -_- -__- v.v V.V v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O o.o 0.0 "
    "o.0 0.o @_@ <3 <33 <333 </3 (^_^) (-_-) (._.) (>_<) (*_*) (¬_¬) ಠ_ಠ ಠ︵ಠ (ಠ_ಠ) ¯\\(ツ)/¯ (╯°□°）╯︵┻━┻ ><(((*>"
)


def special_words() -> dict[str, tuple[str, ...]]:
    """Maps each word to its pieces. Words with an apostrophe are also included with the typographic one."""
    words = {"".join(pieces): pieces for pieces in _all_pieces()}
    for word in WORDS_AFTER_ALL.split():
        words.pop(word, None)
        words.pop(word.title(), None)
    curly = {word.replace("'", "’"): tuple(piece.replace("'", "’") for piece in words[word]) for word in words}
    return curly | words


def _all_pieces() -> Iterator[tuple[str, ...]]:
    for stems, endings in CONTRACTIONS:
        for stem in stems.split():
            for ending in endings.split():
                for written in (ending, ending.replace("'", "")):
                    yield (stem, *written.split("|"))
                    yield (stem.title(), *written.split("|"))
    for hour in range(1, 13):
        for half in ("a.m.", "am", "p.m.", "pm"):
            yield str(hour), half
    for word in IN_PIECES.split():
        yield tuple(word.split("|"))
    for word in IN_ONE_PIECE.split():
        yield (word,)
