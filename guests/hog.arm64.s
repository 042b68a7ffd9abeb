# arch: arm64
# purpose: Takes memory with mmap, 1 MiB at a time, and writes to every page of it, until it is refused.
# args: how many MiB to take at most; none or 0: until the kernel says no
# stdin: not read
# stdout: how many MiB it got
# status: 0
# test: args="4" stdout="4 MiB\n"
# test: memory="16M" stdout~"1?[0-9] MiB\n"

        .equ    CHUNK, 0x100000

_start:
        bl      parse_argument
        mov     x19, x2
        mov     x20, #0                 // MiB taken
        mov     x21, #CHUNK
take:
        mov     x8, #222                // mmap(0, CHUNK, read write, private anonymous, -1, 0)
        mov     x0, #0
        mov     x1, x21
        mov     x2, #3
        mov     x3, #0x22
        mov     x4, #-1
        mov     x5, #0
        svc     #0
        cmn     x0, #4095
        b.hs    print
        add     x1, x0, x21
touch:
        str     x0, [x0]
        add     x0, x0, #4096
        cmp     x0, x1
        b.lo    touch
        add     x20, x20, #1
        cmp     x20, x19
        b.ne    take
print:
        mov     x0, x20
        bl      print_number
        mov     x8, #64
        mov     x0, #1
        adr     x1, unit
        mov     x2, #5
        svc     #0
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

print_number:                           // x0: the number
        sub     sp, sp, #48
        add     x1, sp, #48
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

unit:
        .ascii  " MiB\n"
