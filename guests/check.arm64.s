# arch: arm64
# purpose: Checks the CPU: integers, flags, shifts, bit fields, multiplication, division, addressing, calls,
#     conditions, exclusives, floating point and vectors, in the baseline of Armv8.0. The first assertion that fails
#     ends it.
# args: none
# stdin: not read
# stdout: one line when all is well
# status: 0; the number of the assertion that failed, which is also printed on stderr
# test: stdout="arm64: all assertions hold\n"

        .equ    N, 8
        .equ    Z, 4
        .equ    C, 2
        .equ    V, 1

.macro expect register, value           // the register holds the value
        add     w28, w28, #1            // the assertion's number
        ldr     x27, =\value
        eor     x27, \register, x27
        cbnz    x27, failed             // the flags are as they were
.endm

.macro expect_flags value               // exactly these are set
        mrs     x27, nzcv
        add     w28, w28, #1
        lsr     x27, x27, #28
        cmp     x27, #(\value)          // and afterwards those of equal
        b.ne    failed
.endm

_start:
        mov     x29, sp
        mov     w28, #0

        // -- moves and widths
        mov     x0, #-1
        mov     w0, #5
        expect  x0, 5                   // a 32-bit write clears the upper half
        movz    x0, #0x1234, lsl #48
        movk    x0, #0x5678, lsl #16
        expect  x0, 0x1234000056780000
        movn    x0, #0
        expect  x0, 0xffffffffffffffff
        mov     x1, #0x80
        sxtb    x0, w1
        expect  x0, 0xffffffffffffff80
        uxtb    w0, w1
        expect  x0, 0x80
        sxtw    x0, w1
        expect  x0, 0x80
        mov     x1, #-1
        uxth    w0, w1
        expect  x0, 0xffff
        mov     x0, #9
        add     x0, xzr, x0
        expect  x0, 9

        // -- addition and subtraction with their flags
        mov     w0, #0x7fffffff
        adds    w0, w0, #1
        expect_flags N+V
        expect  x0, 0x80000000
        mov     w0, #-1
        adds    w0, w0, #1
        expect_flags Z+C
        mov     x0, #5
        subs    x0, x0, #6
        expect_flags N
        expect  x0, 0xffffffffffffffff
        mov     x0, #6
        subs    x0, x0, #6
        expect_flags Z+C
        mov     x1, #0x8000000000000000
        subs    x0, x1, #1
        expect_flags C+V
        cmn     x1, x1
        expect_flags Z+C+V
        mov     x0, #-1
        mov     x1, #1
        adds    x2, x0, x1
        adc     x3, xzr, xzr            // the carry
        expect  x3, 1
        subs    x2, x1, x0
        sbcs    x3, x1, x1
        expect_flags N
        expect  x3, 0xffffffffffffffff
        negs    x0, x1
        ngc     x0, xzr                 // borrows
        expect  x0, 0xffffffffffffffff
        mov     w1, #-2
        mov     x0, #10
        add     x0, x0, w1, sxtw
        expect  x0, 8
        add     x0, x0, w1, uxtb #2
        expect  x0, 1024
        mov     x1, #3
        add     x0, x0, x1, lsl #4
        expect  x0, 1072
        sub     x0, x0, x1, asr #1
        expect  x0, 1071

        // -- logic
        mov     x0, #0xff00
        mov     x1, #0x0ff0
        and     x2, x0, x1
        expect  x2, 0x0f00
        orr     x2, x0, x1
        expect  x2, 0xfff0
        eor     x2, x0, x1
        expect  x2, 0xf0f0
        bic     x2, x0, x1
        expect  x2, 0xf000
        orn     x2, xzr, x0
        expect  x2, 0xffffffffffff00ff
        eon     x2, x0, x0
        expect  x2, 0xffffffffffffffff
        ands    x2, x0, #0xff
        expect_flags Z
        tst     x2, x2
        expect_flags Z
        and     x2, x0, #0x5555555555555555
        expect  x2, 0x5500
        bics    xzr, x2, x1
        expect_flags 0

        // -- shifts, bit fields, bit counts
        mov     x0, #1
        mov     x1, #65
        lsl     x2, x0, x1              // modulo 64
        expect  x2, 2
        mov     w1, #33
        lsl     w2, w0, w1              // modulo 32
        expect  x2, 2
        mov     x0, #-8
        asr     x2, x0, #2
        expect  x2, 0xfffffffffffffffe
        lsr     x2, x0, #60
        expect  x2, 15
        lsr     w2, w0, #4
        expect  x2, 0x0fffffff
        ldr     x0, =0x123456789abcdef0
        ror     x2, x0, #8
        expect  x2, 0xf0123456789abcde
        ubfx    x2, x0, #4, #12
        expect  x2, 0xdef
        sbfx    x2, x0, #4, #12
        expect  x2, 0xfffffffffffffdef
        mov     x2, #0
        bfi     x2, x0, #8, #16
        expect  x2, 0xdef000
        mov     x2, #-1
        bfxil   x2, x0, #8, #8
        expect  x2, 0xffffffffffffffde
        ubfiz   x2, x0, #60, #4
        expect  x2, 0
        extr    x2, x0, x0, #16
        expect  x2, 0xdef0123456789abc
        rev     x2, x0
        expect  x2, 0xf0debc9a78563412
        rev32   x2, x0
        expect  x2, 0x78563412f0debc9a
        rev16   x2, x0
        expect  x2, 0x34127856bc9af0de
        rbit    w2, w0
        expect  x2, 0x0f7b3d59
        clz     x2, x0
        expect  x2, 3
        clz     w2, w0
        expect  x2, 0
        cls     x2, x0
        expect  x2, 2

        // -- multiplication and division
        mov     x0, #-3
        mov     x1, #7
        mul     x2, x0, x1
        expect  x2, 0xffffffffffffffeb
        madd    x2, x0, x1, x1
        expect  x2, 0xfffffffffffffff2
        msub    x2, x0, x1, x1
        expect  x2, 28
        mneg    x2, x0, x1
        expect  x2, 21
        smull   x2, w0, w1
        expect  x2, 0xffffffffffffffeb
        umull   x2, w0, w1
        expect  x2, 0x6ffffffeb
        smulh   x2, x0, x1
        expect  x2, 0xffffffffffffffff
        umulh   x2, x0, x1
        expect  x2, 6
        umaddl  x2, w1, w1, x1
        expect  x2, 56
        sdiv    x2, x0, x1
        expect  x2, 0
        mov     x0, #-22
        sdiv    x2, x0, x1              // towards zero
        expect  x2, 0xfffffffffffffffd
        udiv    x2, x0, x1
        expect  x2, 2635249153387078799
        udiv    x2, x0, xzr             // by zero gives zero
        expect  x2, 0
        mov     x0, #0x8000000000000000
        mov     x1, #-1
        sdiv    x2, x0, x1              // the one that overflows
        expect  x2, 0x8000000000000000

        // -- conditions
        mov     x0, #1
        cmp     x0, #2
        cset    x2, lt
        expect  x2, 1
        cset    x2, hi
        expect  x2, 0
        mov     x1, #-1
        cmp     x1, #1
        cset    x2, hi                  // unsigned
        expect  x2, 1
        cset    x2, gt                  // signed
        expect  x2, 0
        csel    x2, x0, x1, ne
        expect  x2, 1
        csinc   x2, x0, x0, eq
        expect  x2, 2
        csinv   x2, x0, x0, eq
        expect  x2, 0xfffffffffffffffe
        csneg   x2, x0, x0, eq
        expect  x2, 0xffffffffffffffff
        csetm   x2, ne
        expect  x2, 0xffffffffffffffff
        cmp     x0, #1
        ccmp    x0, #2, #4, eq          // compares, since the first was equal
        expect_flags N
        cmp     x0, #2
        ccmp    x0, #2, #4, eq          // takes the flags given
        expect_flags Z
        cbz     x0, failed
        tbz     x0, #0, failed
        tbnz    x0, #63, failed
        cbnz    xzr, failed
        mov     x2, #0
        mov     x1, #5
