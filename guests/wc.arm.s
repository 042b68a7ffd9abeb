# arch: arm
# purpose: Counts lines, words and bytes; a word is a run of bytes that are neither blank, tab nor line end.
# args: none
# stdin: anything, to its end
# stdout: three numbers, separated by blanks
# status: 0; 1 when a read fails
# test: stdin="" stdout="0 0 0\n"
# test: stdin="one two\n  three\n\nfour" stdout="3 4 21\n"
# test: stdin="\n\n\n" stdout="3 0 3\n"

_start:
        mov     r4, #0                  // lines
        mov     r5, #0                  // words
        mov     r6, #0                  // bytes
        mov     r8, #0                  // 1 within a word
        ldr     r9, =buffer
read:
        mov     r7, #3
        mov     r0, #0
        mov     r1, r9
        mov     r2, #65536
        svc     #0
        cmp     r0, #0
        blt     failed
        beq     print
        add     r6, r6, r0
        mov     r1, r9
        add     r2, r9, r0              // end of what was read
byte_loop:
        ldrb    r3, [r1], #1
        cmp     r3, #10
        addeq   r4, r4, #1
        cmpne   r3, #32
        cmpne   r3, #9
        moveq   r8, #0
        beq     byte_next
        cmp     r8, #0
        addeq   r5, r5, #1
        mov     r8, #1
byte_next:
        cmp     r1, r2
        bne     byte_loop
        b       read
print:
        mov     r0, r4
        mov     r2, #32
        bl      print_number
        mov     r0, r5
        mov     r2, #32
        bl      print_number
        mov     r0, r6
        mov     r2, #10
        bl      print_number
        mov     r0, #0
        b       exit
failed:
        mov     r0, #1
exit:
        mov     r7, #248
        svc     #0

print_number:                           // r0: the number, r2: the byte to print after it
        sub     sp, sp, #40
        add     r1, sp, #31
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
buffer:
        .space  65536
