# arch: riscv64
# purpose: Checks the CPU: integers, shifts, comparisons, multiplication, division, addressing, calls, branches, atomics,
#     floating point and compressed instructions, in RV64GC. The first assertion that fails ends it.
# args: none
# stdin: not read
# stdout: one line when all is well
# status: 0; the number of the assertion that failed, which is also printed on stderr
# test: stdout="riscv64: all assertions hold\n"

.macro expect register, value           // the register holds the value
        addi    s11, s11, 1             // the assertion's number
        li      t6, \value
        beq     \register, t6, passed\@
        j       failed
passed\@:
.endm

_start:
        mv      s10, sp
        li      s11, 0

        // -- integers
        li      a0, -1
        addi    a1, a0, 1
        expect  a1, 0
        addiw   a1, a0, 0
        expect  a1, -1
        li      a0, 0x7fffffff
        addiw   a1, a0, 1               // a 32-bit result is sign-extended
        expect  a1, -0x80000000
        addi    a1, a0, 1
        expect  a1, 0x80000000
        li      a0, 5
        li      a1, 6
        sub     a2, a0, a1
        expect  a2, -1
        subw    a2, a1, a0
        expect  a2, 1
        lui     a0, 0x80000
        expect  a0, -0x80000000
        auipc   a0, 0
here:   auipc   a1, 0
        sub     a1, a1, a0
        expect  a1, 4
        li      a0, 0xff00
        li      a1, 0x0ff0
        and     a2, a0, a1
        expect  a2, 0x0f00
        or      a2, a0, a1
        expect  a2, 0xfff0
        xor     a2, a0, a1
        expect  a2, 0xf0f0
        andi    a2, a0, -256
        expect  a2, 0xff00
        ori     a2, a0, 0xf
        expect  a2, 0xff0f
        xori    a2, a0, -1
        expect  a2, -0xff01
        not     a2, a0
        expect  a2, -0xff01
        neg     a2, a0
        expect  a2, -0xff00
        addi    zero, a0, 5             // x0 stays 0
        expect  zero, 0
        li      a0, 0x123456789abcdef0
        expect  a0, 0x123456789abcdef0
        sext.w  a1, a0
        expect  a1, -0x65432110

        // -- shifts
        li      a0, 1
        li      a1, 65
        sll     a2, a0, a1              // modulo 64
        expect  a2, 2
        li      a1, 33
        sllw    a2, a0, a1              // modulo 32
        expect  a2, 2
        sll     a2, a0, a1
        expect  a2, 0x200000000
        li      a0, -8
        srai    a2, a0, 2
        expect  a2, -2
        srli    a2, a0, 60
        expect  a2, 15
        srliw   a2, a0, 4
        expect  a2, 0x0fffffff
        sraiw   a2, a0, 1
        expect  a2, -4
        slli    a2, a0, 32
        expect  a2, -0x800000000
        slliw   a2, a0, 28
        expect  a2, -0x80000000
        li      a1, 36
        srl     a2, a0, a1
        expect  a2, 0x0fffffff
        sra     a2, a0, a1
        expect  a2, -1
        srlw    a2, a0, a1
        expect  a2, 0x0fffffff
        sraw    a2, a0, a1
        expect  a2, -1

        // -- comparisons and branches
        li      a0, -1
        li      a1, 1
        slt     a2, a0, a1
        expect  a2, 1
        sltu    a2, a0, a1
        expect  a2, 0
        slti    a2, a0, 0
        expect  a2, 1
        sltiu   a2, a1, -1              // the immediate is sign-extended, then unsigned
        expect  a2, 1
        seqz    a2, zero
        expect  a2, 1
        snez    a2, a0
        expect  a2, 1
        li      a3, 0
        blt     a0, a1, less
        j       failed
less:   bltu    a1, a0, less_unsigned
        j       failed
less_unsigned:
        bge     a1, a0, greater
        j       failed
greater:
        bgeu    a0, a1, greater_unsigned
        j       failed
greater_unsigned:
        beq     a0, a1, to_failed
        bne     a0, a0, to_failed
        blt     a1, a1, to_failed
        li      a2, 0
        li      a3, 5
