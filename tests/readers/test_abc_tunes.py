"""ABC tunes: each sign of the notation by hand, and tunes of a collection against MIDI files made of them by others."""

from __future__ import annotations

import pytest

from elman.errors import DataError
from elman.readers import Reading, Rejects
from elman.readers.abc_pitches import chord, signature
from elman.readers.abc_tunes import read_tunes
from elman.readers.midi import read_midi

C, D, E, F, G, A, B = 60, 62, 64, 65, 67, 69, 71


def notes(tmp_path, body: str, key: str = "C", fields: str = "M:4/4\nL:1/4\n") -> list[tuple[float, float, int]]:
    """The notes of a tune as (begin, length, key)."""
    path = tmp_path / "a.abc"
    path.write_text(f"X:1\nT:Tune\n{fields}K:{key}\n{body}\n", encoding="utf-8")
    ((_, found),) = read_tunes(path, Reading())
    return [(n.begin, round(n.end - n.begin, 6), n.key) for n in found]


def keys(tmp_path, body: str, key: str = "C") -> list[int]:
    return [key for _, _, key in notes(tmp_path, body, key)]


@pytest.mark.parametrize(
    ("body", "lengths"),
    [
        ("C C2 C/ C/4 C// C3/2 C3", [1, 2, 0.5, 0.25, 0.25, 1.5, 3]),
        ("C>D C<D C>>D", [1.5, 0.5, 0.5, 1.5, 1.75, 0.25]),
        ("(3CDE F (2CD", [2 / 3] * 3 + [1, 1.5, 1.5]),
        ("(3:2:2C2D E", [4 / 3, 2 / 3, 1]),
        ("C-C D-|D", [2, 2]),
    ],
)
def test_lengths(tmp_path, body, lengths):
    assert [length for _, length, _ in notes(tmp_path, body)] == pytest.approx(lengths, abs=1e-6)


@pytest.mark.parametrize(("meter", "length"), [("9/8", 3 / 5), ("6/8", 3 / 5), ("3/4", 2 / 5), ("C|", 2 / 5)])
def test_five_notes_take_the_time_of_three_where_beats_are_counted_in_threes(tmp_path, meter, length):
    found = notes(tmp_path, "(5CDEFG", fields=f"M:{meter}\nL:1/4\n")
    assert [each for _, each, _ in found] == pytest.approx([length] * 5, abs=1e-6)


def test_rests_and_whole_bars_take_time(tmp_path):
    assert [begin for begin, _, _ in notes(tmp_path, "C z D z2 E|Z2|F")] == [0, 2, 5, 14]


@pytest.mark.parametrize(("fields", "length"), [("M:6/8\n", 0.5), ("M:2/4\n", 0.25), ("", 0.5), ("M:2/4\nL:1/2\n", 2)])
def test_length_of_a_note_without_a_number(tmp_path, fields, length):
    assert notes(tmp_path, "C", fields=fields) == [(0, length, C)]


def test_a_meter_inside_a_tune_changes_no_length_of_notes(tmp_path):
    found = notes(tmp_path, "C|[M:2/4]D|\nM:6/8\nE|[L:1/4]F", fields="M:4/4\n")
    assert [length for _, length, _ in found] == [0.5, 0.5, 0.5, 1]


@pytest.mark.parametrize(
    ("body", "key", "found"),
    [
        ("C, C c c' c,", "C", [48, 60, 72, 84, 60]),
        ("F C ^F _B =F", "D", [F + 1, C + 1, F + 1, B - 1, F]),
        ("^C C c | C", "C", [C + 1, C + 1, C + 13, C]),
        ("^^C __D", "C", [C + 2, D - 2]),
        ("F [K:G] F", "C", [F, F + 1]),
        ("B E", "Gm", [B - 1, E - 1]),
        ("^F-|F F", "C", [F + 1, F]),
        ("=F-|F-|F|f F", "D", [F, F + 13, F + 1]),
        ("^F-|f F", "C", [F + 1, F + 12, F]),
        ("^Fz-|F", "C", [F + 1, F]),
        ("^F-|=F", "C", [F + 1, F]),
        ("[^F_B]-|[FB]|[FB]", "C", [F + 1, B - 1, F, B]),
        ("[^F-_B]|[FB]", "C", [F + 1, B - 1, F + 1, B]),
    ],
)
def test_pitches(tmp_path, body, key, found):
    assert keys(tmp_path, body, key) == found


@pytest.mark.parametrize(
    ("key", "sharps"),
    [
        ("C", ""),
        ("G", "F"),
        ("F#", "FCGDAE"),
        ("Am", ""),
        ("Em", "F"),
        ("Ador", "F"),
        ("Dmix", "F"),
        ("E minor", "F"),
        ("G clef=bass octave=1", "F"),
        ("treble", ""),
        ("none", ""),
    ],
)
def test_signatures_with_sharps(key, sharps):
    assert signature(key) == dict.fromkeys(sharps, 1)


