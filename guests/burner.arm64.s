# arch: arm64
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
        bl      parse_argument
        ldr     w3, =2463534242         // the state; never 0
        adr     x4, iterations
turn:
        eor     w3, w3, w3, lsl #13
        eor     w3, w3, w3, lsr #17
        eor     w3, w3, w3, lsl #5
        ldr     x5, [x4]
        add     x5, x5, #1
        str     x5, [x4]
        subs    x2, x2, #1
        b.ne    turn
turn_end:
        mov     w0, w3
        bl      print_number
        mov     x8, #94
        mov     x0, #0
        svc     #0

parse_argument:                         // the first argument as a number in x2; 0 when there is none
        mov     x2, #0
        ldr     x0, [sp]
        cmp     x0, #2
        b.lo    parsed
        ldr     x1, [sp, #16]
        mov     x3, #10
parse:
        ldrb    w0, [x1], #1
        sub     w0, w0, #48
        cmp     w0, #9
        b.hi    parsed
        madd    x2, x2, x3, x0
        b       parse
parsed:
        ret

print_number:                           // x0: the number; a newline follows
        sub     sp, sp, #48
        add     x1, sp, #47
        mov     w2, #10
        strb    w2, [x1]
        mov     x3, #10
digit:
        udiv    x4, x0, x3
        msub    x5, x4, x3, x0
        add     w5, w5, #48
        strb    w5, [x1, #-1]!
        mov     x0, x4
        cbnz    x0, digit
        add     x2, sp, #48
        sub     x2, x2, x1
        mov     x8, #64
        mov     x0, #1
        svc     #0
        add     sp, sp, #48
        ret

# data
iterations:
        .quad   0
