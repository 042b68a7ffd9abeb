# arch: riscv64
# purpose: Prints its arguments; shows where the kernel puts them.
# args: any number
# stdin: not read
# stdout: the arguments, separated by blanks, and a newline
# status: 0
# test: stdout="\n"
# test: args="one" stdout="one\n"
# test: args="one 'two  blanks' '' four" stdout="one two  blanks  four\n"

_start:
        ld      s0, 0(sp)               // argc
        addi    s1, sp, 8               // argv
        li      s2, 1                   // index of the argument
next:
        bgeu    s2, s0, end
        li      t0, 1
        beq     s2, t0, first
        la      a1, blank
        li      a2, 1
        call    write
first:
        slli    t0, s2, 3
        add     t0, s1, t0
        ld      a1, 0(t0)
        mv      t0, a1
length:
        lbu     t1, 0(t0)
        beqz    t1, counted
        addi    t0, t0, 1
        j       length
counted:
        sub     a2, t0, a1
        call    write
        addi    s2, s2, 1
        j       next
end:
        la      a1, newline
        li      a2, 1
        call    write
        li      a7, 94
        li      a0, 0
        ecall

write:                                  // a1: bytes, a2: how many
        li      a7, 64
        li      a0, 1
        ecall
        ret

blank:
        .ascii  " "
newline:
        .ascii  "\n"
