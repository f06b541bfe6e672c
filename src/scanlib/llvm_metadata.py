"""What a kernel's text tells LLVM besides instructions: which memory is apart, and what to do with loops."""

from __future__ import annotations

# The first line of a module with loops that LLVM is to turn into vectors; others need less of its passes.
VECTORISE = "; loops for the vectoriser"
# An attribute of kernels that all of LLVM's passes for functions pay for.
THOROUGH = b"scanlib-thorough"
ONE, UNROLL_NOT, VECTORS_NOT = "!2", "!3", "!4"
# Of every module, numbered from 0; the emitter refers to the first two by their numbers.
COMMON = (
    "!0 = !{}",
    '!1 = !{!"branch_weights", i32 2000, i32 1}',
    f"{ONE} = !{{i32 1}}",
    f'{UNROLL_NOT} = !{{!"llvm.loop.unroll.runtime.disable"}}',
    f'{VECTORS_NOT} = !{{!"llvm.loop.vectorize.enable", i1 false}}',
)


class Metadata:
    """The metadata of one kernel.  Invariant: numbers from `free` on are not taken yet."""

    def __init__(self, kernel: str, first: int):
        self.kernel, self.domain, self.free = kernel, first, first + 1
        self.scopes: dict[object, int] = {}
        self.loops: list[str] = []
        self.vectorise = False

    def alias(self, key: object) -> str:
        """Buffers never overlap, nor do they overlap the dims table; say so on every access."""
        if key not in self.scopes:
            self.scopes[key], self.free = self.free, self.free + 3
        base = self.scopes[key]
        return f", !alias.scope !{base + 1}, !noalias !{base + 2}"

    def loop(self, vectorise: bool) -> str:
        """Of a loop: copies of its body for several rounds at once take long to compile, and pay hardly ever."""
        self.vectorise = self.vectorise or vectorise
        number, self.free = self.free, self.free + 1
        hints = [f"!{number}", UNROLL_NOT] + ([] if vectorise else [VECTORS_NOT])
        self.loops.append(f"!{number} = distinct !{{{', '.join(hints)}}}")
        return f", !llvm.loop !{number}"

    def lines(self) -> list[str]:
        lines = [f'!{self.domain} = distinct !{{!{self.domain}, !"{self.kernel}"}}']
        for key, base in self.scopes.items():
            others = ", ".join(f"!{b}" for k, b in self.scopes.items() if k != key)
            lines.append(f"!{base} = distinct !{{!{base}, !{self.domain}}}")
            lines.append(f"!{base + 1} = !{{!{base}}}")
            lines.append(f"!{base + 2} = !{{{others}}}")
        return lines + self.loops
