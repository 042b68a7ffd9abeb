# arch: arm
# purpose: Checks the CPU: integers, flags, conditions, shifts, bit fields, multiplication, division, saturation,
#     addressing, calls, exclusives, the kernel's helpers, VFP, NEON and Thumb with IT blocks, in Armv7-A. The first
#     assertion that fails ends it.
# args: none
# stdin: not read
# stdout: one line when all is well
# status: 0; the number of the assertion that failed, which is also printed on stderr
# test: stdout="arm: all assertions hold\n"

        .equ    N, 8
        .equ    Z, 4
        .equ    C, 2
        .equ    V, 1

.macro expect register, value           // the register holds the value; the flags end as those of equal
        movw    r12, #((\value) & 0xffff)
        movt    r12, #(((\value) >> 16) & 0xffff)
        add     r11, r11, #1            // the assertion's number
        cmp     \register, r12
        bne     failed
.endm

.macro expect_flags value               // exactly these are set
        mrs     r12, apsr
        lsr     r12, r12, #28
        add     r11, r11, #1
        cmp     r12, #(\value)
        bne     failed
.endm

.macro expect_thumb register, value     // the same in Thumb
        movw    r12, #((\value) & 0xffff)
        movt    r12, #(((\value) >> 16) & 0xffff)
        add.w   r11, r11, #1
        cmp     \register, r12
        bne.w   failed_thumb
.endm

_start:
        mov     r10, sp
        mov     r11, #0

        // -- addition and subtraction with their flags
        mvn     r0, #0x80000000
        adds    r0, r0, #1
        expect_flags N+V
        expect  r0, 0x80000000
        mvn     r0, #0
        adds    r0, r0, #1
        expect_flags Z+C
        mov     r0, #5
        subs    r0, r0, #6
        expect_flags N
        expect  r0, 0xffffffff
        mov     r0, #6
        subs    r0, r0, #6
        expect_flags Z+C
        mov     r1, #0x80000000
        subs    r0, r1, #1
        expect_flags C+V
        cmn     r1, r1
        expect_flags Z+C+V
        mvn     r0, #0
        mov     r1, #1
        mov     r2, #7
        adds    r0, r0, r1              // 64-bit arithmetic in pairs
        adc     r2, r2, #3
        expect  r2, 11
        subs    r0, r0, #1
        sbc     r2, r2, #0
        expect  r2, 10
        rsb     r0, r1, #10
        expect  r0, 9
        cmp     r1, r1
        rsc     r0, r1, #10
        expect  r0, 9
        add     r0, r1, r1, lsl #4
        expect  r0, 17
        sub     r0, r0, r1, ror #31
        expect  r0, 15

        // -- logic, shifts and the shifter's carry
        movw    r0, #0xff00
        movw    r1, #0x0ff0
        and     r2, r0, r1
        expect  r2, 0x0f00
        orr     r2, r0, r1
        expect  r2, 0xfff0
        eor     r2, r0, r1
        expect  r2, 0xf0f0
        bic     r2, r0, r1
        expect  r2, 0xf000
        mvn     r2, r0
        expect  r2, 0xffff00ff
        mov     r0, #3
        movs    r2, r0, lsr #1
        expect_flags C
        mov     r0, #0x40000000
        movs    r2, r0, lsl #2
        expect_flags Z+C
        mov     r0, #1
        mov     r1, #32
        lsl     r2, r0, r1              // a count of 32 gives 0
        expect  r2, 0
        mov     r0, #0x80000000
        asr     r2, r0, #4
        expect  r2, 0xf8000000
        mov     r1, #36
        ror     r2, r0, r1              // modulo 32
        expect  r2, 0x08000000
        cmp     r0, r0
        rrx     r2, r0                  // the carry comes in at the top
        expect  r2, 0xc0000000
        teq     r0, r0
        moveq   r2, #5
        movne   r2, #6
        expect  r2, 5
        tst     r2, #4
        movne   r2, #7
        expect  r2, 7

        // -- conditions
        mov     r0, #0
        mvn     r1, #0
        cmp     r1, #1
        addlt   r0, r0, #1
        addhi   r0, r0, #2
        addgt   r0, r0, #4
        addls   r0, r0, #8
        addmi   r0, r0, #16
        addvs   r0, r0, #32
        addcs   r0, r0, #64
        expect  r0, 83
        mov     r0, #0
        mov     r1, #5
