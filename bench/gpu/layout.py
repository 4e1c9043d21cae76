#!/usr/bin/env python3
"""Asks the C compiler whether it lays out the structs of the contract as header.py does."""

import ctypes
import subprocess
import sys

sys.dont_write_bytecode = True

from header import INCLUDE, STRUCTS


def same(what, expected):
    return f'_Static_assert({what} == {expected}, "{what}");\n'


def program():
    yield "#include <infonce/infonce.h>\n"
    for name, struct in STRUCTS.items():
        yield same(f"sizeof(infonce_{name})", ctypes.sizeof(struct))
        for member, _ in struct._fields_:
            field = getattr(struct, member)
            yield same(f"offsetof(infonce_{name}, {member})", field.offset)
            yield same(f"sizeof(((infonce_{name} *)0)->{member})", field.size)


words = ["cc", "-std=c11", "-fsyntax-only", "-I", str(INCLUDE), "-x", "c", "-"]
subprocess.run(words, input="".join(program()), text=True, check=True)
print(len(STRUCTS), "structs")
