#!/usr/bin/env python3
"""Every shared library that the program needs is in a package that the run-time stage of docker/Dockerfile.* installs,
or that one of those depends on.  Exit code 77 (skipped) on other systems than the images' own, Debian 12.

Usage: docker_packages_test.py PROGRAM...
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def owner(library):
    """The package of a file, which may be recorded under another name of the same place."""
    for path in (library, os.path.realpath(library), "/usr" + library):
        found = output("dpkg", "-S", path)
        if found:
            return found.split(":")[0]
    return None


def main():
    release = pathlib.Path("/etc/os-release")
    if not release.is_file() or 'VERSION_ID="12"' not in release.read_text() or not shutil.which("apt-cache"):
        return SKIPPED
    libraries = {line.split("=> ")[1].split(" (")[0] for line in output("ldd", *sys.argv[1:]).splitlines()
                 if "=> /" in line}  # fmt: skip
    owners = {library: owner(library) for library in libraries}
    if not libraries or not output("apt-cache", "show", "libfmt9"):
        print("no package lists here (apt-get update)")
        return SKIPPED
    problems = 0
    for image in sorted((ROOT / "docker").glob("Dockerfile.*")):
        listed = re.findall(r"no-install-recommends \\\n(.*?)\n\s+&& rm", image.read_text(), re.S)[-1]
        packages = listed.replace("\\", " ").split()
        options = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
        closure = {line for line in output("apt-cache", "depends", "--recurse", *options, *packages).splitlines()
                   if line and not line.startswith(" ")}  # fmt: skip
        for library, package in sorted(owners.items()):
            if package is not None and package not in closure:
                print(f"{image.name}: {library} is in {package}, which is not installed")
                problems += 1
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
