# arch: arm
# purpose: Prints a line, works for a while, prints the next: a console that moves.
# args: how many lines (none or 0: for ever), then how many turns of work between them (default 1000000)
# stdin: not read
# stdout: the lines "count N", from 1 on
# status: 0
# test: args="3 10" stdout="count 1\ncount 2\ncount 3\n"
# test: args="1" stdout="count 1\n"
# test: endless

_start:
        mov     r4, #0                  // lines left; 0 wraps round: for ever
        ldr     r5, =1000000            // turns
        ldr     r6, [sp]                // argc
        cmp     r6, #2
        blo     ready
        ldr     r1, [sp, #8]
        bl      parse_number
        mov     r4, r2
        cmp     r6, #3
        blo     ready
        ldr     r1, [sp, #12]
        bl      parse_number
        mov     r5, r2
ready:
        mov     r6, #0                  // the count
line:
        add     r6, r6, #1
        mov     r0, r6
        bl      print_line
        subs    r4, r4, #1
        beq     done
        add     r0, r5, #1
work:
        subs    r0, r0, #1
        bne     work
        b       line
done:
        mov     r7, #248
        mov     r0, #0
        svc     #0

parse_number:                           // r1: text; the number in r2
        mov     r2, #0
        mov     r3, #10
parse:
        ldrb    r0, [r1], #1
        sub     r0, r0, #48
        cmp     r0, #9
        bxhi    lr
        mla     r2, r2, r3, r0
        b       parse

print_line:                             // r0: the number; one write, so that lines stay whole
        sub     sp, sp, #40
        add     r1, sp, #39
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
        ldr     r2, =0x6e756f63
        ldr     r3, =0x2074
        sub     r1, r1, #6
        str     r2, [r1]
        strh    r3, [r1, #4]
        add     r2, sp, #40
        sub     r2, r2, r1
        mov     r7, #4
        mov     r0, #1
        svc     #0
        add     sp, sp, #40
        bx      lr
