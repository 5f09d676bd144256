"""What wheels a machine can run, in uv's words. Pure; laptop only."""

from __future__ import annotations

from deploy.errors import BuildError
from deploy.facts import Facts

# The glibc versions for which uv has a platform: https://docs.astral.sh/uv/reference/cli/
GLIBC = tuple((2, minor) for minor in (17, 28, *range(31, 41)))
ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
MUSL = (1, 2)


def wheel_platform(facts: Facts) -> str:
    """The nearest value of uv's `--python-platform` whose wheels all run there.
    Raises BuildError for machines for which there are no binary wheels."""
    arch = ARCHITECTURES.get(facts.arch.lower())
    if facts.arch == "riscv64" and facts.libc == "glibc":
        return "riscv64-unknown-linux"
    if arch is None:
        raise BuildError(
            f"{facts.machine}: no wheels can be chosen for a machine of type {facts.arch}",
            hint="a 64-bit system (aarch64 or x86_64) is needed; many boards can run one",
        )
    if facts.libc == "musl":
        if facts.libc_version < MUSL:
            raise BuildError(f"{facts.machine}: wheels need musl 1.2, it has {_dotted(facts)}")
        return f"{arch}-unknown-linux-musl"
    if facts.libc != "glibc":
        raise BuildError(f"{facts.machine}: no wheels can be chosen for its C library {facts.libc}")
    fitting = [version for version in GLIBC if version <= facts.libc_version]
    if not fitting:
        raise BuildError(f"{facts.machine}: wheels need glibc 2.17, it has {_dotted(facts)}")
    major, minor = fitting[-1]
    return f"{arch}-manylinux_{major}_{minor}"


def _dotted(facts: Facts) -> str:
    return ".".join(map(str, facts.libc_version))