loop_again:
        add     x2, x2, x1
        subs    x1, x1, #1
        b.ne    loop_again
        expect  x2, 15

        // -- memory and addressing
        ldr     x10, =table
        ldr     x0, [x10, #8]
        expect  x0, 0x2222222222222222
        mov     x1, #3
        ldr     x0, [x10, x1, lsl #3]
        expect  x0, 0x4444444444444444
        mov     w1, #-8
        add     x11, x10, #16
        ldr     x0, [x11, w1, sxtw]
        expect  x0, 0x2222222222222222
        ldr     x0, [x10, #5]!          // before, and unaligned
        expect  x0, 0x2222222222111111
        ldr     x0, [x10], #-5          // after
        ldrb    w0, [x10], #8
        expect  x0, 0x11
        ldrh    w0, [x10]
        expect  x0, 0x2222
        ldur    x0, [x10, #-1]
        expect  x0, 0x2222222222222211
        ldr     x10, =signed
        ldrsb   x0, [x10]
        expect  x0, 0xfffffffffffffff0
        ldrsb   w0, [x10]
        expect  x0, 0xfffffff0
        ldrsh   x0, [x10]
        expect  x0, 0xffffffffffff80f0
        ldrsw   x0, [x10]
        expect  x0, 0xffffffff800080f0
        ldr     x10, =table
        ldp     x0, x1, [x10, #16]
        expect  x0, 0x3333333333333333
        expect  x1, 0x4444444444444444
        ldpsw   x0, x1, [x10]
        expect  x1, 0x11111111
        ldr     x12, =page
        add     x12, x12, #4092
        ldr     x0, =0x1122334455667788
        str     x0, [x12]               // straddles two pages
        ldr     x1, [x12]
        expect  x1, 0x1122334455667788
        ldrb    w1, [x12, #4]
        expect  x1, 0x44
        stp     x0, x1, [x12, #-16]!
        ldr     x1, [x12, #8]
        expect  x1, 0x44
        strh    w0, [x12, #2]
        ldr     x1, [x12]
        expect  x1, 0x1122334477887788

        // -- the stack and calls
        stp     x0, x1, [sp, #-16]!
        ldr     x2, [sp, #8]
        expect  x2, 0x1122334477887788
        ldp     x3, x4, [sp], #16
        expect  x3, 0x1122334455667788
        bl      nested
        expect  x0, 77
        adr     x1, nested
        blr     x1
        expect  x0, 77
        mov     x0, sp
        sub     x0, x0, x29
        expect  x0, 0
        adr     x1, jumped
        br      x1
        b       failed
jumped:

        // -- exclusives and barriers
        ldr     x10, =word
        mov     x0, #40
        str     x0, [x10]
        ldxr    x1, [x10]
        expect  x1, 40
        ldxr    x1, [x10]
        add     x1, x1, #2
        stxr    w2, x1, [x10]
        expect  x2, 0
        ldr     x1, [x10]
        expect  x1, 42
        ldaxr   x1, [x10]
        clrex
        stlxr   w2, x1, [x10]           // the reservation is gone
        expect  x2, 1
        ldr     x11, =pair
        ldxp    x0, x1, [x11]
        stxp    w2, x1, x0, [x11]
        expect  x2, 0
        ldr     x0, [x11]
        expect  x0, 2
        dmb     ish
        dsb     sy
        isb
        ldar    x0, [x10]
        stlr    x0, [x11]
        ldr     x0, [x11]
        expect  x0, 42
        msr     tpidr_el0, x10
        mrs     x0, tpidr_el0
        sub     x0, x0, x10
        expect  x0, 0

        // -- floating point
        fmov    d0, #3.0
        fmov    d1, #0.5
        fadd    d2, d0, d1
        fmov    x0, d2
        expect  x0, 0x400c000000000000  // 3.5
        fmul    d2, d2, d2
        fmov    x0, d2
        expect  x0, 0x4028800000000000  // 12.25
        fsqrt   d2, d2
        fmov    x0, d2
        expect  x0, 0x400c000000000000
        fdiv    d2, d1, d0
        fmov    x0, d2
        expect  x0, 0x3fc5555555555555  // 1/6
        fmadd   d2, d0, d1, d1
        fmov    x0, d2
        expect  x0, 0x4000000000000000
        fnmsub  d2, d0, d1, d1
        fmov    x0, d2
        expect  x0, 0x3ff0000000000000
        fneg    d2, d0
        fabs    d3, d2
        fmov    x0, d3
        expect  x0, 0x4008000000000000
        fcmp    d1, d0
        expect_flags N
        fcmp    d0, d0
        expect_flags Z+C
        fsub    d4, d0, d0
        fdiv    d4, d4, d4
        fcmp    d4, d0                  // not a number: unordered
        fcsel   d5, d0, d1, vs
        expect_flags C+V
        fmov    x0, d5
        expect  x0, 0x4008000000000000
        mov     x0, #-7
        scvtf   d2, x0
        fmov    x0, d2
        expect  x0, 0xc01c000000000000
        fmov    d3, #2.5
        fcvtzs  x0, d3
        expect  x0, 2
        fcvtns  x0, d3                  // to the nearest, even
        expect  x0, 2
        fcvtps  x0, d3
        expect  x0, 3
        fcvtzu  x0, d2                  // saturates
        expect  x0, 0
        fcvt    s2, d3
        fmov    w0, s2
        expect  x0, 0x40200000
        frintm  d2, d3
        fmov    x0, d2
        expect  x0, 0x4000000000000000
        fmax    d2, d0, d1
        fmov    x0, d2
        expect  x0, 0x4008000000000000

        // -- vectors
        ldr     x10, =table
        ldp     q0, q1, [x10]
        add     v2.4s, v0.4s, v1.4s
        umov    x0, v2.d[0]
        expect  x0, 0x4444444444444444
        umov    w0, v2.s[3]
        expect  x0, 0x66666666
        mov     w0, #7
        dup     v3.16b, w0
        umov    x0, v3.d[1]
        expect  x0, 0x0707070707070707
        addv    b4, v3.16b
        umov    w0, v4.b[0]
        expect  x0, 112
        cmeq    v4.16b, v0.16b, v0.16b
        umov    x0, v4.d[1]
        expect  x0, 0xffffffffffffffff
        mul     v4.8h, v3.8h, v3.8h
        umov    w0, v4.h[2]
        expect  x0, 0x6231
        shl     v4.2d, v3.2d, #4
        umov    x0, v4.d[0]
        expect  x0, 0x7070707070707070
        ext     v4.16b, v0.16b, v1.16b, #12
        umov    w0, v4.s[1]
        expect  x0, 0x33333333
        tbl     v5.16b, {v0.16b}, v3.16b
        umov    x0, v5.d[0]
        expect  x0, 0x1111111111111111
        fmov    v4.2d, #1.5
        fadd    v4.2d, v4.2d, v4.2d
        umov    x0, v4.d[1]
        expect  x0, 0x4008000000000000
        ld1     {v6.8b, v7.8b}, [x10]
        umov    x0, v7.d[0]
        expect  x0, 0x2222222222222222
        ld2     {v6.16b, v7.16b}, [x10]
        umov    x0, v7.d[0]
        expect  x0, 0x2222222211111111
        cnt     v6.8b, v3.8b
        umov    w0, v6.b[0]
        expect  x0, 3
        uqadd   v6.16b, v4.16b, v3.16b
        movi    v6.16b, #0xff
        uqadd   v6.16b, v6.16b, v3.16b  // saturates
        umov    w0, v6.b[5]
        expect  x0, 0xff

        mov     x8, #64
        mov     x0, #1
        adr     x1, good
        adr     x2, good_end
        sub     x2, x2, x1
        svc     #0
        mov     x8, #94
        mov     x0, #0
        svc     #0

        .ltorg
nested:
        stp     x29, x30, [sp, #-16]!
        mov     w0, #70
        bl      deeper
        ldp     x29, x30, [sp], #16
        ret
deeper:
        add     w0, w0, #7
        ret

failed:                                 // w28: the assertion's number
        mov     w0, w28
        ldr     x1, =bad_end
        mov     w2, #10
bad_digit:
        udiv    w3, w0, w2
        msub    w4, w3, w2, w0
        add     w4, w4, #48
        strb    w4, [x1, #-1]!
        mov     w0, w3
        cbnz    w0, bad_digit
        mov     x8, #64
        mov     x0, #2
        ldr     x1, =bad
        mov     x2, #22
        svc     #0
        mov     x8, #94
        mov     w0, w28
        svc     #0

good:
        .ascii  "arm64: all assertions hold\n"
good_end:

# data
table:
        .quad   0x1111111111111111, 0x2222222222222222, 0x3333333333333333, 0x4444444444444444
pair:
        .quad   1, 2
word:
        .quad   0
signed:
        .long   0x800080f0
bad:
        .ascii  "failed: assertion    "
bad_end:
        .ascii  "\n"
        .p2align 12
page:
        .space  8192