loop_again:
        add     a2, a2, a3
        addi    a3, a3, -1
        bnez    a3, loop_again
        expect  a2, 15

        // -- multiplication and division
        li      a0, -3
        li      a1, 7
        mul     a2, a0, a1
        expect  a2, -21
        mulh    a2, a0, a1
        expect  a2, -1
        mulhu   a2, a0, a1
        expect  a2, 6
        mulhsu  a2, a0, a1
        expect  a2, -1
        mulhsu  a2, a1, a0
        expect  a2, 6
        li      a2, 0x10000
        mulw    a2, a2, a2
        expect  a2, 0
        li      a0, -22
        div     a2, a0, a1              // towards zero
        expect  a2, -3
        rem     a2, a0, a1
        expect  a2, -1
        divu    a2, a0, a1
        expect  a2, 2635249153387078799
        remu    a2, a0, a1
        expect  a2, 1
        divw    a2, a0, a1
        expect  a2, -3
        divuw   a2, a0, a1
        expect  a2, 613566753
        remw    a2, a0, a1
        expect  a2, -1
        remuw   a2, a0, a1
        expect  a2, 3
        div     a2, a0, zero            // by zero: all ones, and the dividend remains
        expect  a2, -1
        rem     a2, a0, zero
        expect  a2, -22
        li      a0, -0x8000000000000000
        li      a1, -1
        div     a2, a0, a1              // the one that overflows
        expect  a2, -0x8000000000000000
        rem     a2, a0, a1
        expect  a2, 0

        // -- memory
        la      s0, table
        ld      a0, 8(s0)
        expect  a0, 0x2222222222222222
        ld      a0, 5(s0)               // unaligned
        expect  a0, 0x2222222222111111
        lw      a0, 0(s0)
        expect  a0, 0x11111111
        la      s1, signed
        lb      a0, 0(s1)
        expect  a0, -16
        lbu     a0, 0(s1)
        expect  a0, 0xf0
        lh      a0, 0(s1)
        expect  a0, -0x7f10
        lhu     a0, 0(s1)
        expect  a0, 0x80f0
        lw      a0, 0(s1)
        expect  a0, -0x7fff7f10
        lwu     a0, 0(s1)
        expect  a0, 0x800080f0
        la      s2, page
        li      t0, 4092
        add     s2, s2, t0
        li      a0, 0x1122334455667788
        sd      a0, 0(s2)               // straddles two pages
        ld      a1, 0(s2)
        expect  a1, 0x1122334455667788
        lbu     a1, 4(s2)
        expect  a1, 0x44
        sh      a0, 3(s2)
        ld      a1, 0(s2)
        expect  a1, 0x1122337788667788
        sb      zero, 0(s2)
        sw      a0, 4(s2)
        ld      a1, 0(s2)
        expect  a1, 0x5566778888667700

        // -- the stack and calls
        addi    sp, sp, -16
        sd      a1, 8(sp)
        ld      a2, 8(sp)
        addi    sp, sp, 16
        expect  a2, 0x5566778888667700
        call    nested
        expect  a0, 77
        la      t0, nested
        jalr    t0
        expect  a0, 77
        la      t0, jumped
        jr      t0
        j       failed
