"""Templates of instructions of all ISAs, which instructions.py fills in by chance.

In a template `{r}` and the like draw a register of a class, `{d}` a displacement that is often near a page border,
`{i8}` an immediate. Pointer registers, `{p}`, hold addresses of data; only instructions that write back move them.
No template changes the register that counts the rounds of loops (`COUNTERS` of random_programs.py), or it restores it.

What the manual leaves undefined or takes from the host is left out, or made defined by the instruction after it: the
same bytes must do the same everywhere. So is what Unicorn 2.1.4 gets wrong on x86 when it faults, because it has
computed the flags by then and forgets what from: setcc, rcl and rcr on memory; and cmpxchg8b, which always loses them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """`templates` with their weights by repetition; `classes`: what a field may be."""

    classes: Mapping[str, Sequence[str] | Callable[[random.Random], str]]
    templates: tuple[str, ...]


def lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def near_border(limit: int, align: int = 1, low: int | None = None) -> Callable[[random.Random], str]:
    """Displacements from a pointer at a page border: half of them make an access straddle it or lie beside it."""

    def draw(chance: random.Random) -> str:
        bottom = -limit if low is None else low
        value = chance.randint(-20, 20) if chance.random() < 0.5 else chance.randint(bottom, limit)
        return str(max(bottom, min(limit, value // align * align)))

    return draw


def number(low: int, high: int, step: int = 1) -> Callable[[random.Random], str]:
    return lambda chance: str(chance.randrange(low, high + 1, step))


_CONDITIONS_X86 = "o no b ae e ne be a s ns p np l ge le g".split()
_ALU = "add or adc sbb and sub xor cmp".split()
_SHIFT = "rol ror rcl rcr shl shr sar".split()
_SSE_INTEGER = (
    "paddb paddw paddd paddq psubb psubw psubd pxor pand por pandn pcmpeqb pcmpgtd pmullw pmuludq pmaddwd psadbw "
    "punpcklbw punpckhdq packuswb packssdw pshufb pmaxub pminsw pavgb pabsd phaddw pmulhrsw"
).split()
_SSE_FLOAT = (
    "addps mulps subps divps minps maxps sqrtps addpd mulpd subpd divpd sqrtpd unpcklps andnps cvtdq2ps cvttps2dq"
).split()
_SSE_SCALAR = "addss mulss divss sqrtss addsd mulsd subsd divsd sqrtsd cvtss2sd cvtsd2ss".split()

_X86_COMMON = lines(
    """
    {alu} {r4}, {r4}
    {alu} {r4}, {i8}
    {alu} {r2}, {r2}
    {alu} {r1}, {r1}
    {alu} {r4}, dword ptr [{p} + {d}]
    {alu} dword ptr [{p} + {d}], {r4}
    {alu} word ptr [{p} + {d}], {r2}
    {alu} byte ptr [{p} + {d}], {i8}
    lock {lockable} dword ptr [{p} + {d}], {r4}
    mov {r4}, {i32}
    mov {r4}, dword ptr [{p} + {d}]
    mov dword ptr [{p} + {d}], {r4}
    mov word ptr [{p} + {d}], {r2}
    mov byte ptr [{p} + {d}], {r1}
    mov dword ptr [{p} + {d}], {i32}
    movzx {r4}, byte ptr [{p} + {d}]
    movsx {r4}, word ptr [{p} + {d}]
    xchg {r4}, dword ptr [{p} + {d}]
    xadd dword ptr [{p} + {d}], {r4}
    lock cmpxchg dword ptr [{p} + {d}], {r4}
    inc dword ptr [{p} + {d}]
    neg {r4}
    not word ptr [{p} + {d}]
    {shift} {r4}, {i5}
    {shift_memory} dword ptr [{p} + {d}], cl
    {shift} {r2}, cl
    shld {r4}, {r4}, {i5}
    shrd dword ptr [{p} + {d}], {r4}, cl
    imul {r4}, {r4}
    imul {r4}, dword ptr [{p} + {d}], {i8}
    mul {r4}
    mul dword ptr [{p} + {d}]
    idiv {r1}
    bt {r4}, {i5}; cmp eax, edx
    bts dword ptr [{p} + {d}], {i5}; cmp edx, ecx
    bsf {r4}, {r4}
    popcnt {r4}, dword ptr [{p} + {d}]
    bswap {r4}
    set{cc} {r1}
    cmov{cc} {r4}, dword ptr [{p} + {d}]
    cmov{cc} {r4}, {r4}
    lea {r4}, [{p} + {r4}*4 + {d}]
    cdq
    cwde
    lahf
    sahf
    clc
    cmc
    std
    cld
    crc32 {r4}, dword ptr [{p} + {d}]
    movups {x}, xmmword ptr [{p} + {d}]
    movups xmmword ptr [{p} + {d}], {x}
    movups xmmword ptr [{p} + {d}], {x}
    movdqu {x}, {x}
    movq qword ptr [{p} + {d}], {x}
    movhps {x}, qword ptr [{p} + {d}]
    movss dword ptr [{p} + {d}], {x}
    movd {x}, {r4}
    movd {r4}, {x}
    {sse_integer} {x}, {x}
    {sse_float} {x}, {x}
    {sse_scalar} {x}, {x}
    pshufd {x}, {x}, {i8u}
    palignr {x}, {x}, {i4}
    pslld {x}, {i5}
    psrldq {x}, {i4}
    pmovmskb {r4}, {x}
    ucomisd {x}, {x}
    cvttss2si {r4}, {x}
    maskmovdqu {x}, {x}
    fld dword ptr [{p} + {d}]
    fld qword ptr [{p} + {d}]
    fild dword ptr [{p} + {d}]
    fstp qword ptr [{p} + {d}]
    fst dword ptr [{p} + {d}]
    fistp qword ptr [{p} + {d}]
    fstp xword ptr [{p} + {d}]
    fld1
    fldpi
    fadd st(0), st(1)
    fmulp st(1)
    fxch st(2)
    fchs
    fsqrt
    fnstcw word ptr [{p} + {d}]
    fnstsw ax
    fninit
    stmxcsr dword ptr [{p} + {d}]
    """
)
_STRINGS = lines(
    """
    mov ecx, {i6}; {direction}; rep movsb
    mov ecx, {i6}; {direction}; rep movsd
    mov ecx, {i6}; {direction}; rep stosb
    mov ecx, {i6}; {direction}; rep stosd
    mov ecx, {i6}; {direction}; repe cmpsb
    mov ecx, {i6}; {direction}; repne scasw
    mov ecx, {i6}; {direction}; rep lodsb
    movsb
    movsd
    stosw
    cmpsd
    lodsd
    """
)
_X86_CLASSES: dict[str, Sequence[str] | Callable[[random.Random], str]] = {
    "alu": _ALU,
    "lockable": "add or and sub xor adc".split(),
    "shift": _SHIFT,
    "shift_memory": [name for name in _SHIFT if name not in ("rcl", "rcr")],
    "cc": _CONDITIONS_X86,
    "sse_integer": _SSE_INTEGER,
    "sse_float": _SSE_FLOAT,
    "sse_scalar": _SSE_SCALAR,
    "direction": ("cld", "cld", "std"),
    "d": near_border(0x900),
    "i4": number(0, 15),
    "i5": number(0, 31),
    "i6": number(0, 60),
    "i8": number(-128, 127),
    "i8u": number(0, 255),
    "i32": number(0, 0x7FFFFFFF),
}
_X86_64 = Family(
    _X86_CLASSES
    | {
        "p": ("rsi", "rdi", "rbx", "r12"),
        "r8": ("rax", "rcx", "rdx", "rbp", "r8", "r9", "r13", "r14"),
        "r4": ("eax", "ecx", "edx", "ebp", "r8d", "r9d", "r13d", "r14d"),
        "r2": ("ax", "cx", "dx", "bp", "r8w", "r13w"),
        "r1": ("al", "cl", "dl", "bpl", "r8b", "r14b"),
        "x": ("xmm0", "xmm1", "xmm2", "xmm7", "xmm8", "xmm15"),
    },
    # its index register is one of 64 bits there
    tuple(template for template in _X86_COMMON if "lea" not in template)
    + _STRINGS
    + lines(
        """
        {alu} {r8}, {r8}
        {alu} {r8}, {i8}
        {alu} {r8}, qword ptr [{p} + {d}]
        {alu} qword ptr [{p} + {d}], {r8}
        {alu} qword ptr [{p} + {d}], {i8}
        lock {lockable} qword ptr [{p} + {d}], {r8}
        mov {r8}, qword ptr [{p} + {d}]
        mov qword ptr [{p} + {d}], {r8}
        movsxd {r8}, dword ptr [{p} + {d}]
        xadd qword ptr [{p} + {d}], {r8}
        lock cmpxchg qword ptr [{p} + {d}], {r8}
        {shift} {r8}, {i5}
        {shift_memory} qword ptr [{p} + {d}], cl
        imul {r8}, qword ptr [{p} + {d}]
        mul {r8}
        bsr {r8}, {r8}
        bswap {r8}
        popcnt {r8}, {r8}
        cqo
        movq {x}, {r8}
        movq {r8}, {x}
        cvtsi2sd {x}, {r8}
        push {r8}
        push {r8}
        pop {r8}
        push qword ptr [{p} + {d}]
        pop qword ptr [{p} + {d}]
        pushfq
        mov ecx, {i6}; {direction}; rep movsq
        mov ecx, {i6}; {direction}; rep stosq
        movsq
        """
    ),
)
_I386 = Family(
    _X86_CLASSES
    | {
        "p": ("esi", "edi", "ebx"),
        "r4": ("eax", "ecx", "edx"),
        "r2": ("ax", "cx", "dx"),
        "r1": ("al", "cl", "dl", "ah", "ch"),
        "x": ("xmm0", "xmm1", "xmm2", "xmm7"),
    },
    _X86_COMMON
    + _STRINGS
    + lines(
        """
        push {r4}
        push {r4}
        pop {r4}
        push dword ptr [{p} + {d}]
        pushad
        pushfd
        enter 16, 0; push ebp; leave
        aaa
        daa
        inc {r4}
        dec {r2}
        """
    ),
)

CONDITIONS_ARM = "eq ne hs lo mi pl vs vc hi ls ge lt gt le".split()
_ARM64 = Family(
    {
        "p": ("x20", "x21", "x22", "x23"),
        "x": tuple(f"x{index}" for index in (0, 1, 2, 3, 4, 5, 9, 10, 30)),
        "w": tuple(f"w{index}" for index in (0, 1, 2, 3, 4, 5, 9, 10, 30)),
        "q": ("0", "1", "2", "3", "15", "31"),
        "two": ("x0, x1", "x2, x3", "x9, x10", "x5, x4"),
        "two_w": ("w0, w1", "w2, w3", "w5, w4"),
        "two_q": ("q0, q1", "q2, q3", "q15, q31"),
        "d": near_border(255, low=-256),
        "d8": near_border(504, 8, low=-512),
        "d4": near_border(252, 4, low=-256),
        "d16": near_border(1008, 16, low=-1024),
        "cc": CONDITIONS_ARM,
        "logic": "and orr eor bic orn ands bics".split(),
        "sum": "add sub adds subs".split(),
        "carry": "adc sbc adcs sbcs".split(),
        "shift": "lsl lsr asr".split(),
        "extend": "uxtb uxth uxtw sxtb sxth sxtw".split(),
        "i6": number(0, 63),
        "i5": number(0, 31),
        "i4": number(0, 15),
        "i12": number(0, 4095),
        "i16": number(0, 65535),
        "vector": "add sub mul cmeq cmgt smax umin and orr eor".split(),
        "arrangement": "8b 16b 4h 8h 2s 4s".split(),
        "float": "fadd fsub fmul fdiv fmax fmin fnmul".split(),
        "one_float": "fneg fabs fsqrt frintz".split(),
    },
    lines(
        """
        ldr {x}, [{p}, #8]
        ldur {x}, [{p}, #{d}]
        ldur {w}, [{p}, #{d}]
        stur {x}, [{p}, #{d}]
        stur {x}, [{p}, #{d}]
        stur {w}, [{p}, #{d}]
        ldurb {w}, [{p}, #{d}]
        ldursh {x}, [{p}, #{d}]
        sturb {w}, [{p}, #{d}]
        sturh {w}, [{p}, #{d}]
        ldr {x}, [{p}], #{d}
        str {x}, [{p}, #{d}]!
        strb {w}, [{p}], #{d}
        ldp {two}, [{p}, #{d8}]
        stp {two}, [{p}, #{d8}]
        stp {two}, [{p}, #{d8}]!
        ldp {two}, [{p}], #{d8}
        stp {two_w}, [{p}, #{d4}]
        ldpsw {two}, [{p}, #{d4}]
        ldur q{q}, [{p}, #{d}]
        stur q{q}, [{p}, #{d}]
        stur d{q}, [{p}, #{d}]
        ldur s{q}, [{p}, #{d}]
        stp {two_q}, [{p}, #{d16}]
        ldp {two_q}, [{p}, #{d16}]
        st1 {{ v0.16b, v1.16b, v2.16b }}, [{p}]
        st2 {{ v1.8h, v2.8h }}, [{p}]
        st3 {{ v1.4s, v2.4s, v3.4s }}, [{p}], #48
        ld4 {{ v0.8b, v1.8b, v2.8b, v3.8b }}, [{p}]
        ld1 {{ v2.16b, v3.16b }}, [{p}], #32
        st1 {{ v1.s }}[2], [{p}]
        ld1r {{ v15.4s }}, [{p}]
        ldxr {x}, [{p}]
        stxr w30, {x}, [{p}]
        ldaxr {w}, [{p}]; stlxr w9, {w}, [{p}]
        ldar {x}, [{p}]
        stlr {x}, [{p}]
        dc zva, {p}
        prfm pldl1keep, [{p}]
        {sum} {x}, {x}, {x}
        {sum} {w}, {w}, {w}, {shift} #{i5}
        {sum} {x}, {x}, #{i12}
        {sum} {x}, {x}, {w}, {extend} #2
        {carry} {x}, {x}, {x}
        {logic} {x}, {x}, {x}, {shift} #{i6}
        {logic} {w}, {w}, {w}
        {shift} {x}, {x}, {x}
        ror {x}, {x}, #{i6}
        extr {x}, {x}, {x}, #{i6}
        movz {x}, #{i16}, lsl #16
        movk {x}, #{i16}, lsl #32
        movn {w}, #{i16}
        madd {x}, {x}, {x}, {x}
        msub {w}, {w}, {w}, {w}
        smaddl {x}, {w}, {w}, {x}
        umulh {x}, {x}, {x}
        smulh {x}, {x}, {x}
        udiv {x}, {x}, {x}
        sdiv {w}, {w}, {w}
        csel {x}, {x}, {x}, {cc}
        csinc {w}, {w}, {w}, {cc}
        csneg {x}, {x}, {x}, {cc}
        ccmp {x}, {x}, #{i4}, {cc}
        ccmn {w}, #{i5}, #{i4}, {cc}
        ubfx {x}, {x}, #7, #9
        sbfx {w}, {w}, #3, #11
        bfi {x}, {x}, #5, #20
        clz {x}, {x}
        cls {w}, {w}
        rbit {x}, {x}
        rev {x}, {x}
        rev16 {w}, {w}
        .word 0x9ac25c20
        {vector} v{q}.16b, v{q}.16b, v{q}.16b
        add v{q}.2d, v{q}.2d, v{q}.2d
        mul v{q}.8h, v{q}.8h, v{q}.8h
        smull v{q}.4s, v{q}.4h, v{q}.4h
        sqadd v{q}.4s, v{q}.4s, v{q}.4s
        ushl v{q}.2d, v{q}.2d, v{q}.2d
        tbl v{q}.16b, {{ v1.16b, v2.16b }}, v{q}.16b
        ext v{q}.16b, v{q}.16b, v{q}.16b, #5
        zip1 v{q}.8h, v{q}.8h, v{q}.8h
        addv b{q}, v{q}.16b
        cnt v{q}.16b, v{q}.16b
        .word 0x4e284841
        .word 0x5e034041
        .word 0x0ee2e041
        umov {w}, v{q}.b[3]
        ins v{q}.d[1], {x}
        dup v{q}.4s, {w}
        {float} d{q}, d{q}, d{q}
        {float} s{q}, s{q}, s{q}
        {one_float} d{q}, d{q}
        fmadd d{q}, d{q}, d{q}, d{q}
        fadd v{q}.4s, v{q}.4s, v{q}.4s
        fmla v{q}.2d, v{q}.2d, v{q}.2d
        fcvtzs {x}, d{q}
        scvtf d{q}, {x}
        fcvt s{q}, d{q}
        fcmp d{q}, d{q}
        fcsel d{q}, d{q}, d{q}, {cc}
        frecpe v{q}.4s, v{q}.4s
        mrs {x}, nzcv
        msr nzcv, {x}
        stp {two}, [sp, #-16]!
        ldp {two}, [sp], #16
        nop
        """
    ),
)

_ARM_SHARED = lines(
    """
    ldr {r}, [{p}, #{du}]
    str {r}, [{p}, #{du}]
    str {r}, [{p}, #{du}]
    ldrb {r}, [{p}, #{du}]
    strb {r}, [{p}, #{du}]
    strh {r}, [{p}, #{du}]
    ldrsh {r}, [{p}, #{du}]
    ldr {r}, [{p}, #-{d8}]
    str {r}, [{p}], #{d8}
    strb {r}, [{p}, #-{d8}]!
    ldrh {r}, [{p}], #{d8}
    ldrd {two}, [{p}, #{d4}]
    strd {two}, [{p}, #{d4}]
    strd {two}, [{p}, #-{d4}]!
    stmia {p}, {{ r0, r1, r2, r3 }}
    stmia {p}!, {{ r0, r2, r3, r4, lr }}
    stmdb {p}!, {{ r1, r2, r3, r12 }}
    ldmia {p}, {{ r0, r1, r4, r12 }}
    ldmdb {p}!, {{ r0, r3, lr }}
    push {{ r0, r1, r4 }}
    push {{ r2, r12, lr }}
    pop {{ r0, r3 }}
    vstmia {p}, {{ d0, d1, d2, d3 }}
    vstmdb {p}!, {{ d4, d5 }}
    vldmia {p}!, {{ s4, s5, s6 }}
    vldr d{q}, [{p}, #{d4}]
    vstr d{q}, [{p}, #{d4}]
    vstr s{q}, [{p}, #-{d4}]
    vst1.8 {{ d0, d1, d2 }}, [{p}]
    vst1.32 {{ d{q}[1] }}, [{p}]!
    vst2.16 {{ d0, d1 }}, [{p}]!
    vst4.8 {{ d0, d1, d2, d3 }}, [{p}]
    vld1.64 {{ d4, d5 }}, [{p}]!
    vld3.8 {{ d0, d1, d2 }}, [{p}]
    ldrex {r}, [{p}]
    strex lr, r0, [{p}]
    ldrexd r2, r3, [{p}]
    strexb lr, r1, [{p}]
    {flagged} {r}, {r}, {r}
    {sum} {r}, {r}, #{i8}
    {shift} {r}, {r}, #{i5}
    movw {r}, #{i16}
    movt {r}, #{i16}
    mvn {r}, {r}
    cmp {r}, {r}
    tst {r}, {r}
    mul {r}, {r}, {r}
    mla {r}, {r}, {r}, {r}
    umull {two}, {r}, {r}
    smlal r2, r3, {r}, {r}
    sdiv {r}, {r}, {r}
    udiv {r}, {r}, {r}
    clz {r}, {r}
    rbit {r}, {r}
    rev {r}, {r}
    revsh {r}, {r}
    uxtb {r}, {r}
    sxth {r}, {r}
    ubfx {r}, {r}, #3, #7
    bfi {r}, {r}, #4, #9
    ssat {r}, #9, {r}
    qadd {r}, {r}, {r}
    uadd8 {r}, {r}, {r}
    sel {r}, {r}, {r}
    pkhbt {r}, {r}, {r}, lsl #3
    usad8 {r}, {r}, {r}
    smlad {r}, {r}, {r}, {r}
    vadd.i16 q0, q1, q2
    vmul.i32 d{q}, d{q}, d{q}
    vand d{q}, d{q}, d{q}
    vqadd.s8 q1, q1, q2
    vshl.u32 q2, q1, q0
    vzip.8 d0, d{q}
    vtbl.8 d{q}, {{ d1, d2 }}, d{q}
    vadd.f32 q0, q1, q2
    vmla.f32 d{q}, d{q}, d{q}
    vadd.f64 d{q}, d{q}, d{q}
    vdiv.f64 d{q}, d{q}, d{q}
    vsqrt.f32 s{q}, s{q}
    vcvt.s32.f64 s0, d{q}
    vcvt.f64.f32 d{q}, s{q}
    vcmp.f64 d{q}, d{q}; vmrs apsr_nzcv, fpscr
    vmov {r}, s{q}
    vmov d{q}, {two}
    vmrs {r}, fpscr
    mrs {r}, apsr
    nop
    """
)
_ARM_CLASSES: dict[str, Sequence[str] | Callable[[random.Random], str]] = {
    "p": ("r5", "r6", "r8", "r9"),
    "r": ("r0", "r1", "r2", "r3", "r4", "r12", "lr"),
    "q": ("0", "1", "2", "3", "4", "5", "10", "15"),
    "two": ("r0, r1", "r2, r3"),
    "du": near_border(200, low=0),
    "d8": near_border(255, low=0),
    "d4": near_border(252, 4, low=0),
    "cc": CONDITIONS_ARM,
    "flagged": "adds subs ands orrs eors bics adcs sbcs rsbs".split(),
    "sum": "add sub adds subs rsb".split(),
    "shift": "lsls lsrs asrs rors lsl lsr".split(),
    "i5": number(1, 31),
    "i8": number(0, 255),
    "i16": number(0, 65535),
    # what may stand in an IT block, in its form there
    "it": (
        "mov{0} r0, r1",
        "add{0} r1, r2",
        "ldr{0} r2, [r6, #4]",
        "str{0} r0, [r6]",
        "strb{0} r3, [r5, #3]",
        "ldrh{0} r3, [r8, #2]",
        "str{0} r1, [r5, #-4]!",
        "ldmia{0} r6, {{ r0, r3 }}",
        "stmia{0} r8, {{ r1, r2 }}",
        "vstr{0} d1, [r5, #8]",
        "subs{0} r4, r4, #1",
        "cmp{0} r0, r2",
    ),
}
_ARM = Family(
    _ARM_CLASSES,
    _ARM_SHARED
    + lines(
        """
        ldr{cc} {r}, [{p}, #{du}]
        str{cc} {r}, [{p}, #-{du}]
        strb{cc} {r}, [{p}], #{d8}
        add{cc} {r}, {r}, {r}, lsl #3
        mov{cc} {r}, {r}
        rsc {r}, {r}, {r}
        stmib {p}, {{ r0, r1, r4 }}
        stmda {p}!, {{ r2, r3, lr }}
        ldmib {p}!, {{ r0, r1 }}
        ldmda {p}, {{ r2, r12 }}
        stmia{cc} {p}!, {{ r0, r1, r2, r3, r4 }}
        swp {r}, r1, [{p}]
        subs {r}, {r}, {r}, asr #5
        eor {r}, {r}, {r}, ror #7
        teq {r}, {r}
        msr cpsr_f, {r}
        """
    ),
)
_THUMB = Family(_ARM_CLASSES, _ARM_SHARED + ("it",) * 25)

_RISCV64 = Family(
    {
        "p": ("s2", "s3", "s4", "s5"),
        "r": ("a0", "a1", "a2", "a3", "a4", "t0", "t1", "t2", "ra"),
        "c": ("a0", "a1", "a2", "a3", "a4", "s0", "s1"),
        "f": ("f0", "f1", "f2", "f3", "f8", "f31"),
        "d": near_border(2047, low=-2048),
        "i12": number(-2048, 2047),
        "i6": number(0, 63),
        "i5": number(0, 31),
        "i20": number(0, 0xFFFFF),
        "load": "lb lh lw ld lbu lhu lwu".split(),
        "store": "sb sh sw sd sd sd".split(),
        "op": "add sub sll slt sltu xor srl sra or and mul mulh mulhsu mulhu div divu rem remu".split(),
        "opw": "addw subw sllw srlw sraw mulw divw divuw remw remuw".split(),
        "opi": "addi slti sltiu xori ori andi addiw".split(),
        "amo": "amoswap amoadd amoxor amoand amoor amomin amomax amominu amomaxu".split(),
        "width": "wd",
        "float": "fadd fsub fmul fdiv fsgnj fsgnjx fmin fmax".split(),
        "compare": "feq flt fle".split(),
        "fused": "fmadd fnmsub".split(),
    },
    lines(
        """
        {load} {r}, {d}({p})
        {load} {r}, {d}({p})
        {store} {r}, {d}({p})
        {store} {r}, {d}({p})
        {store} {r}, {d}({p})
        fld {f}, {d}({p})
        flw {f}, {d}({p})
        fsd {f}, {d}({p})
        fsw {f}, {d}({p})
        addi sp, sp, -16; sd {r}, 0(sp)
        ld {r}, 0(sp); addi sp, sp, 16
        {amo}.{width} {r}, {r}, ({p})
        {amo}.{width} {r}, {r}, ({p})
        lr.d {r}, ({p})
        sc.d {r}, {r}, ({p})
        lr.w {r}, ({p}); sc.w a0, {r}, ({p})
        {op} {r}, {r}, {r}
        {op} {r}, {r}, {r}
        {opw} {r}, {r}, {r}
        {opi} {r}, {r}, {i12}
        slli {r}, {r}, {i6}
        srli {r}, {r}, {i6}
        srai {r}, {r}, {i6}
        sraiw {r}, {r}, {i5}
        lui {r}, {i20}
        auipc {r}, 0
        {float}.d {f}, {f}, {f}
        {float}.s {f}, {f}, {f}
        {compare}.d {r}, {f}, {f}
        {fused}.d {f}, {f}, {f}, {f}
        fsqrt.d {f}, {f}
        fcvt.d.l {f}, {r}
        fcvt.l.d {r}, {f}
        fcvt.w.s {r}, {f}
        fcvt.s.d {f}, {f}
        fcvt.d.s {f}, {f}
        fmv.x.d {r}, {f}
        fmv.d.x {f}, {r}
        fclass.d {r}, {f}
        c.add {c}, {c}
        c.mv {c}, {c}
        c.xor {c}, {c}
        c.li {c}, {i5}
        c.sw {c}, 4(s1)
        c.ld {c}, 8(s1)
        c.nop
        fence.i
        nop
        """
    ),
)
FAMILIES = {
    "x86_64": _X86_64,
    "i386": _I386,
    "arm64": _ARM64,
    "arm": _ARM,
    "thumb": _THUMB,
    "riscv64": _RISCV64,
}
