#!/usr/bin/env python3
"""tools/sass_check.py on machine code written here: each thing that can get worse is told with its numbers."""

import importlib.util
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
SPEC = importlib.util.spec_from_file_location("sass_check", ROOT / "tools" / "sass_check.py")
sass_check = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(sass_check)

RESOURCES = """Fatbin elf code:
arch = sm_90a
Resource usage:
 Common:
  GLOBAL:0
 Function _Zone:
  REG:{registers} STACK:{stack} SHARED:1024 LOCAL:0 CONSTANT[0]:672 TEXTURE:0 SURFACE:0 SAMPLER:0
"""


def listing(*instructions):
    lines = [f"        /*{16 * i:04x}*/                   {words} ;      /* 0x00000a00ff017b82 */\n"
             "                                                          /* 0x000fe20000000800 */"
             for i, words in enumerate(instructions)]  # fmt: skip
    return "\t\tFunction : _Zone\n" + "\n".join(lines) + "\n"


# A loop of products (2 to 4) inside one that copies (1 to 5), and a branch forward.
NESTED = ["LDC R1, c[0x0][0x28]", "LDGSTS.E.128 [R3], [R4.64]", "HMMA.16816.F32.BF16 R4, R8, R2, R4", "MUFU.EX2 R7, R7",
          "@!P0 BRA 0x20", "@P1 BRA 0x10", "@P2 BRA 0x70", "EXIT"]  # fmt: skip


def code_of(instructions, registers=64, stack=0):
    code = sass_check.read_resources(RESOURCES.format(registers=registers, stack=stack))["_Zone"]
    listed = sass_check.read_instructions(listing(*instructions))["_Zone"]
    assert len(listed) == len(instructions), listed
    code.instructions = [sass_check.opcode(words) for _, words in listed]
    code.loops = sass_check.product_loops(listed)
    return code


def laws(kernel, code, architecture="sm_90a"):
    return list(sass_check.broken_laws(architecture, {kernel: code}))


def worse(before, now):
    return list(sass_check.worse("sm_90a", {"K": before}, {"K": now}))


def check_loops():
    assert code_of(NESTED).loops == {"HMMA:1": 3, "copies:1": 5}, code_of(NESTED).loops
    # One loop does both: it is named once. A branch back from code that lies apart encloses no loop of its own.
    assert code_of([NESTED[0], NESTED[1], NESTED[2], "BRA 0x10", "EXIT"]).loops == {"HMMA:1": 3}
    assert code_of(["NOP", "NOP", NESTED[2], "@P0 BRA 0x20", "EXIT", "BRA 0x10"]).loops == {"HMMA:1": 2}
    assert code_of(["NOP", "LDG.E R1, [R2]", "@P0 BRA 0x0", "EXIT"]).loops == {}


def check_laws():
    assert laws("AttentionKernel<Bf16, 128, true>", code_of(NESTED)) == []
    (line,) = laws("SwigluKernel<float, float>", code_of(["LDL R0, [R16]", "@P1 STL.64 [R1], R16"]))
    assert "SwigluKernel<float, float>: 2 loads and stores of local memory" in line, line
    assert len(laws("SwigluKernel<float, float>", code_of(["EXIT"], stack=8))) == 1
    assert laws("RopeKernel<float>", code_of(["LDL R0, [R16]"], stack=32)) == []
    assert len(laws("RopeKernel<float>", code_of(["LDL R0, [R16]"], stack=40))) == 1
    product = "HGMMA.64x256x16.F32.BF16 R24, gdesc[UR4], R24"
    group = ["WARPGROUP.ARRIVE", product, "WARPGROUP.DEPBAR.LE gsb0, 0x1", "WARPGROUP.DEPBAR.LE gsb0, 0x0"]
    assert laws("LinearHopperKernel<Bf16, 256, false>", code_of(group)) == []
    (line,) = laws("LinearHopperKernel<Bf16, 256, false>", code_of([*group, product, group[3]]))
    assert "waits 3 times for 1 groups" in line, line
    (line,) = laws("LinearHopperKernel<Bf16, 256, false>", code_of(["BPT.TRAP"]))
    assert line.endswith("has no HGMMA"), line
    assert laws("LinearHopperKernel<Bf16, 256, false>", code_of(["BPT.TRAP"]), "sm_80") == []
    assert len(laws("LinearKernel<DenseWeight<Bf16>, 16>", code_of(["FFMA R1, R2, R3, R1"]), "sm_80")) == 1


def check_worse():
    before = code_of(NESTED, registers=60)
    assert worse(before, before) == []
    assert worse(before, code_of(NESTED, registers=64)) == [], "of eight registers a thread gets all"
    assert worse(before, code_of(NESTED, registers=65)) == ["sm_90a K: registers: 60 before, 65 now"]
    assert worse(code_of(NESTED, registers=65), before) == []
    assert worse(before, code_of(NESTED, registers=60, stack=8)) == ["sm_90a K: bytes of stack: 0 before, 8 now"]
    longer = NESTED[:3] + ["MUFU.EX2 R7, R7", *NESTED[3:]]
    assert worse(before, code_of(longer, registers=60)) == [
        "sm_90a K: instructions of the loop HMMA:1: 3 before, 4 now",
        "sm_90a K: instructions of the loop copies:1: 5 before, 6 now",
    ]
    assert "loops HMMA:1=3 copies:1=5 before, - now" in worse(before, code_of(["EXIT"], registers=60))[0]
    assert list(sass_check.worse("sm_80", {}, {"K": before})) == ["sm_80 K: is not in the table"]
    assert list(sass_check.worse("sm_80", {"K": before}, {})) == ["sm_80 K: is in the table but not in the library"]


def check_table():
    table = {"sm_90a": {"K<1, 2>": code_of(NESTED), "L": code_of(["EXIT"], stack=8)}}
    text = sass_check.table_text("13.0.88", table)
    compiler, again = sass_check.read_table(text)
    assert compiler == "13.0.88" and sass_check.table_text(compiler, again) == text
    committed = sass_check.TABLE.read_text()
    compiler, again = sass_check.read_table(committed)
    assert list(again) == sass_check.TABLE_ARCHITECTURES and sass_check.table_text(compiler, again) == committed


def check_names():
    raw = "_ZN7coppice7kernels4cuda12kernel_entryINS1_15AttentionKernelINS1_4Bf16ELi256ELb0EEEEEvNT_6ParamsE"
    assert sass_check.short_names([raw]) == {raw: "AttentionKernel<Bf16, 256, false>"}
    assert sass_check.wanted_code(["80", "90a-real", "100-virtual"]) == {"elf": {"sm_80", "sm_90a"},
                                                                         "ptx": {"sm_80", "sm_100"}}  # fmt: skip


def check_skips():
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, ROOT / "tools" / "sass_check.py", folder + "/none.so", "--compiler", "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 77 and done.stdout.startswith("sass_check: skipped: no "), done


if __name__ == "__main__":
    check_loops()
    check_laws()
    check_worse()
    check_table()
    check_names()
    check_skips()
