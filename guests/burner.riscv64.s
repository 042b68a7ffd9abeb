# arch: riscv64
# purpose: Burns CPU and counts what it got: each turn advances a xorshift generator and adds 1 to the 64-bit
#     word at the symbol `iterations`. A turn is the one block between the symbols `turn` and `turn_end`, so the
#     code bytes it was given are iterations * (turn_end - turn), but for the turn under way.
# args: the number of turns; none or 0: for ever
# stdin: not read
# stdout: the generator's last state
# status: 0
# test: args="1" stdout="723471715\n"
# test: args="100000" stdout="196514455\n"
# test: endless

_start:
        call    parse_argument
        li      a3, 2463534242          // the state; never 0
        la      a4, iterations
turn:
        slliw   t0, a3, 13
        xor     a3, a3, t0
        srliw   t0, a3, 17
        xor     a3, a3, t0
        slliw   t0, a3, 5
        xor     a3, a3, t0
        ld      t0, 0(a4)
        addi    t0, t0, 1
        sd      t0, 0(a4)
        addi    a2, a2, -1
        bnez    a2, turn
turn_end:
        slli    a0, a3, 32
        srli    a0, a0, 32
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
iterations:
        .quad   0
