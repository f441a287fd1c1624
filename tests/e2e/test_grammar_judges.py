"""Compiled JSON schemas against two judges that we did not write, on schemas made at random."""

import subprocess
import sys

import pytest

from running_server import ROOT


def test_500_schemas_by_llguidance_and_jsonschema(binary):
    """Nothing is wrongly accepted; of what is valid at most 1 % is refused. The tool lists each."""
    probe = binary.parent / "tests" / "unit" / "text" / "grammar" / "grammar_probe"
    if not probe.is_file():
        pytest.skip("the tests' programs are not built beside this one")
    tool = [sys.executable, ROOT / "tools" / "check_grammars.py", probe, "--schemas", "500"]
    checked = subprocess.run(tool, capture_output=True, text=True, timeout=300, check=False)
    assert checked.returncode == 0, checked.stdout[-4000:] + checked.stderr[-2000:]
    assert int(checked.stdout.split("lenient valid: ")[1].split()[0]) > 4000
    assert int(checked.stdout.split("strict schemas compiled: ")[1].split()[0]) > 300
