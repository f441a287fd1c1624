#!/usr/bin/env python3
"""Checks the machine code of the CUDA kernels against laws and against a committed table, kernels/cuda/sass.tsv.

  tools/sass_check.py LIBRARY --compiler VERSION [--architectures LIST]     checks
  tools/sass_check.py LIBRARY --compiler VERSION --write                    makes the table anew: `ninja sass_table`

The laws: the library holds code for exactly --architectures (as CMAKE_CUDA_ARCHITECTURES has them); no kernel uses
local memory, except those named here; a kernel that promises tensor-core instructions has them; products by wgmma are
not made to wait for each other. The table has a line for each architecture of the small set and kernel: registers,
bytes of static shared memory, bytes of stack, and the instructions of its loops that hold products. `HMMA:32=246` is
the innermost loop around 32 of them (attention: one step of sixteen keys), `copies:32=2159` the smallest loop that also
starts copies to shared memory, where that is another. What got worse fails. The numbers are compared only where the
table is of the same compiler; laws hold everywhere.

Exit code 1: a law or the table is broken; 77: nothing to check with, which is said. cuobjdump is looked for in PATH,
the CUDA Toolkit and build/venv (tests/e2e/requirements.txt has it).
"""

import argparse
import concurrent.futures
import dataclasses
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
TABLE = ROOT / "kernels" / "cuda" / "sass.tsv"
TABLE_ARCHITECTURES = ["sm_80", "sm_90a"]  # the small set of cmake/CoppiceCuda.cmake
SKIPPED = 77
# Bytes of stack that a kernel may have, and why.
LOCAL_MEMORY = {
    "RopeKernel": (32, "sinf and cosf reduce angles beyond 105,615 with a local array; others do not come by it"),
    "SampleKernel": (16, "1,024 threads leave 64 registers each; three values are kept from its begin to its end"),
}
# The tensor-core instruction of a kernel on an architecture; the first that fits the name counts.
PROMISED = [("LinearHopperKernel", "HGMMA", ["sm_90a"]), ("LinearKernel", "HMMA", TABLE_ARCHITECTURES),
            ("AttentionKernel", "HMMA", TABLE_ARCHITECTURES)]  # fmt: skip
REGISTER_UNIT = 8  # registers are handed out to threads by eight: within eight, more cost nothing
LOOP_NOISE = 0.02  # of a loop's instructions: what another order of the same source makes


@dataclasses.dataclass
class Code:
    """What is known of one kernel on one architecture."""

    registers: int
    shared: int
    stack: int
    instructions: list = dataclasses.field(default_factory=list)
    loops: dict = dataclasses.field(default_factory=dict)

    def numbers(self):
        loops = " ".join(f"{name}={count}" for name, count in sorted(self.loops.items())) or "-"
        return [str(self.registers), str(self.shared), str(self.stack), loops]


def find_cuobjdump():
    folders = [os.environ.get("CUDA_HOME", "/usr/local/cuda") + "/bin"]
    folders += map(str, ROOT.glob("build/venv/lib/python3*/site-packages/nvidia/*/bin"))
    return shutil.which("cuobjdump", path=os.pathsep.join([os.environ.get("PATH", ""), *folders]))


def output(*command):
    # It looks for nvdisasm in PATH, where it lies beside it.
    path = os.pathsep.join([str(pathlib.Path(command[0]).parent), os.environ.get("PATH", "")])
    return subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PATH": path}).stdout


def short_names(mangled):
    """Mangled names to what a reader calls the kernels: AttentionKernel<Bf16, 128, true>."""
    mangled = list(mangled)
    filtered = subprocess.run(["c++filt"], input="\n".join(mangled), capture_output=True, text=True, check=True).stdout
    names = {}
    for raw, name in zip(mangled, filtered.splitlines()):
        name = name.replace("coppice::kernels::cuda::", "")
        kernel = re.match(r"void kernel_entry<(.*?) ?>\(\1::Params\)$", name)
        names[raw] = kernel[1].replace(" >", ">") if kernel else name
    return names


def read_resources(text):
    """{mangled: Code} of `cuobjdump -res-usage`."""
    found = {}
    for name, facts in re.findall(r"^ Function (\S+):\n\s+(.*)$", text, re.M):
        numbers = {key: int(value) for key, value in re.findall(r"(\w+(?:\[\d\])?):(\d+)", facts)}
        found[name] = Code(numbers["REG"], numbers["SHARED"], numbers["STACK"])
    return found


