"""What either assembler gives: the bytes of the two parts, where they stand, and the addresses of the labels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Assembled:
    text_address: int
    text: bytes
    data_address: int  # of a page
    data: bytes
    symbols: dict[str, int]
