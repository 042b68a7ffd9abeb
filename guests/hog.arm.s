# arch: arm
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
        mov     r8, r2
        mov     r9, #0                  // MiB taken
take:
        mov     r7, #192                // mmap2(0, CHUNK, read write, private anonymous, -1, 0)
        mov     r0, #0
        mov     r1, #CHUNK
        mov     r2, #3
        mov     r3, #0x22
        mvn     r4, #0
        mov     r5, #0
        svc     #0
        cmn     r0, #4096
        bhi     print
        add     r1, r0, #CHUNK
touch:
        str     r0, [r0]
        add     r0, r0, #4096
        cmp     r0, r1
        blo     touch
        add     r9, r9, #1
        cmp     r9, r8
        bne     take
print:
        mov     r0, r9
        bl      print_number
        mov     r7, #4
        mov     r0, #1
        adr     r1, unit
        mov     r2, #5
        svc     #0
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

print_number:                           // r0: the number
        sub     sp, sp, #40
        add     r1, sp, #32
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

unit:
        .ascii  " MiB\n"