def read_instructions(text):
    """{mangled: [(address, instruction)]} of `cuobjdump -sass`."""
    found = {}
    for block in text.split("Function : ")[1:]:
        name, body = block.split("\n", 1)
        found[name.strip()] = [(int(address, 16), words) for address, words in
                               re.findall(r"^\s+/\*([0-9a-f]{4,})\*/\s+(\S.*?)\s*;", body, re.M)]  # fmt: skip
    return found


def opcode(instruction):
    return re.sub(r"^@!?U?P\w+\s+", "", instruction).split(" ")[0]


def backward_loops(instructions):
    """(first, last) places of loops: a branch back and where it goes. The smallest first."""
    place = {address: i for i, (address, _) in enumerate(instructions)}
    loops = []
    for last, (_, words) in enumerate(instructions):
        if opcode(words).startswith("BRA"):
            target = re.search(r"0x([0-9a-f]+)", words)
            first = place.get(int(target[1], 16)) if target else None
            if first is not None and first < last:
                loops.append((first, last))
    return sorted(loops, key=lambda loop: loop[1] - loop[0])


def product_loops(instructions):
    """{"HMMA:32": instructions, "copies:32": instructions}: the loops around products, named by the products inside."""
    opcodes = [opcode(words).split(".")[0] for _, words in instructions]
    found = {}
    for loop in backward_loops(instructions):
        inside = opcodes[loop[0] : loop[1] + 1]
        for kind in ("HMMA", "HGMMA"):
            products = {loop[0] + i for i, code in enumerate(inside) if code == kind}
            if not products:
                continue
            names = [f"{kind}:{len(products)}"]
            if kind == "HMMA" and "LDGSTS" in inside:  # by wgmma others copy than multiply
                names.append(f"copies:{len(products)}")
            for name in names:
                family = name.split(":")[0]
                # A loop counts where one of its products is in no smaller loop of the family.
                if products - found.get(family, (set(), {}))[0]:
                    seen, counts = found.setdefault(family, (set(), {}))
                    seen |= products
                    counts[name] = max(counts.get(name, 0), len(inside))
    counts = {name: count for _, of_family in found.values() for name, count in of_family.items()}
    return {name: count for name, count in counts.items() if counts.get(name.replace("copies", "HMMA")) != count
            or not name.startswith("copies")}  # fmt: skip


def read_library(cuobjdump, library, architecture):
    """{kernel: Code} of one architecture."""
    codes = read_resources(output(cuobjdump, "-res-usage", "-arch", architecture, library))
    for name, instructions in read_instructions(output(cuobjdump, "-sass", "-arch", architecture, library)).items():
        codes[name].instructions = [opcode(words) for _, words in instructions]
        codes[name].loops = product_loops(instructions)
    names = short_names(codes)
    return {names[raw]: code for raw, code in codes.items()}


def broken_laws(architecture, codes):
    for kernel, code in codes.items():
        where = f"{architecture} {kernel}"
        family = kernel.split("<")[0]
        allowed = LOCAL_MEMORY.get(family, (0, ""))[0]
        local = sum(bool(re.match(r"(LDL|STL)\b", each)) for each in code.instructions)
        if code.stack > allowed or (local and not allowed):
            yield f"{where}: {local} loads and stores of local memory, {code.stack} bytes; allowed are {allowed} bytes"
        for name, kind, where_promised in PROMISED:
            if family == name and architecture in where_promised:
                if not any(each.split(".")[0] == kind for each in code.instructions):
                    yield f"{where}: has no {kind}"
        groups = sum(each.startswith("WARPGROUP.ARRIVE") for each in code.instructions)
        waits = sum(each.startswith("WARPGROUP.DEPBAR") for each in code.instructions)
        if waits > 2 * groups:
            yield f"{where}: waits {waits} times for {groups} groups of products: the compiler lets them run one by one"


def worse_loops(before, now):
    if before.keys() != now.keys():
        yield f"loops {Code(0, 0, 0, loops=before).numbers()[3]} before, {Code(0, 0, 0, loops=now).numbers()[3]} now"
        return
    for name, count in before.items():
        if now[name] > count * (1 + LOOP_NOISE):
            yield f"instructions of the loop {name}: {count} before, {now[name]} now"


