# arch: riscv64
# purpose: Takes memory with mmap, 1 MiB at a time, and writes to every page of it, until it is refused.
# args: how many MiB to take at most; none or 0: until the kernel says no
# stdin: not read
# stdout: how many MiB it got
# status: 0
# test: args="4" stdout="4 MiB\n"
# test: memory="16M" stdout~"1?[0-9] MiB\n"

        .equ    CHUNK, 0x100000

_start:
        call    parse_argument
        mv      s0, a2
        li      s1, 0                   // MiB taken
        li      s2, CHUNK
take:
        li      a7, 222                 // mmap(0, CHUNK, read write, private anonymous, -1, 0)
        li      a0, 0
        mv      a1, s2
        li      a2, 3
        li      a3, 0x22
        li      a4, -1
        li      a5, 0
        ecall
        li      t0, -4095
        bgeu    a0, t0, print
        add     a1, a0, s2
        li      t0, 4096
touch:
        sd      a0, 0(a0)
        add     a0, a0, t0
        bltu    a0, a1, touch
        addi    s1, s1, 1
        bne     s1, s0, take
print:
        mv      a0, s1
        call    print_number
        li      a7, 64
        li      a0, 1
        la      a1, unit
        li      a2, 5
        ecall
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

print_number:                           // a0: the number
        addi    sp, sp, -48
        addi    a1, sp, 48
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

unit:
        .ascii  " MiB\n"
