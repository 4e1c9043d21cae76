"""The structs and numbers of the C contract, read from its header: nothing of them is repeated here.

Names are those of the header without INFONCE_ and infonce_. Pointers in structs are integers, or None for NULL.
"""

import ctypes
import pathlib
import re
from ctypes import CFUNCTYPE, c_char, c_char_p, c_double, c_float, c_int32, c_int64, c_uint8, c_uint32, c_void_p

INCLUDE = pathlib.Path(__file__).resolve().parents[2] / "native" / "include"
SIMPLE = {"void": None, "char": c_char, "float": c_float, "double": c_double, "int32_t": c_int32, "int64_t": c_int64,
          "uint8_t": c_uint8, "uint32_t": c_uint32, "infonce_status": c_int32}


class Struct(ctypes.Structure):
    """Fills its own size in, by which the library refuses a struct of another version."""

    def __init__(self, **fields):
        if self._fields_[0][0] == "struct_size":
            fields["struct_size"] = ctypes.sizeof(self)
        super().__init__(**fields)


def read():
    try:
        text = (INCLUDE / "infonce" / "infonce.h").read_text()
    except OSError as error:
        raise SystemExit(f"error: bench/gpu needs the header of the C contract beside bench: {error}") from error
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL).replace("unsigned char", "uint8_t").replace("const struct ", "const ")


def numbers(text):
    """Enumerators and macros by name."""
    return {name: int(value) for name, value in re.findall(r"INFONCE_(\w+)(?: =)? \(?(-?\d+)\b", text)}


def type_of(declaration):
    """Of a parameter, a result, or a member that is no array."""
    base = re.search(r"\w+", declaration.replace("const ", ""))[0]
    if "*" in declaration or "[" in declaration:
        return c_char_p if base == "char" else c_void_p
    return SIMPLE[base] if base in SIMPLE else STRUCTS[base.removeprefix("infonce_")]


def members(body):
    """(name, type) of each member."""
    for declaration in " ".join(body.split()).split(";"):
        if function := re.search(r"(.+)\(\*(\w+)\)\((.+)\)", declaration):
            result, name, parameters = function.groups()
            yield name, CFUNCTYPE(type_of(result), *map(type_of, parameters.split(",")))
        elif declaration:
            base, names = re.search(r"((?:const )?\w+) (.+)", declaration).groups()
            for pointer, name, count in re.findall(r"(\*?)(\w+)(?:\[(\w+)\])?", names):
                one = type_of(base + pointer)
                yield name, one * (NUMBERS.get(count.removeprefix("INFONCE_")) or int(count)) if count else one


TEXT = read()
ENTRY = re.search(r'define INFONCE_BACKEND_SYMBOL "(\w+)"', TEXT)[1]
NUMBERS = numbers(TEXT)
STATUSES = re.search(r"enum infonce_status {(.*?)}", TEXT, re.DOTALL)[1]
STATUS = {value: f"INFONCE_{name}" for name, value in numbers(STATUSES).items()}
STRUCTS = {}
for struct, body in re.findall(r"typedef struct infonce_(\w+) {(.*?)}", TEXT, re.DOTALL):
    STRUCTS[struct] = type(struct, (Struct,), {"_fields_": list(members(body))})
