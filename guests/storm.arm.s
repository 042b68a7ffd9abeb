# arch: arm
# purpose: Calls getppid again and again: what a system call costs. Counts in the word at the symbol `calls`.
# args: the number of calls; none or 0: for ever
# stdin: not read
# stdout: the number of calls
# status: 0
# test: args="1" stdout="1\n"
# test: args="1000" stdout="1000\n"
# test: endless

_start:
        bl      parse_argument
        mov     r4, r2                  // r5:r4: calls left; 0 wraps round: for ever
        mov     r5, #0
        ldr     r6, =calls
storm:
        mov     r7, #64                 // getppid()
        svc     #0
        ldrd    r0, r1, [r6]
        adds    r0, r0, #1
        adc     r1, r1, #0
        strd    r0, r1, [r6]
        subs    r4, r4, #1
        sbc     r5, r5, #0
        orrs    r2, r4, r5
        bne     storm
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
calls:
        .quad   0