def test_signatures_with_flats_and_none_at_all():
    assert signature("Bb") == {"B": -1, "E": -1}
    assert signature("Ddor") == {} and signature("Cm") == {"B": -1, "E": -1, "A": -1}
    assert signature("H") is None and signature("Gfoo") is None and signature("G# lyd") is None


@pytest.mark.parametrize(
    ("key", "accidentals"),
    [
        ("D =c ^g", {"F": 1, "C": 0, "G": 1}),
        ("D phr ^f clef=bass", {"B": -1, "E": -1, "F": 1}),
        ("D exp _b ^^f", {"B": -1, "F": 2}),
        ("none ^c", {"C": 1}),
        ("HP", {}),
        ("Hp", {"F": 1, "C": 1}),
        ("D^f_b", None),
    ],
)
def test_signatures_with_accidentals_of_their_own(key, accidentals):
    assert signature(key) == accidentals


@pytest.mark.parametrize(
    ("body", "played"),
    [
        ("C|:D:|E", [C, D, D, E]),
        ("CD:|E", [C, D, C, D, E]),
        ("|:C::D:|", [C, C, D, D]),
        ("|:C|1D:|2E||F", [C, D, C, E, F]),
        ("|:C [1D:| [2E|] |:F:|", [C, D, C, E, F, F]),
        ("|:C|1,2D:|3E||F", [C, D, C, D, C, E, F]),
        ("|:C|1-2D:|[3E:|F", [C, D, C, D, C, E, F]),
        ("|:C|1,3D:|2E:|F", [C, D, C, E, C, D, F]),
        ("C||D:|", [C, D, C, D]),
        ("C||\nD:|", [C, D, C, D]),
        ("C\nD::E:|", [C, D, C, D, E, E]),
    ],
)
def test_repeats_and_endings(tmp_path, body, played):
    assert keys(tmp_path, body) == played


def test_keys_in_brackets_sound_together(tmp_path):
    assert notes(tmp_path, "[CE G]2 [ce]/") == [(0, 2, C), (0, 2, E), (0, 2, G), (2, 0.5, C + 12), (2, 0.5, E + 12)]


def test_a_chord_symbol_sounds_until_the_next(tmp_path):
    found = notes(tmp_path, '"G"CD"Am"E"Fine"z|')
    low = [note for note in found if note[2] < C]
    assert low == [(0, 2, 43), (0, 2, 47), (0, 2, 50), (2, 2, 45), (2, 2, 48), (2, 2, 52)]


@pytest.mark.parametrize("symbol", ["N.C.", "E7alt"])
def test_a_symbol_of_no_known_chord_ends_the_one_before(tmp_path, symbol):
    low = [note for note in notes(tmp_path, f'"G"CD"{symbol}"EF|') if note[2] < C]
    assert low == [(0, 2, 43), (0, 2, 47), (0, 2, 50)]


@pytest.mark.parametrize(
    ("key", "chord_shift", "shift"),
    [
        ("C octave=-1", 0, -12),
        ("C transpose=3", 3, 3),
        ("C clef=treble-8", 0, -12),
        ("C bass+8", 0, 12),
        ("C treble-8 octave=2 transpose=-2", -2, 10),
        ("C clef=bass", 0, 0),
    ],
)
def test_a_key_shifts_what_sounds(tmp_path, key, chord_shift, shift):
    assert notes(tmp_path, '"C"^F-|F', key) == sorted(
        [(0, 2, F + 1 + shift), *((0, 2, low + chord_shift) for low in (48, 52, 55))]
    )


def test_a_shift_holds_until_another(tmp_path):
    assert keys(tmp_path, "C [K:G] F [K:C octave=0] C", "C octave=1") == [C + 12, F + 13, C]


@pytest.mark.parametrize(
    ("symbol", "keys"),
    [
        ("C", [48, 52, 55]),
        ("F#m", [54, 57, 61]),
        ("Bb7", [46, 50, 53, 56]),
        ("D/F#", [42, 50, 54, 57]),
        ("Edim", [52, 55, 58]),
        ("A7sus4", [45, 50, 52, 55]),
        ("N.C.", []),
        ("C7#9#11", []),
        ("D.C.", None),
        ("Coda", None),
        ("^slowly", None),
    ],
)
def test_chords(symbol, keys):
    assert chord(symbol) == keys


