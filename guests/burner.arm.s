# arch: arm
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
        mov     r3, #0                  // r3:r2: turns left; 0 wraps round: for ever
        ldr     r4, =2463534242         // the state; never 0
        ldr     r5, =iterations
turn:
        eor     r4, r4, r4, lsl #13
        eor     r4, r4, r4, lsr #17
        eor     r4, r4, r4, lsl #5
        ldrd    r0, r1, [r5]
        adds    r0, r0, #1
        adc     r1, r1, #0
        strd    r0, r1, [r5]
        subs    r2, r2, #1
        sbc     r3, r3, #0
        orrs    r0, r2, r3
        bne     turn
turn_end:
        mov     r0, r4
        bl      print_number
        mov     r7, #248
        mov     r0, #0
        svc     #0

parse_argument:                         // the first argument as a number in r2; 0 when there is none
        mov     r2, #0
        ldr     r0, [sp]
        cmp     r0, #2
        bxlo    lr
        ldr     r1, [sp, #8]
        mov     r3, #10
parse:
        ldrb    r0, [r1], #1
        sub     r0, r0, #48
        cmp     r0, #9
        bxhi    lr
        mla     r2, r2, r3, r0
        b       parse

print_number:                           // r0: the number; a newline follows
        sub     sp, sp, #40
        add     r1, sp, #31
        mov     r2, #10
        strb    r2, [r1]
        mov     r3, #10
digit:
        udiv    r2, r0, r3
        mls     r7, r2, r3, r0
        add     r7, r7, #48
        strb    r7, [r1, #-1]!
        movs    r0, r2
        bne     digit
        add     r2, sp, #32
        sub     r2, r2, r1
        mov     r7, #4
        mov     r0, #1
        svc     #0
        add     sp, sp, #40
        bx      lr

# data
iterations:
        .quad   0