loop_again:
        add     r0, r0, r1
        subs    r1, r1, #1
        bne     loop_again
        expect  r0, 15

        // -- bit fields and bytes
        movw    r0, #0x5678
        movt    r0, #0x1234
        expect  r0, 0x12345678
        ubfx    r1, r0, #4, #8
        expect  r1, 0x67
        sbfx    r1, r0, #8, #4
        expect  r1, 6
        mov     r1, #0
        bfi     r1, r0, #8, #8
        expect  r1, 0x7800
        bfc     r0, #0, #4
        expect  r0, 0x12345670
        rev     r1, r0
        expect  r1, 0x70563412
        rev16   r1, r0
        expect  r1, 0x34127056
        revsh   r1, r0
        expect  r1, 0x7056
        rbit    r1, r0
        expect  r1, 0x0e6a2c48
        clz     r1, r0
        expect  r1, 3
        sxtb    r1, r0
        expect  r1, 0x70
        uxth    r1, r0, ror #8
        expect  r1, 0x3456
        uxtab   r1, r0, r0
        expect  r1, 0x123456e0
        pkhbt   r1, r0, r0, lsl #16
        expect  r1, 0x56705670

        // -- multiplication, division, saturation, parallel arithmetic
        mvn     r0, #2                  // -3
        mov     r1, #7
        mul     r2, r0, r1
        expect  r2, -21
        mla     r2, r0, r1, r1
        expect  r2, -14
        mls     r2, r0, r1, r1
        expect  r2, 28
        umull   r2, r3, r0, r1
        expect  r2, 0xffffffeb
        expect  r3, 6
        smull   r2, r3, r0, r1
        expect  r3, 0xffffffff
        umlal   r2, r3, r1, r1
        expect  r2, 28
        expect  r3, 0
        smulbb  r2, r0, r1
        expect  r2, -21
        smmul   r2, r0, r1
        expect  r2, -1
        mvn     r0, #21                 // -22
        sdiv    r2, r0, r1              // towards zero
        expect  r2, -3
        udiv    r2, r0, r1
        expect  r2, 613566753
        mov     r3, #0
        udiv    r2, r0, r3              // by zero gives zero
        expect  r2, 0
        mvn     r0, #0x80000000
        qadd    r2, r0, r1
        expect  r2, 0x7fffffff
        ssat    r2, #8, r0
        expect  r2, 127
        usat    r2, #4, r1
        expect  r2, 7
        movw    r0, #0x0102
        movt    r0, #0xff80
        uadd8   r2, r0, r0
        expect  r2, 0xfe000204
        sel     r2, r0, r1              // by the flags of each byte
        expect  r2, 0xff800007
        uqadd8  r2, r0, r0
        expect  r2, 0xffff0204
        usad8   r2, r0, r1
        expect  r2, 0xff + 0x80 + 1 + 5

        // -- memory
        ldr     r4, =table
        ldr     r0, [r4, #4]
        expect  r0, 0x22222222
        mov     r1, #3
        ldr     r0, [r4, r1, lsl #2]
        expect  r0, 0x44444444
        ldr     r0, [r4, #3]            // unaligned
        expect  r0, 0x22222211
        ldr     r0, [r4, #8]!           // before
        expect  r0, 0x33333333
        ldr     r0, [r4], #-8           // after
        ldr     r0, [r4], #4
        expect  r0, 0x11111111
        ldrb    r0, [r4, #-1]
        expect  r0, 0x11
        ldr     r5, =signed
        ldrsb   r0, [r5]
        expect  r0, -16
        ldrsh   r0, [r5]
        expect  r0, 0xffff80f0
        ldrh    r0, [r5]
        expect  r0, 0x80f0
        ldr     r4, =table
        ldmia   r4!, {r0, r1, r2}
        expect  r2, 0x33333333
        ldmdb   r4, {r0, r1}
        expect  r0, 0x22222222
        ldr     r5, =page
        add     r5, r5, #4096
        sub     r5, r5, #2
        movw    r0, #0x3344
        movt    r0, #0x1122
        str     r0, [r5]                // straddles two pages
        ldr     r1, [r5]
        expect  r1, 0x11223344
        strh    r0, [r5, #1]
        ldr     r1, [r5]
        expect  r1, 0x11334444
        add     r5, r5, #2
        stmdb   r5!, {r0, r1, r2, r3}
        ldr     r1, [r5, #8]
        expect  r1, 0x33333333
        strd    r0, r1, [r5, #16]
        ldrd    r2, r3, [r5, #16]
        expect  r3, 0x33333333

        // -- the stack and calls
        push    {r0, r1, r4, lr}
        pop     {r6, r7, r8, lr}
        expect  r7, 0x33333333
        bl      nested
        expect  r0, 77
        ldr     r1, =nested
        blx     r1
        expect  r0, 77
        sub     r0, sp, r10
        expect  r0, 0

        // -- exclusives, barriers, and the kernel's helpers
        ldr     r4, =word
        mov     r0, #40
        str     r0, [r4]
        ldrex   r1, [r4]
        add     r1, r1, #2
        strex   r2, r1, [r4]
        expect  r2, 0
        ldr     r1, [r4]
        expect  r1, 42
        ldrex   r1, [r4]
        clrex
        strex   r2, r1, [r4]            // the reservation is gone
        expect  r2, 1
        ldrexd  r0, r1, [r4]
        mov     r0, #9
        strexd  r2, r0, r1, [r4]
        expect  r2, 0
        dmb     ish
        dsb     sy
        isb
        movw    r3, #0x0ffc
        movt    r3, #0xffff
        ldr     r0, [r3]                // how many helpers there are
        cmp     r0, #5
        blo     failed
        mov     r0, #9
        mov     r1, #10
        mov     r2, r4
        movw    r3, #0x0fc0
        movt    r3, #0xffff
        blx     r3                      // cmpxchg(old, new, pointer)
        expect  r0, 0
        mov     r0, #9
        mov     r2, r4
        movw    r3, #0x0fc0
        movt    r3, #0xffff
        blx     r3                      // once more: no longer 9
        cmp     r0, #0
        beq     failed
        ldr     r1, [r4]
        expect  r1, 10
        ldr     r5, =pair
        mov     r0, r5                  // holds 1, 2
        ldr     r1, =table
        mov     r2, r5
        movw    r3, #0x0f60
        movt    r3, #0xffff
        blx     r3                      // cmpxchg64(pointer to old, pointer to new, pointer)
        expect  r0, 0
        ldr     r1, [r5, #4]
        expect  r1, 0x22222222
        movw    r3, #0x0fa0
        movt    r3, #0xffff
        blx     r3                      // memory barrier
        movw    r3, #0x0fe0
        movt    r3, #0xffff
        blx     r3                      // the thread pointer
        mrc     p15, #0, r1, c13, c0, #3
        sub     r0, r0, r1
        expect  r0, 0

        // -- VFP
        ldr     r4, =three
        vldr    d0, [r4]
        vldr    d1, [r4, #8]
        vldr    d2, [r4, #16]
        vadd.f64 d3, d0, d1
        vmov    r0, r1, d3
        expect  r1, 0x400c0000          // 3.5
        vmul.f64 d3, d3, d3
        vsqrt.f64 d3, d3
        vmov    r0, r1, d3
        expect  r1, 0x400c0000
        vdiv.f64 d3, d1, d0
        vmov    r0, r1, d3
        expect  r0, 0x55555555          // 1/6
        expect  r1, 0x3fc55555
        vmov.f64 d4, d1
        vmla.f64 d4, d0, d1
        vmov    r0, r1, d4
        expect  r1, 0x40000000
        vfma.f64 d4, d0, d1
        vmov    r0, r1, d4
        expect  r1, 0x400c0000
        vcmp.f64 d1, d0
        vmrs    apsr_nzcv, fpscr
        expect_flags N
        vcmp.f64 d0, d0
        vmrs    apsr_nzcv, fpscr
        expect_flags Z+C
        vsub.f64 d5, d0, d0
        vdiv.f64 d5, d5, d5
        vcmp.f64 d5, d5                 // not a number: unordered
        vmrs    apsr_nzcv, fpscr
        expect_flags C+V
        vcvt.s32.f64 s10, d2            // towards zero
        vmov    r0, s10
        expect  r0, -2
        vcvtr.s32.f64 s10, d2           // to the nearest, even
        vmov    r0, s10
        expect  r0, -2
        vcvt.f32.f64 s10, d2
        vmov    r0, s10
        expect  r0, 0xc0200000
        mvn     r0, #6
        vmov    s10, r0
        vcvt.f64.s32 d6, s10
        vneg.f64 d6, d6
        vmov    r0, r1, d6
        expect  r1, 0x401c0000
        vpush   {d0, d1}
        vpop    {d6, d7}
        vmov    r0, r1, d7
        expect  r1, 0x3fe00000

        // -- NEON
        ldr     r4, =table
        vld1.32 {d0, d1}, [r4]
        vadd.i32 q1, q0, q0
        vmov.32 r0, d2[0]
        expect  r0, 0x22222222
        vmov.32 r0, d3[1]
        expect  r0, 0x88888888
        mov     r0, #7
        vdup.8  q2, r0
        vmul.i16 q3, q2, q2
        vmov.u16 r0, d6[1]
        expect  r0, 0x6231
        vceq.i8 q3, q0, q0
        vmov.32 r0, d7[0]
        expect  r0, 0xffffffff
        vext.8  q3, q0, q1, #12
        vmov.32 r0, d6[1]
        expect  r0, 0x22222222
        vtbl.8  d6, {d0}, d4
        vmov.32 r0, d6[0]
        expect  r0, 0x22222222
        vqadd.u8 q3, q1, q1             // saturates
        vmov.u8 r0, d7[7]
        expect  r0, 0xff
        vcnt.8  d6, d4
        vmov.u8 r0, d6[0]
        expect  r0, 3
        vmov.f32 q3, #1.5
        vadd.f32 q3, q3, q3
        vmov.32 r0, d7[1]
        expect  r0, 0x40400000

        // -- Thumb, and back
        blx     thumb_part
        expect  r0, 123

        mov     r7, #4
        mov     r0, #1
        ldr     r1, =good
        mov     r2, #25
        svc     #0
        mov     r7, #248
        mov     r0, #0
        svc     #0

        .ltorg
nested:
        push    {r4, lr}
        mov     r0, #70
        bl      deeper
        pop     {r4, pc}
deeper:
        add     r0, r0, #7
        bx      lr

failed:                                 // r11: the assertion's number
        mov     r0, r11
        ldr     r1, =bad_end
        mov     r2, #10
bad_digit:
        udiv    r3, r0, r2
        mls     r4, r3, r2, r0
        add     r4, r4, #48
        strb    r4, [r1, #-1]!
        movs    r0, r3
        bne     bad_digit
        mov     r7, #4
        mov     r0, #2
        ldr     r1, =bad
        mov     r2, #22
        svc     #0
        mov     r7, #248
        mov     r0, r11
        svc     #0
        .ltorg

        .thumb
        .p2align 2
thumb_part:
        push    {r4, r5, lr}
        movs    r0, #200
        adds    r0, #100
        expect_thumb r0, 300
        lsls    r1, r0, #4
        expect_thumb r1, 4800
        cmp     r0, r1
        ite     lo
        movlo   r2, #1
        movhs   r2, #2
        expect_thumb r2, 1
        cmp     r0, r0
        ittte   eq
        moveq   r2, #10
        addeq   r2, r2, #5
        addeq   r2, r2, r2
        movne   r2, #99
        expect_thumb r2, 30
        movs    r3, #0
        cbz     r3, thumb_zero
        b       failed_thumb
thumb_zero:
        tbb     [pc, r3]
        .byte   (thumb_first - . ) / 2, 0
thumb_first:
        ldr     r4, =table
        ldr.w   r5, [r4, #4]
        expect_thumb r5, 0x22222222
        cmp     r3, #0
        it      eq
        ldreq   r5, [r4, #12]           // a load within an IT block
        expect_thumb r5, 0x44444444
        cmp     r3, #0
        itt     eq
        streq   r3, [r4]
        ldreq   r5, [r4]
        expect_thumb r5, 0
        blx     thumb_to_arm
        expect_thumb r0, 55
        movs    r0, #123
        pop     {r4, r5, pc}
failed_thumb:
        ldr     r0, =failed
        bx      r0
        .ltorg
        .p2align 2
        .arm
thumb_to_arm:
        mov     r0, #55
        bx      lr

good:
        .ascii  "arm: all assertions hold\n"

# data
table:
        .long   0x11111111, 0x22222222, 0x33333333, 0x44444444
pair:
        .long   1, 2
        .p2align 3
word:
        .quad   0
three:
        .double 3.0, 0.5, -2.5
signed:
        .long   0x800080f0
bad:
        .ascii  "failed: assertion    "
bad_end:
        .ascii  "\n"
        .p2align 12
page:
        .space  8192
