# arch: arm64
# purpose: Prints its arguments; shows where the kernel puts them.
# args: any number
# stdin: not read
# stdout: the arguments, separated by blanks, and a newline
# status: 0
# test: stdout="\n"
# test: args="one" stdout="one\n"
# test: args="one 'two  blanks' '' four" stdout="one two  blanks  four\n"

_start:
        ldr     x19, [sp]               // argc
        add     x20, sp, #8             // argv
        mov     x21, #1                 // index of the argument
next:
        cmp     x21, x19
        b.hs    end
        cmp     x21, #1
        b.eq    first
        adr     x1, blank
        mov     x2, #1
        bl      write
first:
        ldr     x1, [x20, x21, lsl #3]
        mov     x2, #0
length:
        ldrb    w3, [x1, x2]
        cbz     w3, counted
        add     x2, x2, #1
        b       length
counted:
        bl      write
        add     x21, x21, #1
        b       next
end:
        adr     x1, newline
        mov     x2, #1
        bl      write
        mov     x8, #94
        mov     x0, #0
        svc     #0

write:                                  // x1: bytes, x2: how many
        mov     x8, #64
        mov     x0, #1
        svc     #0
        ret

blank:
        .ascii  " "
newline:
        .ascii  "\n"
