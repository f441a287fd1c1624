#!/usr/bin/env python3
"""A change that only a GPU's half of a source sees reaches the object, whatever compiler cache stands before nvcc.

Usage: cuda_cache_test.py LAUNCHER... NVCC HOST_COMPILER, the launcher as CMAKE_CUDA_COMPILER_LAUNCHER has it.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

KERNEL = """
__global__ void number(int* out) {
#if __CUDA_ARCH__ >= 900
  *out = @;
#else
  *out = 0;
#endif
}
"""


def compile_kernel(folder, value):
    (folder / "number.cu").write_text(KERNEL.replace("@", str(value)))
    command = [*sys.argv[1:-1], "-ccbin", sys.argv[-1], "-gencode=arch=compute_80,code=sm_80"]
    command += ["-gencode=arch=compute_90a,code=sm_90a", "-MD", "-MT", "number.o", "-MF", "number.d"]
    environment = {**os.environ, "CCACHE_DIR": str(folder / "cache")}
    subprocess.run([*command, "-c", "number.cu", "-o", "number.o"], cwd=folder, check=True, env=environment)
    return (folder / "number.o").read_bytes()


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        before, after = compile_kernel(folder, 1111), compile_kernel(folder, 2222)
    assert before != after, "the cache gave the object of another source"


if __name__ == "__main__":
    main()
