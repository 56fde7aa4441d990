"""The linker: objects of a C compiler become an image that runs where it is put."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
from pathlib import Path

import pytest

from bireme.codegen.link import PAGE, Image, link
from bireme.ir import BiremeError

PIC = ["-O1", "-fPIC", "-fno-stack-protector", "-fno-asynchronous-unwind-tables"]


def compile_c(folder: Path, source: str, flags: list[str] = PIC) -> bytes:
    path = folder / "k.c"
    path.write_text(source)
    subprocess.run(["gcc", "-c", *flags, "-o", folder / "k.o", path], check=True)
    return (folder / "k.o").read_bytes()


def call(image: Image, number: int, argument: float) -> float:
    """Maps the image, fills its table from the process's own C library, calls an entry."""
    memory = mmap.mmap(-1, len(image.code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory[:] = image.code
    library = ctypes.CDLL("libm.so.6")
    for slot, name in enumerate(image.imports):
        address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
        assert address is not None
        start = image.import_offset + 8 * slot
        memory[start : start + 8] = address.to_bytes(8, "little")
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    function = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(base + image.entries[number])
    return function(argument)


def test_constants_and_own_functions(tmp_path):
    source = """
    static const double table[4] = {1, 10, 100, 1000};
    __attribute__((noinline)) static double scale(double x, int i) { return x * table[i]; }
    double kernel(double x) { return scale(x, (int)x) + 0.5; }
    """
    image = link([compile_c(tmp_path, source)])
    assert image.imports == ()
    assert len(image.code) % PAGE == 0
    assert call(image, 0, 2.0) == 200.5


def test_imports_are_shared(tmp_path):
    one = compile_c(tmp_path, "double exp(double); double kernel(double x) { return exp(x) + 1; }")
    two = compile_c(
        tmp_path,
        "double exp(double); double log(double); double kernel(double x) { return exp(x)-log(x); }",
    )
    image = link([one, two])
    assert sorted(image.imports) == ["exp", "log"]
    assert image.import_offset % PAGE == 0
    assert call(image, 0, 0.0) == 2.0
    assert call(image, 1, 1.0) == pytest.approx(2.718281828)


def test_function_pointers_through_the_table(tmp_path):
    source = """
    double exp(double);
    double kernel(double x) { double (*volatile f)(double) = exp; return f(x); }
    """
    assert call(link([compile_c(tmp_path, source)]), 0, 0.0) == 1.0


def test_missing_entry(tmp_path):
    with pytest.raises(BiremeError, match=r"BM3005.*does not define 'kernel'"):
        link([compile_c(tmp_path, "double other(double x) { return x; }")])


def test_absolute_addresses_are_refused(tmp_path):
    source = """
    static double a(double x) { return x; } static double b(double x) { return -x; }
    static double (*const table[2])(double) = {a, b};
    double kernel(double x) { return table[(int)x](x); }
    """
    with pytest.raises(BiremeError, match="BM3005"):
        link([compile_c(tmp_path, source)])


def test_writable_data_is_refused(tmp_path):
    source = "static double a; double kernel(double x) { double y = a; a = x; return y; }"
    with pytest.raises(BiremeError, match=r"BM3005.*writable"):
        link([compile_c(tmp_path, source)])


def test_no_kernels():
    image = link([])
    assert image == Image(b"", 0, (), ())
