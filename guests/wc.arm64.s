# arch: arm64
# purpose: Counts lines, words and bytes; a word is a run of bytes that are neither blank, tab nor line end.
# args: none
# stdin: anything, to its end
# stdout: three numbers, separated by blanks
# status: 0; 1 when a read fails
# test: stdin="" stdout="0 0 0\n"
# test: stdin="one two\n  three\n\nfour" stdout="3 4 21\n"
# test: stdin="\n\n\n" stdout="3 0 3\n"

_start:
        mov     x19, #0                 // lines
        mov     x20, #0                 // words
        mov     x21, #0                 // bytes
        mov     x22, #0                 // 1 within a word
        adr     x23, buffer
read:
        mov     x8, #63
        mov     x0, #0
        mov     x1, x23
        mov     x2, #65536
        svc     #0
        cmp     x0, #0
        b.lt    failed
        b.eq    print
        add     x21, x21, x0
        mov     x1, x23
        add     x2, x23, x0             // end of what was read
byte_loop:
        ldrb    w3, [x1], #1
        cmp     w3, #10
        b.ne    no_line
        add     x19, x19, #1
        b       gap
no_line:
        cmp     w3, #32
        b.eq    gap
        cmp     w3, #9
        b.eq    gap
        cbnz    x22, byte_next
        mov     x22, #1
        add     x20, x20, #1
        b       byte_next
gap:
        mov     x22, #0
byte_next:
        cmp     x1, x2
        b.ne    byte_loop
        b       read
print:
        mov     x0, x19
        mov     w2, #32
        bl      print_number
        mov     x0, x20
        mov     w2, #32
        bl      print_number
        mov     x0, x21
        mov     w2, #10
        bl      print_number
        mov     x0, #0
        b       exit
failed:
        mov     x0, #1
exit:
        mov     x8, #94
        svc     #0

print_number:                           // x0: the number, w2: the byte to print after it
        sub     sp, sp, #48
        add     x1, sp, #47
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
buffer:
        .space  65536
