"""Checks of the engine that need builds of their own: `make check-native`, or `python csrc/checks/run.py`, on Linux.

- address: the module with AddressSanitizer and UndefinedBehaviorSanitizer, under the tests of the engine and the
  stepper; there every allocation can be made to fail, which tests/engines/cpu/test_memory.py does. The tiles of AMX are
  emulated there, on processors with AVX-512-BF16: for those without tiles, and so that their reads and writes are seen.
- threads: the programme of this folder with ThreadSanitizer.
- aarch64: the same programme cross-compiled and emulated, where the compiler and the emulator are found.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "checks"
TESTS = ("tests/engines/cpu", "tests/runtime/test_stepper.py", "tests/runtime/test_sampler.py")
CROSS = {"cross compiler": "aarch64-linux-gnu-g++", "emulator": "qemu-aarch64"}


def do(command: Sequence[str | Path], **environment: str) -> None:
    """Run a command of the repository's root; end with its status where it fails."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, env=os.environ | environment, check=False)
    if done.returncode:
        raise SystemExit(f"check-native: failed: {' '.join(map(str, command))}")


def build(name: str, options: Mapping[str, str]) -> Path:
    """Build the engine with options of csrc/CMakeLists.txt in a folder of its own, and return the folder."""
    beside = Path(sys.executable).parent / "cmake"
    cmake = str(beside) if beside.exists() else shutil.which("cmake")
    if cmake is None:
        raise SystemExit("check-native: needs cmake and ninja; found none")
    defined = {"CMAKE_BUILD_TYPE": "Release", "Python_EXECUTABLE": sys.executable, **options}
    path = os.pathsep.join([str(beside.parent), os.environ["PATH"]])  # ninja lies there, too
    do([cmake, "-S", "csrc", "-B", BUILD / name, "-G", "Ninja", *(f"-D{k}={v}" for k, v in defined.items())], PATH=path)
    do([cmake, "--build", BUILD / name], PATH=path)
    return BUILD / name


def cases() -> Path:
    """Write the plans that the programme of this folder runs."""
    path = BUILD / "cases.txt"
    do([sys.executable, "csrc/checks/cases.py", path], PYTHONPATH=str(ROOT))
    return path


def library(name: str) -> str:
    """Return where the compiler has a library that must be loaded before Python is."""
    asked = ["g++", f"-print-file-name={name}"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def address() -> None:
    """Run the tests on a module with the sanitizers of addresses and undefined behaviour."""
    folder = build(
        "address",
        {
            "CMAKE_CXX_COMPILER": "g++",
            "ELMAN_SANITIZE": "address,undefined,float-cast-overflow",
            "ELMAN_EMULATE_TILES": "ON",
        },
    )
    (module,) = folder.glob("_engine*.so")
    do(
        # What the sanitizers say comes through a plain stream, which pytest must not catch.
        [sys.executable, "csrc/checks/with_engine.py", module, "-q", "--capture=sys", "--timeout=1800", *TESTS],
        LD_PRELOAD=f"{library('libasan.so')} {library('libstdc++.so.6')}",
        ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1",  # Python itself leaves memory behind at its end
        UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1",
        OMP_NUM_THREADS="1",
    )


def threads() -> None:
    """Run callers, teams and failures with the sanitizer of threads."""
    folder = build("thread", {"CMAKE_CXX_COMPILER": "g++", "ELMAN_SANITIZE": "thread", "ELMAN_CHECKS": "ON"})
    setarch = shutil.which("setarch")  # the sanitizer's map of memory may not bear the layout of newer kernels
    where = [setarch, platform.machine(), "-R"] if setarch else []
    do([*where, folder / "elman_check", "threads", cases()], TSAN_OPTIONS="halt_on_error=1")


def aarch64() -> None:
    """Run every target of the other processor, cross-compiled and emulated."""
    missing = [f"{what} ({name})" for what, name in CROSS.items() if shutil.which(name) is None]
    if missing:
        print(f"check-native: NEON was not checked: no {' and no '.join(missing)}")
        return
    cross = {"CMAKE_SYSTEM_NAME": "Linux", "CMAKE_SYSTEM_PROCESSOR": "aarch64", "ELMAN_CHECKS": "ON"}
    folder = build("aarch64", {"CMAKE_CXX_COMPILER": CROSS["cross compiler"], **cross})
    do([CROSS["emulator"], "-L", "/usr/aarch64-linux-gnu", folder / "elman_check", "targets", cases()])


def main() -> None:
    """Run all checks that this machine can run."""
    if sys.platform != "linux" or shutil.which("g++") is None:
        raise SystemExit("check-native: needs Linux and g++")
    address()
    threads()
    if platform.machine() == "aarch64":
        print("check-native: the tests ran on NEON; nothing is left to emulate")
    else:
        aarch64()


if __name__ == "__main__":
    main()
