# arch: arm64
# purpose: Prints a line, works for a while, prints the next: a console that moves.
# args: how many lines (none or 0: for ever), then how many turns of work between them (default 1000000)
# stdin: not read
# stdout: the lines "count N", from 1 on
# status: 0
# test: args="3 10" stdout="count 1\ncount 2\ncount 3\n"
# test: args="1" stdout="count 1\n"
# test: endless

_start:
        mov     x19, #0                 // lines left; 0 wraps round: for ever
        ldr     x20, =1000000           // turns
        ldr     x22, [sp]               // argc
        add     x23, sp, #8             // argv
        cmp     x22, #2
        b.lo    ready
        ldr     x1, [x23, #8]
        bl      parse_number
        mov     x19, x2
        cmp     x22, #3
        b.lo    ready
        ldr     x1, [x23, #16]
        bl      parse_number
        mov     x20, x2
ready:
        mov     x21, #0                 // the count
line:
        add     x21, x21, #1
        mov     x0, x21
        bl      print_line
        subs    x19, x19, #1
        b.eq    done
        add     x0, x20, #1
work:
        subs    x0, x0, #1
        b.ne    work
        b       line
done:
        mov     x8, #94
        mov     x0, #0
        svc     #0

parse_number:                           // x1: text; the number in x2
        mov     x2, #0
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

print_line:                             // x0: the number; one write, so that lines stay whole
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
        ldr     w2, =0x6e756f63
        ldr     w3, =0x2074
        str     w2, [x1, #-6]!
        strh    w3, [x1, #4]
        add     x2, sp, #48
        sub     x2, x2, x1
        mov     x8, #64
        mov     x0, #1
        svc     #0
        add     sp, sp, #48
        ret
