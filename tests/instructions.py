"""Random instructions of all ISAs, for random programs: the templates filled in by chance and assembled in bulk."""

from __future__ import annotations

import functools
import random
import re
from dataclasses import dataclass

from tests.instruction_templates import CONDITIONS_ARM, FAMILIES, Family
from tests.programs import encode


@dataclass(frozen=True)
class Instruction:
    text: str
    code: bytes


# What keystone does not take, in bytes.
_STRING_OPCODES = {"movs": 0xA4, "cmps": 0xA6, "stos": 0xAA, "lods": 0xAC, "scas": 0xAE}
_SPELLED = {
    f"{prefix}{name}{size}": ".byte " + ", ".join(map(str, [*repeat, *before, opcode + (size != "b")]))
    for name, opcode in _STRING_OPCODES.items()
    for size, before in {"b": [], "w": [0x66], "d": [], "q": [0x48]}.items()
    for prefix, repeat in {"": [], "rep ": [0xF3], "repe ": [0xF3], "repne ": [0xF2]}.items()
}
_FIELD = re.compile(r"\{(\w+)\}")


def _filled(family: Family, template: str, chance: random.Random) -> str:
    def draw(match: re.Match[str]) -> str:
        choices = family.classes[match[1]]
        return choices(chance) if callable(choices) else chance.choice(choices)

    if template == "it":
        return _it_block(family, chance)
    text = _FIELD.sub(draw, template.replace("{{", "<<").replace("}}", ">>"))
    return text.replace("<<", "{").replace(">>", "}")


def _it_block(family: Family, chance: random.Random) -> str:
    """A Thumb IT block of one to four instructions, then and else mixed."""
    condition = chance.choice(CONDITIONS_ARM)
    opposite = CONDITIONS_ARM[CONDITIONS_ARM.index(condition) ^ 1]
    forms = family.classes["it"]
    assert not callable(forms)
    then = [True] + [chance.random() < 0.6 for _ in range(chance.randint(0, 3))]
    header = "it" + "".join("t" if one else "e" for one in then[1:]) + " " + condition
    body = [chance.choice(forms).format(condition if one else opposite) for one in then]
    return "; ".join([header, *body])


@functools.cache
def instructions(machine: str, seed: int = 0, each: int = 12) -> tuple[Instruction, ...]:
    """Every template `each` times, filled in at random."""
    chance = random.Random(f"{machine} {seed}")
    family = FAMILIES[machine]
    texts = [_filled(family, template, chance) for template in family.templates for _ in range(each)]
    source = "\n".join(
        f"at{index}:\n" + "\n".join(_SPELLED.get(line, line) for line in text.split("; "))
        for index, text in enumerate(texts)
    )
    encoded, labels = encode(machine, source + "\nat_end:")
    borders = [*(labels[f"at{index}"] for index in range(len(texts))), labels["at_end"]]
    return tuple(
        Instruction(text, encoded[start:end]) for text, start, end in zip(texts, borders, borders[1:], strict=False)
    )