def worse(architecture, before, now):
    """Lines that say what is worse than the table."""
    for kernel in sorted(before.keys() | now.keys()):
        where = f"{architecture} {kernel}"
        if kernel not in before or kernel not in now:
            yield f"{where}: is {'not in the table' if kernel in now else 'in the table but not in the library'}"
            continue
        old, new = before[kernel], now[kernel]
        if math.ceil(new.registers / REGISTER_UNIT) > math.ceil(old.registers / REGISTER_UNIT):
            yield f"{where}: registers: {old.registers} before, {new.registers} now"
        for name in ("shared", "stack"):
            if getattr(new, name) > getattr(old, name):
                yield f"{where}: bytes of {name}: {getattr(old, name)} before, {getattr(new, name)} now"
        yield from (f"{where}: {line}" for line in worse_loops(old.loops, new.loops))


def read_table(text):
    """The compiler's version and {architecture: {kernel: Code}}."""
    lines = text.splitlines()
    table = {}
    for line in lines[2:]:
        architecture, registers, shared, stack, loops, kernel = line.split("\t")
        counts = {} if loops == "-" else {k: int(v) for k, v in (each.split("=") for each in loops.split(" "))}
        table.setdefault(architecture, {})[kernel] = Code(int(registers), int(shared), int(stack), loops=counts)
    return lines[0].split(" ")[-1], table


def table_text(compiler, table):
    lines = [f"# Made by tools/sass_check.py --write (ninja sass_table) of nvcc {compiler}",
             "# architecture\tregisters\tshared\tstack\tloops\tkernel"]  # fmt: skip
    for architecture, codes in table.items():
        lines += ["\t".join([architecture, *code.numbers(), kernel]) for kernel, code in sorted(codes.items())]
    return "\n".join(lines) + "\n"


def wanted_code(architectures):
    """{"elf": {"sm_80", …}, "ptx": {…}} of a list as CMAKE_CUDA_ARCHITECTURES has it."""
    wanted = {"elf": set(), "ptx": set()}
    for each in architectures:
        number, _, only = each.partition("-")
        for kind, absent in (("elf", "virtual"), ("ptx", "real")):
            if only != absent:
                wanted[kind].add("sm_" + number)
    return wanted


def held_code(cuobjdump, library):
    listed = {kind: output(cuobjdump, f"--list-{kind}", library) for kind in ("elf", "ptx")}
    return {kind: set(re.findall(r"\.(sm_\w+)\.(?:cubin|ptx)", text)) for kind, text in listed.items()}


def compare(compiler, found):
    """Prints what the table says of the library, and returns the number of problems."""
    table_compiler, table = read_table(TABLE.read_text())
    if table_compiler != compiler:
        print(f"sass_check: the table is of nvcc {table_compiler}, this library of {compiler}: only laws are checked")
        return 0
    lines = [line for architecture, codes in found.items() for line in worse(architecture, table[architecture], codes)]
    for line in lines:
        print(f"sass_check: {line}")
    if lines:
        print("sass_check: to accept: ninja -C BUILD_FOLDER sass_table; commit kernels/cuda/sass.tsv with the reason")
    elif table_text(compiler, found) != table_text(compiler, {each: table[each] for each in found}):
        print("sass_check: better than the table, or other within the noise: ninja -C BUILD_FOLDER sass_table keeps it")
    return len(lines)


def check(cuobjdump, options):
    held = held_code(cuobjdump, options.library)
    problems = []
    if options.architectures:
        wanted = wanted_code(re.split("[;,]", options.architectures))
        problems += [f"{kind} is of {' '.join(sorted(held[kind]))}; configured: {' '.join(sorted(wanted[kind]))}"
                     for kind in wanted if wanted[kind] != held[kind]]  # fmt: skip
    architectures = [each for each in TABLE_ARCHITECTURES if each in held["elf"]]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        codes = pool.map(lambda each: read_library(cuobjdump, options.library, each), architectures)
        found = dict(zip(architectures, codes))
    for architecture, each in found.items():
        problems += broken_laws(architecture, each)
    for line in problems:
        print(f"sass_check: {line}")
    if options.write and not problems:
        TABLE.write_text(table_text(options.compiler, found))
        return 0
    return 1 if problems or compare(options.compiler, found) else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("--compiler", required=True, help="version of the nvcc that made it")
    parser.add_argument("--architectures", help="what the library must hold")
    parser.add_argument("--write", action="store_true", help="make the table anew")
    options = parser.parse_args()
    cuobjdump = find_cuobjdump()
    if cuobjdump is None or not pathlib.Path(options.library).is_file():
        missing = f"no {options.library}" if cuobjdump else "no cuobjdump: pip install -r tests/e2e/requirements.txt"
        print(f"sass_check: skipped: {missing}")
        return SKIPPED
    return check(cuobjdump, options)


if __name__ == "__main__":
    sys.exit(main())
