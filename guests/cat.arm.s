# arch: arm
# purpose: Copies its input to its output, and copes with short writes.
# args: none
# stdin: anything, to its end
# stdout: the same bytes
# status: 0; 1 when a read or a write fails
# test: stdin="" stdout=""
# test: stdin="one\ntwo\n" stdout="one\ntwo\n"
# test: stdin="\x00\xff no newline" stdout="\x00\xff no newline"

_start:
        ldr     r4, =buffer
read:
        mov     r7, #3                  // read(0, buffer, size)
        mov     r0, #0
        mov     r1, r4
        mov     r2, #65536
        svc     #0
        cmp     r0, #0
        beq     done
        blt     failed
        mov     r5, r4                  // r5: next byte to write, r6: bytes left
        mov     r6, r0
write:
        mov     r7, #4
        mov     r0, #1
        mov     r1, r5
        mov     r2, r6
        svc     #0
        cmp     r0, #0
        blt     failed
        add     r5, r5, r0
        subs    r6, r6, r0
        bne     write
        b       read
failed:
        mov     r0, #1
        b       exit
done:
        mov     r0, #0
exit:
        mov     r7, #248
        svc     #0

# data
buffer:
        .space  65536
