# arch: riscv64
# purpose: Prints a line, works for a while, prints the next: a console that moves.
# args: how many lines (none or 0: for ever), then how many turns of work between them (default 1000000)
# stdin: not read
# stdout: the lines "count N", from 1 on
# status: 0
# test: args="3 10" stdout="count 1\ncount 2\ncount 3\n"
# test: args="1" stdout="count 1\n"
# test: endless

_start:
        li      s0, 0                   // lines left; 0 wraps round: for ever
        li      s1, 1000000             // turns
        ld      s2, 0(sp)               // argc
        li      t0, 2
        bltu    s2, t0, ready
        ld      a1, 16(sp)
        call    parse_number
        mv      s0, a2
        li      t0, 3
        bltu    s2, t0, ready
        ld      a1, 24(sp)
        call    parse_number
        mv      s1, a2
ready:
        li      s3, 0                   // the count
line:
        addi    s3, s3, 1
        mv      a0, s3
        call    print_line
        addi    s0, s0, -1
        beqz    s0, done
        addi    t0, s1, 1
work:
        addi    t0, t0, -1
        bnez    t0, work
        j       line
done:
        li      a7, 94
        li      a0, 0
        ecall

parse_number:                           // a1: text; the number in a2
        li      a2, 0
        li      t1, 10
parse:
        lbu     t0, 0(a1)
        addi    t0, t0, -48
        bgeu    t0, t1, parsed
        mul     a2, a2, t1
        add     a2, a2, t0
        addi    a1, a1, 1
        j       parse
parsed:
        ret

print_line:                             // a0: the number; one write, so that lines stay whole
        addi    sp, sp, -48
        addi    a1, sp, 47
        li      t1, 10
        sb      t1, 0(a1)
        li      t0, 10
digit:
        remu    t1, a0, t0
        divu    a0, a0, t0
        addi    t1, t1, 48
        addi    a1, a1, -1
        sb      t1, 0(a1)
        bnez    a0, digit
        la      t0, word
        li      t1, 6
prefix:                                 // "count " before the number, from its last byte on
        addi    t1, t1, -1
        add     t2, t0, t1
        lbu     t3, 0(t2)
        addi    a1, a1, -1
        sb      t3, 0(a1)
        bnez    t1, prefix
        addi    a2, sp, 48
        sub     a2, a2, a1
        li      a7, 64
        li      a0, 1
        ecall
        addi    sp, sp, 48
        ret

word:
        .ascii  "count "
