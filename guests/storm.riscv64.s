# arch: riscv64
# purpose: Calls getppid again and again: what a system call costs. Counts in the word at the symbol `calls`.
# args: the number of calls; none or 0: for ever
# stdin: not read
# stdout: the number of calls
# status: 0
# test: args="1" stdout="1\n"
# test: args="1000" stdout="1000\n"
# test: endless

_start:
        call    parse_argument
        mv      s0, a2
        la      s1, calls
storm:
        li      a7, 173                 // getppid()
        ecall
        ld      a0, 0(s1)
        addi    a0, a0, 1
        sd      a0, 0(s1)
        addi    s0, s0, -1
        bnez    s0, storm
        call    print_number
        li      a7, 94
        li      a0, 0
        ecall

parse_argument:                         // the first argument as a number in a2; 0 when there is none
        li      a2, 0
        ld      t0, 0(sp)
        li      t1, 2
        bltu    t0, t1, parsed
        ld      a1, 16(sp)
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

print_number:                           // a0: the number; a newline follows
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
        addi    a2, sp, 48
        sub     a2, a2, a1
        li      a7, 64
        li      a0, 1
        ecall
        addi    sp, sp, 48
        ret

# data
calls:
        .quad   0