jumped:
        sub     a0, sp, s10
        expect  a0, 0

        // -- atomics
        la      s3, word
        li      a0, 40
        sd      a0, 0(s3)
        li      a1, 2
        amoadd.d a2, a1, (s3)
        expect  a2, 40
        ld      a2, 0(s3)
        expect  a2, 42
        amoswap.d a2, a0, (s3)
        expect  a2, 42
        amoor.d a2, a1, (s3)
        amoand.d a2, a1, (s3)
        expect  a2, 42
        amoxor.d a2, a0, (s3)
        expect  a2, 2
        li      a1, -5
        amomax.d a2, a1, (s3)
        expect  a2, 42
        amomin.d a2, a1, (s3)
        expect  a2, 42
        amomaxu.d a2, a0, (s3)
        expect  a2, -5
        amominu.d a2, a0, (s3)
        expect  a2, -5
        ld      a2, 0(s3)
        expect  a2, 40
        li      a1, 0x7fffffff
        sw      a1, 0(s3)
        li      a1, 1
        amoadd.w.aqrl a2, a1, (s3)
        expect  a2, 0x7fffffff
        lw      a2, 0(s3)
        expect  a2, -0x80000000
        lr.d    a2, (s3)
        li      a2, 7
        sc.d    a3, a2, (s3)
        expect  a3, 0
        ld      a2, 0(s3)
        expect  a2, 7
        sc.d    a3, a2, (s3)            // the reservation is gone
        snez    a3, a3
        expect  a3, 1
        lr.w    a2, (s3)
        addi    a2, a2, 1
        sc.w    a3, a2, (s3)
        expect  a3, 0
        fence
        fence.i

        // -- floating point
        la      t0, constants
        fld     fa0, 0(t0)              // 3
        fld     fa1, 8(t0)              // 0.5
        fld     fa2, 16(t0)             // -2.5
        fadd.d  ft0, fa0, fa1
        fmv.x.d a0, ft0
        expect  a0, 0x400c000000000000  // 3.5
        fmul.d  ft0, ft0, ft0
        fmv.x.d a0, ft0
        expect  a0, 0x4028800000000000  // 12.25
        fsqrt.d ft0, ft0
        fmv.x.d a0, ft0
        expect  a0, 0x400c000000000000
        fdiv.d  ft0, fa1, fa0
        fmv.x.d a0, ft0
        expect  a0, 0x3fc5555555555555  // 1/6
        fsub.d  ft0, fa1, fa0
        fmv.x.d a0, ft0
        expect  a0, -0x3ffc000000000000
        fmadd.d ft0, fa0, fa1, fa1
        fmv.x.d a0, ft0
        expect  a0, 0x4000000000000000
        fnmsub.d ft0, fa0, fa1, fa1
        fmv.x.d a0, ft0
        expect  a0, -0x4010000000000000
        flt.d   a0, fa1, fa0
        expect  a0, 1
        fle.d   a0, fa0, fa1
        expect  a0, 0
        feq.d   a0, fa0, fa0
        expect  a0, 1
        fmv.d.x ft1, zero
        fdiv.d  ft1, ft1, ft1
        feq.d   a0, ft1, ft1            // not a number
        expect  a0, 0
        fclass.d a0, ft1
        expect  a0, 512
        fcvt.l.d a0, fa2, rtz
        expect  a0, -2
        fcvt.l.d a0, fa2, rne
        expect  a0, -2
        fcvt.l.d a0, fa2, rdn
        expect  a0, -3
        fcvt.wu.d a0, fa2, rtz          // saturates
        expect  a0, 0
        li      a1, -7
        fcvt.d.l ft0, a1
        fmv.x.d a0, ft0
        expect  a0, -0x3fe4000000000000
        fcvt.s.d ft0, fa2
        fmv.x.w a0, ft0
        expect  a0, -0x3fe00000
        fcvt.d.s ft0, ft0
        fmv.x.d a0, ft0
        expect  a0, -0x3ffc000000000000
        fsgnjn.d ft0, fa0, fa0
        fmv.x.d a0, ft0
        expect  a0, -0x3ff8000000000000
        fsgnjx.d ft0, ft0, ft0
        fmv.x.d a0, ft0
        expect  a0, 0x4008000000000000
        fmin.d  ft0, fa0, fa2
        fmv.x.d a0, ft0
        expect  a0, -0x3ffc000000000000
        fmax.d  ft0, fa0, fa2
        fmv.x.d a0, ft0
        expect  a0, 0x4008000000000000
        fsd     fa2, 0(s3)
        ld      a0, 0(s3)
        expect  a0, -0x3ffc000000000000
        csrwi   fflags, 0
        fdiv.d  ft0, fa0, fa1
        csrr    a0, fflags
        expect  a0, 0                   // exact
        fdiv.d  ft0, fa1, fa0
        csrr    a0, fflags
        expect  a0, 1                   // inexact
        fmv.d.x ft1, zero
        fdiv.d  ft0, fa0, ft1
        csrr    a0, fflags
        expect  a0, 9                   // and divided by zero

        // -- compressed instructions
        .option push
        .option rvc
        c.li    a0, 5
        c.addi  a0, 3
        expect  a0, 8
        c.slli  a0, 2
        expect  a0, 32
        c.srli  a0, 1
        c.mv    a1, a0
        c.add   a1, a0
        expect  a1, 32
        c.sub   a1, a0
        c.andi  a1, 0x18
        expect  a1, 16
        c.addi16sp sp, -32
        c.sdsp  a1, 8(sp)
        c.ldsp  a2, 8(sp)
        c.addi16sp sp, 32
        expect  a2, 16
        c.lui   a0, 1
        expect  a0, 4096
        mv      a0, s0
        c.ld    a1, 8(a0)
        expect  a1, 0x2222222222222222
        c.lw    a1, 16(a0)
        expect  a1, 0x33333333
        .option pop

        li      a7, 64
        li      a0, 1
        la      a1, good
        la      a2, good_end
        sub     a2, a2, a1
        ecall
        li      a7, 94
        li      a0, 0
        ecall

to_failed:
        j       failed
nested:
        addi    sp, sp, -16
        sd      ra, 0(sp)
        li      a0, 70
        call    deeper
        ld      ra, 0(sp)
        addi    sp, sp, 16
        ret
deeper:
        addi    a0, a0, 7
        ret

failed:                                 // s11: the assertion's number
        mv      a0, s11
        la      a1, bad_end
        li      t0, 10
bad_digit:
        remu    t1, a0, t0
        divu    a0, a0, t0
        addi    t1, t1, 48
        addi    a1, a1, -1
        sb      t1, 0(a1)
        bnez    a0, bad_digit
        li      a7, 64
        li      a0, 2
        la      a1, bad
        li      a2, 22
        ecall
        li      a7, 94
        mv      a0, s11
        ecall

good:
        .ascii  "riscv64: all assertions hold\n"
good_end:
        .p2align 3
constants:
        .double 3.0, 0.5, -2.5

# data
table:
        .quad   0x1111111111111111, 0x2222222222222222, 0x3333333333333333, 0x4444444444444444
word:
        .quad   0
signed:
        .word   0x800080f0
bad:
        .ascii  "failed: assertion    "
bad_end:
        .ascii  "\n"
        .p2align 12
page:
        .space  8192
