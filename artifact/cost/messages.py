"""What a compiled program sends between devices."""

import math
import re

COLLECTIVES = "all-gather|all-reduce|reduce-scatter|collective-permute|all-to-all"


def messages(program: str) -> list[tuple[int, bool]]:
    """For each collective of a program's text: the numbers it hands to a device, and whether a condition guards it.

    A collective inside a loop counts once. In the block form those that a condition guards belong to the fold.
    """
    found = []
    for line in program.splitlines():
        match = re.search(rf"= (\(.*?\)|\S+) (?:{COLLECTIVES})(?:-start)?\(", line)
        if match:
            shapes = re.findall(r"\w+\[([\d,]*)\]", match[1])
            numbers = sum(math.prod(int(size) for size in shape.split(",") if size) for shape in shapes)
            found.append((numbers, "/cond/" in line))
    return found