def test_ornaments_words_and_comments_make_no_sound(tmp_path):
    body = '{AB}C .D ~E !trill!F (GA) % B\nw: la la la\n%%text x\n"^slow"B \\\n'
    assert keys(tmp_path, body) == [C, D, E, F, G, A, B]


@pytest.mark.parametrize(
    ("body", "key", "problem"),
    [
        ("C & D", "C", r"a\.abc:6: must be ABC; got '& D' in column 3"),
        ("C0", "C", r"a\.abc:6: a length must be more than 0"),
        ("-C", "C", r"a\.abc:6: '-' must stand behind a note"),
        ("C", "Hm", r"a\.abc:5: K must be a key such as"),
        ("[M:x]C", "C", r"a\.abc:6: M must be a fraction"),
        ("C|1-1000000000 D:|", "C", r"a\.abc:6: an ending must be of at most 99 passes; got '1-1000000000'"),
        ("V:2\nC", "C", r"a\.abc:6: a tune must have one voice"),
        ("[V:1]C\n[V:2]E", "C", r"a\.abc:6: a tune must have one voice"),
        ("z", "C", r"a\.abc:1: a tune must hold notes"),
    ],
)
def test_tunes_that_cannot_be_read_are_named_by_line(tmp_path, body, key, problem):
    with pytest.raises(DataError, match=problem):
        notes(tmp_path, body, key)


def test_one_bad_tune_costs_itself_alone(tmp_path):
    path, rejects = tmp_path / "a.abc", Rejects(skip=True)
    path.write_text("%abc\nX:1\nK:C\nC\n\nX:2\nK:C\n&\n\nX:3\nT:no key\n\nX:4\nK:G\nF\n", encoding="utf-8")
    found = list(read_tunes(path, Reading(rejects)))
    assert [(where, found[0].key) for where, found in found] == [(f"{path}:2", C), (f"{path}:13", F + 1)]
    assert [row["where"] for row in rejects.rows] == [f"{path}:6", f"{path}:10"]


def test_an_empty_line_ends_a_tune_and_text_below_it_is_none(tmp_path):
    path = tmp_path / "a.abc"
    path.write_text(
        "%abc\n\nX:1\nT:Tune\n\nM:4/4\nK:C\nC\n% a comment\nD\n \nA bad egg\n\nX:2\nK:C\nE\n", encoding="utf-8"
    )
    found = {where: [note.key for note in notes] for where, notes in read_tunes(path, Reading())}
    assert found == {f"{path}:3": [C, D], f"{path}:14": [E]}


def test_lengths_at_the_head_of_a_file_hold_for_tunes_that_have_none(tmp_path):
    path = tmp_path / "a.abc"
    head = "%abc-2.1\nM:2/4\nL:1/4\nO:Ireland\n\nL:1/2 is no field of this text\n\n"
    path.write_text(head + "X:1\nK:C\nCZ\n\nX:2\nM:4/4\nL:1/8\nK:C\nCZ2C\n\nX:3\nK:C\nC\n", encoding="utf-8")
    found = [[(note.begin, note.end) for note in notes] for _, notes in read_tunes(path, Reading())]
    assert found == [[(0, 1)], [(0, 0.5), (8.5, 9)], [(0, 1)]]


def test_a_length_at_the_head_of_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a.abc").write_text("L:x\n\nX:1\nK:C\nC\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.abc:1: L must be a fraction"):
        list(read_tunes(tmp_path / "a.abc", Reading()))


def test_tunes_are_those_of_midi_files_that_others_made_of_them(data_folder):
    """Where no order of parts is played, the melody of the MIDI file is in the tune, ties over bars aside."""
    folder, rejects = data_folder / "nottingham", Rejects(skip=True)
    path = folder / "ABC_cleaned" / "waltzes.abc"
    starts = [n for n, line in enumerate(path.read_text().splitlines(), 1) if line.startswith("X:")]
    tunes = dict(read_tunes(path, Reading(rejects)))
    assert len(tunes) == len(starts) == 52 and not rejects.rows
    shares = []
    for number, line in enumerate(starts, 1):
        file, mine = folder / "MIDI" / f"waltzes{number}.mid", tunes[f"{path}:{line}"]
        if file.exists():
            theirs = read_midi(file)
            shares.append(max(_in_common(theirs, mine, shift / 2) for shift in range(8)))
    assert len(shares) > 10
    assert sorted(shares)[len(shares) // 4] > 0.9


def _in_common(theirs, mine, shift) -> float:
    """Share of struck notes that are the same, with the rest before an upbeat taken off."""
    struck = {(round(n.begin, 3), n.key) for n in mine if n.key >= 55}
    heard = [(round(n.begin - shift, 3), n.key) for n in theirs if n.key >= 55]
    return sum(note in struck for note in heard) / len(heard)
