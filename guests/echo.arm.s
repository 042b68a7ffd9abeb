# arch: arm
# purpose: Prints its arguments; shows where the kernel puts them.
# args: any number
# stdin: not read
# stdout: the arguments, separated by blanks, and a newline
# status: 0
# test: stdout="\n"
# test: args="one" stdout="one\n"
# test: args="one 'two  blanks' '' four" stdout="one two  blanks  four\n"

_start:
        ldr     r4, [sp]                // argc
        add     r5, sp, #4              // argv
        mov     r6, #1                  // index of the argument
next:
        cmp     r6, r4
        bhs     end
        cmp     r6, #1
        beq     first
        adr     r1, blank
        mov     r2, #1
        bl      write
first:
        ldr     r1, [r5, r6, lsl #2]
        mov     r2, #0
length:
        ldrb    r3, [r1, r2]
        cmp     r3, #0
        addne   r2, r2, #1
        bne     length
        bl      write
        add     r6, r6, #1
        b       next
end:
        adr     r1, newline
        mov     r2, #1
        bl      write
        mov     r7, #248
        mov     r0, #0
        svc     #0

write:                                  // r1: bytes, r2: how many
        mov     r7, #4
        mov     r0, #1
        svc     #0
        bx      lr

        .p2align 2
blank:
        .ascii  " "
        .p2align 2
newline:
        .ascii  "\n"
