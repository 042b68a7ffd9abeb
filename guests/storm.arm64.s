# arch: arm64
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
        mov     x19, x2
        adr     x20, calls
storm:
        mov     x8, #173                // getppid()
        svc     #0
        ldr     x0, [x20]
        add     x0, x0, #1
        str     x0, [x20]
        subs    x19, x19, #1
        b.ne    storm
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
calls:
        .quad   0
