"""Tiny releases in RRF, of invented concepts."""

from __future__ import annotations

import gzip
from pathlib import Path

from xnorm.rrf import COLUMNS

PETS = {
    "MRCONSO": [
        # the preferred English name is not the first row; the German one comes before it, as languages are sorted
        {
            "CUI": "C0000001",
            "LAT": "ENG",
            "TS": "S",
            "STT": "PF",
            "ISPREF": "Y",
            "SAB": "ZOO",
            "TTY": "SY",
            "CODE": "Z1",
            "STR": "Felis catus",
        },
        {
            "CUI": "C0000001",
            "LAT": "ENG",
            "TS": "P",
            "STT": "PF",
            "ISPREF": "Y",
            "SAB": "PET",
            "TTY": "PT",
            "CODE": "17",
            "STR": "Cat",
        },
        {
            "CUI": "C0000001",
            "LAT": "ENG",
            "TS": "P",
            "STT": "PF",
            "ISPREF": "N",
            "SAB": "ZOO",
            "TTY": "PT",
            "CODE": "Z1",
            "STR": "Cat",
        },
        {
            "CUI": "C0000001",
            "LAT": "ENG",
            "TS": "S",
            "STT": "PF",
            "ISPREF": "Y",
            "SAB": "PET",
            "TTY": "ET",
            "CODE": "17",
            "STR": "Kitty",
        },
        {
            "CUI": "C0000001",
            "LAT": "ENG",
            "TS": "S",
            "STT": "VO",
            "ISPREF": "Y",
            "SAB": "PET",
            "TTY": "IS",
            "CODE": "17",
            "STR": "Mouser",
            "SUPPRESS": "O",
        },
        {
            "CUI": "C0000001",
            "LAT": "GER",
            "TS": "P",
            "STT": "PF",
            "ISPREF": "Y",
            "SAB": "PETGER",
            "TTY": "PT",
            "CODE": "17",
            "STR": "Katze",
        },
        {
            "CUI": "C0000002",
            "LAT": "ENG",
            "TS": "P",
            "STT": "PF",
            "ISPREF": "Y",
            "SAB": "PET",
            "TTY": "PT",
            "CODE": "18",
            "STR": "Dog  (canine)",
        },
        {
            "CUI": "C0000002",
            "LAT": "GER",
            "TS": "S",
            "STT": "VW",
            "ISPREF": "N",
            "SAB": "PETGER",
            "TTY": "SY",
            "CODE": "18",
            "STR": "Köter",
        },
        {
            "CUI": "C0000002",
            "LAT": "GER",
            "TS": "P",
            "STT": "PF",
            "ISPREF": "Y",
            "SAB": "PETGER",
            "TTY": "PT",
            "CODE": "18",
            "STR": "Hund",
        },
        {
            "CUI": "C0000003",
            "LAT": "ENG",
            "TS": "P",
            "STT": "PF",
            "ISPREF": "Y",
            "SAB": "ZOO",
            "TTY": "PT",
            "CODE": "Z0",
            "STR": "Animal",
        },
        {
            "CUI": "C0000004",
            "LAT": "ENG",
            "TS": "P",
            "STT": "PF",
            "ISPREF": "Y",
            "SAB": "PET",
            "TTY": "PT",
            "CODE": "17",
            "STR": "Cat, domestic",
        },
        {
            "CUI": "C0000005",
            "LAT": "JPN",
            "TS": "P",
            "STT": "PF",
            "ISPREF": "Y",
            "SAB": "PETJPN",
            "TTY": "PT",
            "CODE": "19",
            "STR": "熱",
        },
    ],
    "MRSTY": [
        {"CUI": "C0000001", "TUI": "T015", "STN": "A1.1.3.1.1.4", "STY": "Mammal"},
        {"CUI": "C0000001", "TUI": "T008", "STN": "A1.1.3.1", "STY": "Animal"},
        {"CUI": "C0000002", "TUI": "T015", "STN": "A1.1.3.1.1.4", "STY": "Mammal"},
        {"CUI": "C0000003", "TUI": "T008", "STN": "A1.1.3.1", "STY": "Animal"},
        {"CUI": "C0000004", "TUI": "T015", "STN": "A1.1.3.1.1.4", "STY": "Mammal"},
        {"CUI": "C0000005", "TUI": "T184", "STN": "A2.2.2", "STY": "Sign or Symptom"},
        {"CUI": "C0000099", "TUI": "T184", "STN": "A2.2.2", "STY": "Sign or Symptom"},
    ],
    "MRDEF": [
        {"CUI": "C0000001", "SAB": "ZOO", "DEF": "A small\tcarnivore.", "SUPPRESS": "N"},
        {"CUI": "C0000001", "SAB": "PET", "DEF": "It purrs.", "SUPPRESS": "N"},
        {"CUI": "C0000002", "SAB": "PET", "DEF": "It barked.", "SUPPRESS": "O"},
        {"CUI": "C0000099", "SAB": "PET", "DEF": "Nobody.", "SUPPRESS": "N"},
    ],
    "MRSAB": [
        {"VSAB": "PET2099", "RSAB": "PET", "SF": "PET"},
        {"VSAB": "PETGER2099", "RSAB": "PETGER", "SF": "PET"},
        {"VSAB": "PETJPN2099", "RSAB": "PETJPN", "SF": "PET"},
        {"VSAB": "ZOO2099", "RSAB": "ZOO", "SF": "ZOO"},
    ],
    "MRRANK": [
        {"RANK": "0004", "SAB": "PET", "TTY": "PT", "SUPPRESS": "N"},
        {"RANK": "0003", "SAB": "ZOO", "TTY": "SY", "SUPPRESS": "N"},
        {"RANK": "0002", "SAB": "ZOO", "TTY": "PT", "SUPPRESS": "N"},
        {"RANK": "0001", "SAB": "PET", "TTY": "ET", "SUPPRESS": "N"},
    ],
    "MRREL": [
        {"CUI1": "C0000001", "REL": "PAR", "CUI2": "C0000003", "SAB": "ZOO", "SUPPRESS": "N"},
        {"CUI1": "C0000003", "REL": "CHD", "CUI2": "C0000001", "SAB": "ZOO", "SUPPRESS": "N"},
        {"CUI1": "C0000002", "REL": "PAR", "CUI2": "C0000003", "SAB": "PET", "SUPPRESS": "N"},
        {"CUI1": "C0000002", "REL": "PAR", "CUI2": "C0000002", "SAB": "ZOO", "SUPPRESS": "N"},
        {"CUI1": "C0000002", "REL": "PAR", "CUI2": "C0000001", "SAB": "ZOO", "SUPPRESS": "O"},
        {"CUI1": "C0000001", "REL": "PAR", "CUI2": "C0000099", "SAB": "ZOO", "SUPPRESS": "N"},
    ],
    "MRCUI": [
        {"CUI1": "C0000010", "VER": "2098AA", "REL": "SY", "CUI2": "C0000001", "MAPIN": "Y"},
        {"CUI1": "C0000011", "VER": "2098AA", "REL": "DEL"},
        {"CUI1": "C0000012", "VER": "2098AA", "REL": "RB", "CUI2": "C0000003", "MAPIN": "Y"},
        {"CUI1": "C0000012", "VER": "2098AA", "REL": "RO", "CUI2": "C0000002", "MAPIN": "Y"},
        {"CUI1": "C0000013", "VER": "2097AA", "REL": "RN", "CUI2": "C0000002", "MAPIN": "Y"},
        {"CUI1": "C0000013", "VER": "2098AA", "REL": "SY", "CUI2": "C0000010", "MAPIN": "Y"},
        {"CUI1": "C0000002", "VER": "2098AA", "REL": "SY", "CUI2": "C0000001", "MAPIN": "Y"},
    ],
}


def rrf(name: str, rows: list[dict[str, str]]) -> str:
    """Return the text of a file; SUPPRESS is N where a row has none."""
    lines = []
    for row in rows:
        cells = {"SUPPRESS": "N"} | row
        lines.append("".join(cells.get(column, "") + "|" for column in COLUMNS[name]))
    return "".join(line + "\n" for line in lines)


def write_release(folder: Path, release: dict[str, list[dict[str, str]]], *, packed: bool = False) -> Path:
    """Write a release into a folder, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in release.items():
        text = rrf(name, rows).encode()
        if packed:
            (folder / f"{name}.RRF.gz").write_bytes(gzip.compress(text))
        else:
            (folder / f"{name}.RRF").write_bytes(text)
    return folder
